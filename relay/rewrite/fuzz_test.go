package rewrite

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"gatepost/internal/smtp"
	"gatepost/relay/spool"
)

// FuzzHeader: whatever the header is, only addresses change: what is left when they are
// taken out is what was there, and doing it twice changes nothing more.
func FuzzHeader(f *testing.F) {
	for _, s := range []string{
		"From: Ann <ann@lan.example>\r\n", "To: Us: a, b@lan.example;, \"c\" (d)\r\n", "From: ann (a) @ (b) lan . example\r\n",
		"Sender: <@a,@b:c@lan.example>\r\nwhat\r\n more\r\n", "Cc: a!b, c%d, e@[1.2.3.4]\r\n", "From:\r\n", ": x\r\n y\r\n",
		"Reply-To: \"a\\\"b\"@lan.example,, <>\r\n",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	r := site("always_add_domain")
	f.Fuzz(func(t *testing.T, header []byte, all bool) {
		r.c.Features.AllMasquerade = all
		for _, m := range []Mailer{Relay, SMTP, Local, LMTP} {
			out, err := r.Header(t.Context(), m, "", header)
			if err != nil {
				t.Fatal(err)
			}
			if len(out) > 20*len(header)+100 { // "a," has two bytes
				t.Errorf("%d bytes became %d", len(header), len(out))
			}
			before, after := fields(header), fields(out)
			if len(before) != len(after) {
				t.Fatalf("%d fields became %d: %q", len(before), len(after), out)
			}
			for i := range before {
				sameAround(t, header[before[i].start:before[i].end], out[after[i].start:after[i].end])
			}
			again, err := r.Header(t.Context(), m, "", out)
			if err != nil || !bytes.Equal(again, out) {
				t.Errorf("%s: %q became %q, and then %q (error %v)", m, header, out, again, err)
			}
			_ = sentBy("joe@isp.example", out)
		}
	})
}

// sameAround checks that two fields are the same apart from the tokens of addresses, and
// from lines that were broken.
func sameAround(t *testing.T, before, after []byte) {
	t.Helper()
	if bytes.Equal(before, after) {
		return
	}
	b, a := withoutAddresses(before), withoutAddresses(after)
	unfold := func(s []byte) []byte {
		return bytes.ReplaceAll(bytes.ReplaceAll(s, []byte("\r\n "), nil), []byte("\r\n"), nil)
	}
	if !bytes.Equal(b, a) && !bytes.Equal(unfold(b), unfold(a)) {
		t.Errorf("%q became %q", before, after)
	}
}

func withoutAddresses(field []byte) (rest []byte) {
	colon := bytes.IndexByte(field, ':') + 1
	kept := 0
	_, _ = scan(field[colon:], func(box mailbox) error {
		for _, at := range box.tokens {
			rest = append(rest, field[kept:colon+at.start]...)
			kept = colon + at.end
		}
		return nil
	})
	return append(rest, field[kept:]...)
}

// FuzzAddress: no address, however strange, is written as one that reads otherwise the
// next time.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"joe", "ann@lan.example", "@a:b@lan.example", "a!b", "u%h@lan.example", "\"q q\"@pc", "a@b@c", "+", "x@.", "a@localhost"} {
		f.Add(s)
	}
	r := site("masquerade_envelope")
	f.Fuzz(func(t *testing.T, text string) {
		for m := Relay; m <= LMTP; m++ {
			for p := HeaderSender; p <= EnvelopeRecipient; p++ {
				once, err := r.Address(t.Context(), m, p, text)
				if err != nil {
					t.Fatal(err)
				}
				if !once.Changed {
					continue
				}
				twice, err := r.Address(t.Context(), m, p, once.Address)
				if twice.Changed || err != nil {
					t.Errorf("%s %s: %q became %q, and then %q (error %v)", m, p, text, once.Address, twice.Address, err)
				}
				before, after := smtp.ParseMailbox(text, r.c.Syntax), smtp.ParseMailbox(once.Address, r.c.Syntax)
				if once.Rule == "masquerade_as" && after.Domain != "example.com" || before.Domain != "" && after.Domain == "" {
					t.Errorf("%s %s: %q became %q, by %s", m, p, text, once.Address, once.Rule)
				}
			}
		}
	})
}

// letter is a message in memory.
type letter struct {
	env  spool.Envelope
	text []byte
}

func (l letter) Envelope() spool.Envelope         { return l.env }
func (l letter) Size() int64                      { return int64(len(l.text)) }
func (l letter) Open() (io.ReadSeekCloser, error) { return closing{bytes.NewReader(l.text)}, nil }

type closing struct{ *bytes.Reader }

func (closing) Close() error { return nil }

// FuzzMessage: whatever a message is, its body and the fields that have no senders' or
// recipients' addresses go out byte by byte, the size that is announced is that of what is
// sent, and it can be read again.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		"From: ann@lan.example\r\nDKIM-Signature: x\r\n\r\nFrom: ann@lan.example\r\n", "\r\nbody", "", "no field\r\nFrom: ann\r\n\r\n",
		"From: a, b: c;\r\nReply-To: x\r\nSender: <>\r\nFrom: z@lan.example\r\n\r\n", "From:\r\n ann\r\n\t(x)\r\n \r\n\r\n.\r\n", "To: \"a\" <b@lan.example>\r\nX\x00\xff: y\r\n\r\n\x00",
	} {
		for account := range 4 {
			f.Add([]byte(s), uint8(account))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, how uint8) {
		if bytes.Contains(bytes.ReplaceAll(text, []byte("\r\n"), nil), []byte("\n")) || len(text) > 0 && !bytes.HasSuffix(text, []byte("\r\n")) {
			return // no session takes it
		}
		r := site("masquerade_envelope", "allmasquerade")
		if how&1 != 0 {
			r.c.Accounts.Hosts = map[string]string{"isp.example": "joe@isp.example"}
		}
		if how&2 != 0 {
			r.c.MasqueradeAs, r.c.Generics, r.c.Features.AlwaysAddDomain = "", nil, false
		}
		m := letter{spool.Envelope{Sender: "ann@lan.example", Recipients: []spool.Recipient{{Address: "x@y.example"}}}, text}
		next := &taker{}
		tr := &Transport{Next: next, Mailer: Relay, Rewriter: func() *Rewriter { return r }}
		tr.Deliver(t.Context(), "[isp.example]:587", m, []int{0})
		if next.err != nil || int64(len(next.body)) != next.size || next.again != next.body {
			t.Fatalf("%q has the size %d and is %q, then %q, %v", text, next.size, next.body, next.again, next.err)
		}
		before, bodyBefore := cutMessage(string(text))
		after, bodyAfter := cutMessage(next.body)
		if bodyBefore != bodyAfter {
			t.Errorf("%q became %q", text, next.body)
		}
		if b, a := untouched(before), untouched(after); b != a {
			t.Errorf("of %q the rest was %q and is %q", text, b, a)
		}
	})
}

// cutMessage cuts a message at its first empty line.
func cutMessage(text string) (header, body string) {
	if strings.HasPrefix(text, "\r\n") {
		return "", text
	}
	if i := strings.Index(text, "\r\n\r\n"); i >= 0 {
		return text[:i+2], text[i+2:]
	}
	return text, ""
}

// untouched are the fields that no rule is about.
func untouched(header string) string {
	var rest strings.Builder
	for _, f := range fields([]byte(header)) {
		if _, ok := f.place(); !ok {
			rest.WriteString(header[f.start:f.end])
		}
	}
	return rest.String()
}
