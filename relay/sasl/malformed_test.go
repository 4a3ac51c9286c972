package sasl_test

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"gatepost/relay/sasl"
)

// TestMalformed are responses in order, "-" for none; the error is that of the last.
func TestMalformed(t *testing.T) {
	s := newServer(t, sasl.Config{}, ownFile(t))
	long := strings.Repeat("x", 256)
	cases := []struct {
		mechanism string
		responses []string
		want      error
	}{
		{sasl.Plain, []string{""}, sasl.ErrMalformed},
		{sasl.Plain, []string{"-", ""}, sasl.ErrMalformed},
		{sasl.Plain, []string{"joe"}, sasl.ErrMalformed},
		{sasl.Plain, []string{"joe\x00secret of joe"}, sasl.ErrMalformed},
		{sasl.Plain, []string{"\x00joe\x00"}, sasl.ErrMalformed},
		{sasl.Plain, []string{"\x00\x00secret of joe"}, sasl.ErrMalformed},
		{sasl.Plain, []string{"\x00joe\x00secret of joe\x00"}, sasl.ErrMalformed},
		{sasl.Plain, []string{"\x00j\xffoe\x00secret of joe"}, sasl.ErrMalformed},
		{sasl.Plain, []string{"\x00" + long + "\x00secret of joe"}, sasl.ErrMalformed},
		{sasl.Plain, []string{"\x00joe\x00" + long}, sasl.ErrMalformed},
		{sasl.Plain, []string{long + "\x00joe\x00secret of joe"}, sasl.ErrMalformed},
		{sasl.Plain, []string{strings.Repeat("x", 20000)}, sasl.ErrMalformed},
		{sasl.Plain, []string{"ann\x00joe\x00secret of joe"}, sasl.ErrFailed},
		{sasl.Plain, []string{"\x00jo\x07e\x00secret of joe"}, sasl.ErrFailed},
		{sasl.Plain, []string{"joe\x00joe\x00secret of joe"}, nil},
		{sasl.Plain, []string{"-", "\x00joe\x00secret of joe"}, nil},
		{sasl.Plain, []string{"\x00j\u00adoe\x00secret of joe"}, nil}, // a soft hyphen is nothing to SASLprep
		{sasl.Login, []string{"-", ""}, sasl.ErrMalformed},
		{sasl.Login, []string{"-", "joe", ""}, sasl.ErrMalformed},
		{sasl.Login, []string{"joe", "secret of\x00joe"}, sasl.ErrMalformed},
		{sasl.Login, []string{"jo\x00e"}, sasl.ErrMalformed},
		{sasl.Login, []string{long}, sasl.ErrMalformed},
		{sasl.Login, []string{"joe", long}, sasl.ErrMalformed},
		{sasl.Login, []string{"joe", "secret of joe"}, nil},
		{sasl.Login, []string{"", "joe", "secret of joe"}, nil},
		{sasl.Login, []string{"-", "joe", "secret of joe"}, nil},
		{sasl.CRAMMD5, []string{"joe"}, sasl.ErrMalformed},
		{sasl.CRAMMD5, []string{"-", ""}, sasl.ErrMalformed},
		{sasl.CRAMMD5, []string{"-", "joe"}, sasl.ErrMalformed},
		{sasl.CRAMMD5, []string{"-", " 00000000000000000000000000000000"}, sasl.ErrMalformed},
		{sasl.CRAMMD5, []string{"-", "joe 0000000000000000000000000000000g"}, sasl.ErrMalformed},
		{sasl.CRAMMD5, []string{"-", "joe 0000"}, sasl.ErrMalformed},
		{sasl.CRAMMD5, []string{"-", "jo\x00e 00000000000000000000000000000000"}, sasl.ErrMalformed},
		{sasl.CRAMMD5, []string{"-", long + " 00000000000000000000000000000000"}, sasl.ErrMalformed},
		{sasl.CRAMMD5, []string{"-", "j\xffoe 00000000000000000000000000000000"}, sasl.ErrFailed},
		{sasl.DigestMD5, []string{"-", ""}, sasl.ErrMalformed},
		{sasl.DigestMD5, []string{"-", "username"}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{""}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"n,,n=joe"}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"n,,n=jo=e,r=abc"}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"n,,m=x,n=joe,r=abc"}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"n,,n=jo\x00e,r=abc"}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"n,,n=j\xffoe,r=abc"}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"n,,n=" + long + ",r=abc"}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"n,,n=joe,r=" + strings.Repeat("x", 9000)}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"n,a=ann,n=joe,r=abc"}, sasl.ErrFailed},
		{sasl.SCRAMSHA256, []string{"p=tls-unique,,n=joe,r=abc"}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"p=tls-exporter,,n=joe,r=abc"}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"x,,n=joe,r=abc"}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"n,,n=joe,r=abc", ""}, sasl.ErrMalformed},
		{sasl.SCRAMSHA256, []string{"n,,n=joe,r=abc", "c=biws,r=abc,p=AAAA"}, sasl.ErrFailed},
	}
	for _, c := range cases {
		x, err := s.Begin(context.Background(), c.mechanism, secure())
		if err != nil {
			t.Fatal(err)
		}
		for i, response := range c.responses {
			challenge, done, err := x.Next(context.Background(), []byte(strings.TrimPrefix(response, "-")), response != "-")
			switch last := i == len(c.responses)-1; {
			case !last && (err != nil || done):
				t.Errorf("%s %.60q: done %v, error %v at %d", c.mechanism, c.responses, done, err, i)
			case last && (err != c.want || done != (c.want == nil)):
				t.Errorf("%s %.60q: done %v, error %v, want %v", c.mechanism, c.responses, done, err, c.want)
			case err != nil && (len(challenge) > 0 || x.User() != ""):
				t.Errorf("%s %.60q: challenge %q and user %q with an error", c.mechanism, c.responses, challenge, x.User())
			}
		}
	}
}

