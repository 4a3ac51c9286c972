package sasl

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/netip"
	"testing"
	"unicode/utf8"
)

// FuzzDigestResponse: what is taken has what is needed.
func FuzzDigestResponse(f *testing.F) {
	f.Add(`username="chris",realm="a",nonce="n",nc=00000001,cnonce="c",digest-uri="smtp/a/b",response=d388dad90d4bbd760a152321f2143af7,qop=auth`)
	f.Add("charset=utf-8,username=\"\xc3\xab\",nonce=\"n\",nc=1,cnonce=\"c\",digest-uri=\"\",response=d388dad90d4bbd760a152321f2143af7")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseDigestResponse(s)
		if err != nil {
			return
		}
		if r.user == "" || len(r.user) > MaxName || !utf8.ValidString(r.user) || len(r.given) != 16 || r.nonce == "" || r.uri == "" {
			t.Errorf("%+v", r)
		}
		r.hashes([16]byte{}, "n")
	})
}

// FuzzExchange has a client say anything, a line for each response, to each mechanism:
// nobody gets in, and nothing is told with an error.
func FuzzExchange(f *testing.F) {
	for i, s := range []string{"joe", "\x00joe\x00x", "joe\nx", "\njoe 00000000000000000000000000000000", "\nusername=\"joe\",nonce=\"x\",nc=00000001,cnonce=\"c\",digest-uri=\"smtp/mail.example.com\",response=00000000000000000000000000000000",
		"n,,n=joe,r=abc\nc=biws,r=abcNONCE,p=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "y,a=joe,n=jo=2Ce,r=a\nc=eSws,r=aNONCE,x=1,p=AAAA", "p=tls-exporter,,n=joe,r=a\n"} {
		for m := range Mechanisms() {
			f.Add(uint8(m), i%2 == 0, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, mechanism uint8, initial bool, lines []byte) {
		s, err := NewServer(Config{HostName: "mail.example.com", Mechanisms: Mechanisms(),
			Accounts: []Accounts{one{"joe", Secrets{Name: "joe", Digest: map[string][16]byte{"mail.example.com": {1}}, CRAM: &CRAMKey{},
				SCRAMSHA1:   &Verifier{4096, []byte("saltsalt"), make([]byte, 20), make([]byte, 20)},
				SCRAMSHA256: &Verifier{4096, []byte("saltsalt"), make([]byte, 32), make([]byte, 32)}}}}})
		if err != nil {
			t.Fatal(err)
		}
		s.random = func() string { return "NONCE" }
		c := &Conn{Client: netip.MustParseAddr("192.0.2.1"), TLS: &tls.ConnectionState{}, Identity: "joe"}
		name := Mechanisms()[int(mechanism)%len(Mechanisms())]
		x, err := s.Begin(context.Background(), name, c)
		if err != nil {
			return // -PLUS
		}
		for i, line := range bytes.Split(lines, []byte("\n")) {
			challenge, done, err := x.Next(context.Background(), line, initial || i > 0)
			if done && name != External {
				t.Fatalf("%s is let in", name)
			}
			if err != nil && (challenge != nil || done || x.User() != "" || public(err) != err) {
				t.Fatalf("%s: challenge %q, done %v, user %q, error %v", name, challenge, done, x.User(), err)
			}
			if done {
				return
			}
			if len(challenge) > 4*maxResponse {
				t.Fatalf("%s: a challenge of %d bytes", name, len(challenge))
			}
		}
	})
}

// FuzzPrepare: what is prepared stays what it is.
func FuzzPrepare(f *testing.F) {
	for _, s := range []string{"joe", "ＪＯＥ", "e\u0308", "\u00ad", "\u0627x\u0628", "\xff", "😀", "ﷺ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := PrepareName(s)
		if err != nil {
			return
		}
		if name == "" || len(name) > MaxName || !utf8.ValidString(name) {
			t.Errorf("%q: prepared %q", s, name)
		}
		for _, r := range name {
			if r < ' ' || r == 0x7f {
				t.Errorf("%q: prepared %q", s, name)
			}
		}
	})
}