func TestDigestDirectives(t *testing.T) {
	s := newServer(t, sasl.Config{Aliases: []string{"alias.example.com"}}, ownFile(t))
	set := func(name, value string) func(map[string]string) {
		return func(d map[string]string) { d[name] = value }
	}
	without := func(name string) func(map[string]string) {
		return func(d map[string]string) { delete(d, name) }
	}
	cases := map[string]struct {
		change func(map[string]string)
		want   error
	}{
		"as it is":               {nil, nil},
		"stale nonce":            {set("nonce", `"OA6MG9tEQGm2hh"`), sasl.ErrFailed},
		"nonce used":             {set("nc", "00000002"), sasl.ErrFailed},
		"integrity":              {set("qop", "auth-int"), sasl.ErrFailed},
		"default quality":        {without("qop"), nil},
		"quoted quality":         {set("qop", `"auth"`), nil},
		"realm":                  {set("realm", `"other.example"`), sasl.ErrFailed},
		"no realm":               {without("realm"), sasl.ErrFailed},
		"empty realm":            {set("realm", `""`), sasl.ErrFailed},
		"service":                {set("digest-uri", `"imap/mail.example.com"`), sasl.ErrFailed},
		"host":                   {set("digest-uri", `"smtp/evil.example"`), sasl.ErrFailed},
		"address":                {set("digest-uri", `"smtp/192.0.2.99"`), sasl.ErrFailed},
		"server name":            {set("digest-uri", `"smtp/mail.example.com/evil.example"`), sasl.ErrFailed},
		"alias":                  {set("digest-uri", `"SMTP/Alias.example.com"`), nil},
		"localhost":              {set("digest-uri", `"smtp/localhost"`), nil},
		"our address":            {set("digest-uri", `"smtp/127.0.0.1"`), nil},
		"authzid":                {set("authzid", `"ann"`), sasl.ErrFailed},
		"charset":                {set("charset", "koi8-r"), sasl.ErrMalformed},
		"not UTF-8":              {set("username", "\"j\xffoe\""), sasl.ErrMalformed},
		"no username":            {without("username"), sasl.ErrMalformed},
		"empty username":         {set("username", `""`), sasl.ErrMalformed},
		"control in username":    {set("username", "\"jo\x07e\""), sasl.ErrFailed},
		"long username":          {set("username", `"`+strings.Repeat("x", 256)+`"`), sasl.ErrMalformed},
		"NUL":                    {set("username", "\"jo\x00e\""), sasl.ErrMalformed},
		"no cnonce":              {without("cnonce"), sasl.ErrMalformed},
		"empty response":         {set("response", `""`), sasl.ErrMalformed},
		"own authzid":            {set("authzid", `"joe"`), nil},
		"short response":         {set("response", "00"), sasl.ErrMalformed},
		"response of letters":    {set("response", strings.Repeat("z", 32)), sasl.ErrMalformed},
		"wrong response":         {set("response", strings.Repeat("0", 32)), sasl.ErrFailed},
		"long":                   {set("x", `"`+strings.Repeat("x", 4000)+`"`), sasl.ErrMalformed},
		"unknown directive":      {set("x", `"\"\\,="`), nil},
		"twice":                  {set("x", `1,x=2`), sasl.ErrMalformed},
		"twice, quoted and case": {set("USERNAME", `"ann"`), sasl.ErrMalformed},
		"open quotation":         {set("x", `"\"`), sasl.ErrMalformed},
		"two values":             {set("x", `1 2`), sasl.ErrMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			conn := secure()
			conn.Local = netip.MustParseAddr("127.0.0.1")
			who, err := login(s, sasl.DigestMD5, conn, digestClient("joe", "secret of joe", c.change))
			if err != c.want || (who == "joe") != (c.want == nil) {
				t.Errorf("user %q, error %v; want %v", who, err, c.want)
			}
		})
	}
}

// TestDigestInitialResponse: subsequent authentication is answered by a new challenge.
func TestDigestInitialResponse(t *testing.T) {
	s := newServer(t, sasl.Config{}, ownFile(t))
	answer := digestClient("joe", "secret of joe", nil)
	who, err := login(s, sasl.DigestMD5, secure(), func(challenge string) string {
		if challenge == "" {
			return `username="joe",nonce="old",nc=00000002`
		}
		return answer(challenge)
	})
	if who != "joe" || err != nil {
		t.Errorf("user %q, error %v", who, err)
	}
}

// TestReplay gives one dialogue's right response to another.
func TestReplay(t *testing.T) {
	s := newServer(t, sasl.Config{}, ownFile(t))
	for _, mechanism := range []string{sasl.CRAMMD5, sasl.DigestMD5, sasl.SCRAMSHA1, sasl.SCRAMSHA256} {
		heard := map[int]string{}
		steps := 0
		answer := clientFor(t, mechanism, "joe", "secret of joe")
		if who, err := login(s, mechanism, secure(), func(challenge string) string {
			heard[steps] = answer(challenge)
			steps++
			return heard[steps-1]
		}); who != "joe" || err != nil {
			t.Fatalf("%s: user %q, error %v", mechanism, who, err)
		}
		again := maps.Clone(heard)
		steps = 0
		if who, err := login(s, mechanism, secure(), func(string) string { steps++; return again[steps-1] }); who != "" || !errors.Is(err, sasl.ErrFailed) {
			t.Errorf("%s replayed: user %q, error %v", mechanism, who, err)
		}
	}
}

// TestForgedProof changes each part of a right client-final-message.
func TestForgedProof(t *testing.T) {
	s := newServer(t, sasl.Config{}, ownFile(t))
	for name, forge := range map[string]func(string) string{
		"nonce":     func(m string) string { return strings.Replace(m, ",r=", ",r=x", 1) },
		"binding":   func(m string) string { return strings.Replace(m, "c=biws", "c=eSws", 1) },
		"extension": func(m string) string { return strings.Replace(m, ",p=", ",x=1,p=", 1) },
		"no proof":  func(m string) string { return m[:strings.Index(m, ",p=")+3] },
	} {
		answer := scramClient(t, scram.SHA256, "joe", "secret of joe")
		who, err := login(s, sasl.SCRAMSHA256, secure(), func(challenge string) string {
			if challenge == "" {
				return answer(challenge)
			}
			return forge(answer(challenge))
		})
		if who != "" || !errors.Is(err, sasl.ErrFailed) {
			t.Errorf("%s: user %q, error %v", name, who, err)
		}
	}
}
