package bounce

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatepost/relay/spool"
)

// one writes a report that must be one message.
func one(t *testing.T, w *Writer, r *Report) (*spool.Message, parsed) {
	t.Helper()
	written, err := w.Write(t.Context(), r)
	if err != nil || len(written) != 1 {
		t.Fatalf("%d reports, %v", len(written), err)
	}
	return written[0], parse(t, bytesOf(t, written[0]))
}

// TestFailure: all that RFC 3464 wants, and RFC 3461 of it.
func TestFailure(t *testing.T) {
	s := openSpool(t)
	m, env := queued(t, s, envelope(), data)
	report, p := one(t, writer(s, nil), &Report{Kind: Failure, Envelope: env, Message: m, Recipients: []int{0, 1}})
	got, err := report.Envelope()
	if err != nil || got.Sender != "" || len(got.Recipients) != 1 || got.Recipients[0].Address != "alice@example.com" || got.EightBit || got.UTF8 {
		t.Errorf("the envelope is %+v, %v", got, err)
	}
	for name, want := range map[string]string{
		"From": "Mail Delivery Subsystem <MAILER-DAEMON@relay.example.com>", "To": "<alice@example.com>", "Auto-Submitted": "auto-replied",
		"Subject": "Returned mail: see transcript for details", "Mime-Version": "1.0", "Content-Transfer-Encoding": "7bit",
	} {
		if got := p.header.Get(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if _, err := p.header.Date(); err != nil || !strings.HasPrefix(p.header.Get("Message-Id"), "<"+report.ID()+".") {
		t.Errorf("%v, %s", err, p.header.Get("Message-Id"))
	}
	if p.reportType != "delivery-status" || !slices.Equal(p.types, []string{"text/plain; charset=us-ascii", "message/delivery-status", "message/rfc822"}) || p.bodies[2] != data {
		t.Errorf("%s, %q, %q", p.reportType, p.types, p.bodies[2])
	}
	if len(p.fields) != 3 {
		t.Fatalf("%d groups of fields", len(p.fields))
	}
	for i, want := range []map[string]string{
		{"Original-Envelope-Id": "QQ314+159", "Reporting-Mta": "dns; relay.example.com", "Received-From-Mta": "dns; pc", "Arrival-Date": arrived.Local().Format(dateForm)},
		{
			"Original-Recipient": "rfc822; robert+x@example.net", "Final-Recipient": "rfc822; bob@example.net", "Action": "failed", "Status": "5.1.1",
			"Remote-Mta": "dns; mx.example.net", "Diagnostic-Code": "smtp; 550 5.1.1 nobody here",
		},
		{
			"Original-Recipient": "", "Final-Recipient": "rfc822; carol@example.org", "Action": "failed", "Status": "4.4.7",
			"Remote-Mta": "dns; mx.example.org", "Diagnostic-Code": "x-gatepost; cannot connect: timeout", "Will-Retry-Until": "",
		},
	} {
		for name, text := range want {
			if got := p.fields[i].Get(name); got != text {
				t.Errorf("%s: %s; want %s", name, got, text)
			}
		}
	}
	for _, want := range []string{
		"   ----- The following addresses had permanent fatal errors -----\r\n<bob@example.net>\r\n    (reason: 550 5.1.1 nobody here)\r\n    (expanded from: <robert+x@example.net>)\r\n",
		"   ----- Transcript of session follows -----\r\n... while talking to mx.example.net[192.0.2.25]:25:\r\n<<< 550 5.1.1 nobody here\r\n",
		"4.4.7 <carol@example.org>... cannot connect: timeout\r\nMessage could not be delivered for 5 days\r\n",
		"from pc.example.com [192.0.2.9]\r\n",
	} {
		if !strings.Contains(p.bodies[0], want) {
			t.Errorf("no %q in\n%s", want, p.bodies[0])
		}
	}
}

// TestDelayAndSuccess: what else there is to be told; the message is not returned whole.
func TestDelayAndSuccess(t *testing.T) {
	s := openSpool(t)
	e := envelope()
	e.Arrived, e.Ret = time.Now().Add(-5*time.Hour), "FULL"
	e.Recipients[0] = spool.Recipient{Address: "bob@example.net", Reply: "mx[192.0.2.1]:25: 450 4.2.1 later", Status: "4.2.1"}
	m, env := queued(t, s, e, data)
	w := writer(s, func(c *Config) { c.CopyTo = "postmaster@example.com" })
	until := time.Now().Add(100 * time.Hour)
	_, p := one(t, w, &Report{Kind: Delay, Envelope: env, Message: m, Recipients: []int{0}, RetryUntil: until})
	f := p.fields[1]
	if p.header.Get("Subject") != "Warning: could not send message for past 5 hours" || f.Get("Action") != "delayed" || f.Get("Status") != "4.2.1" || f.Get("Will-Retry-Until") != until.Format(dateForm) {
		t.Errorf("%v, %v", p.header, f)
	}
	if !strings.Contains(p.bodies[0], "YOU DO NOT NEED TO RESEND YOUR MESSAGE") || !strings.Contains(p.bodies[0], "Will keep trying until message is 5 days old\r\n") {
		t.Errorf("the text is\n%s", p.bodies[0])
	}
	if p.types[2] != "text/rfc822-headers" || p.bodies[2] != "From: alice@example.com\r\nSubject: a\r\n" {
		t.Errorf("%s, %q", p.types[2], p.bodies[2])
	}
	_, p = one(t, w, &Report{Kind: Success, Envelope: env, Message: m, Recipients: []int{2, 1}, Final: []int{1}})
	if p.header.Get("Subject") != "Return receipt" || p.fields[1].Get("Action") != "relayed" || p.fields[2].Get("Action") != "delivered" || p.fields[1].Get("Status") != "2.0.0" || p.fields[2].Get("Status") != "2.0.0" {
		t.Errorf("%v, %v", p.header, p.fields)
	}
}

// TestReturned: how much of a message goes back.
func TestReturned(t *testing.T) {
	s := openSpool(t)
	long := "X-Long: " + strings.Repeat(strings.Repeat("x", 98)+"\r\n ", 1000) + "x\r\n"
	for name, test := range map[string]struct {
		data, ret, kind, body string
		eightBit              bool
	}{
		"whole":          {data: data, kind: "message/rfc822", body: data},
		"FULL":           {data: data, ret: "FULL", kind: "message/rfc822", body: data},
		"HDRS":           {data: data, ret: "HDRS", kind: "text/rfc822-headers", body: data[:len(data)-9]},
		"too large":      {data: data + strings.Repeat("x\r\n", 20_000), kind: "text/rfc822-headers", body: data[:len(data)-9]},
		"8-bit":          {data: data + "\xe4\r\n", kind: "message/rfc822", body: data + "\xe4\r\n", eightBit: true},
		"8-bit header":   {data: "A: \xe4\r\n\r\n", ret: "HDRS", kind: "text/rfc822-headers", body: "A: \xe4\r\n", eightBit: true},
		"8-bit body":     {data: "A: b\r\n\r\n\xe4\r\n", ret: "HDRS", kind: "text/rfc822-headers", body: "A: b\r\n"},
		"no header":      {data: "\r\nx\r\n", ret: "HDRS", kind: "text/rfc822-headers"},
		"no body":        {data: "A: b\r\n", ret: "HDRS", kind: "text/rfc822-headers", body: "A: b\r\n"},
		"no end":         {data: "A: b\r\n\r\nx", kind: "message/rfc822", body: "A: b\r\n\r\nx\r\n"},
		"long header":    {data: long + "\r\n", ret: "HDRS", kind: "text/rfc822-headers", body: long[:strings.LastIndex(long[:maxHeader], "\r\n")+2]},
		"nothing at all": {kind: "message/rfc822"},
	} {
		e := envelope()
		e.Ret = test.ret
		m, env := queued(t, s, e, test.data)
		report, p := one(t, writer(s, nil), &Report{Kind: Failure, Envelope: env, Message: m, Recipients: []int{0}})
		got, err := report.Envelope()
		if err != nil || p.types[2] != test.kind || p.bodies[2] != test.body || got.EightBit != test.eightBit {
			t.Errorf("%s: %s, %d bytes, 8-bit %v, %v", name, p.types[2], len(p.bodies[2]), got.EightBit, err)
		}
		want := "7bit"
		if test.eightBit {
			want = "8bit"
		}
		if p.encodings[2] != want || p.header.Get("Content-Transfer-Encoding") != want {
			t.Errorf("%s: encodings %v, %v", name, p.encodings, p.header)
		}
	}
}

// TestUTF8: the forms of RFC 6533 for messages of RFC 6531.
func TestUTF8(t *testing.T) {
	s := openSpool(t)
	e := envelope()
	e.UTF8, e.Sender = true, "jörg@example.com"
	e.Recipients[0].Address = "bjørn@example.net"
	m, env := queued(t, s, e, "Subject: grüße\r\n\r\nHello\r\n")
	report, p := one(t, writer(s, nil), &Report{Kind: Failure, Envelope: env, Message: m, Recipients: []int{0}})
	got, err := report.Envelope()
	if err != nil || !got.UTF8 || !got.EightBit || got.Recipients[0].Address != e.Sender {
		t.Errorf("%+v, %v", got, err)
	}
	if p.reportType != "global-delivery-status" || p.types[1] != "message/global-delivery-status" || p.types[2] != "message/global" || p.encodings[1] != "8bit" {
		t.Errorf("%s, %v, %v", p.reportType, p.types, p.encodings)
	}
	if f := p.fields[1]; f.Get("Final-Recipient") != "utf-8; bjørn@example.net" || p.header.Get("To") != "<jörg@example.com>" {
		t.Errorf("%v", f)
	}
	env.Ret = "HDRS"
	if _, p = one(t, writer(s, nil), &Report{Kind: Failure, Envelope: env, Message: m, Recipients: []int{0}}); p.types[2] != "message/global-headers" {
		t.Errorf("%v", p.types)
	}
}

// TestNobodyIsTold: about a report no report is sent, but to the postmaster, and about that
// one none at all.
func TestNobodyIsTold(t *testing.T) {
	s := openSpool(t)
	var log bytes.Buffer
	for _, test := range []struct {
		name, sender, to, doubleTo string
		kind                       Kind
		want                       string
	}{
		{name: "dropped", to: "bob@example.net"},
		{name: "double bounce", to: "bob@example.net", doubleTo: "errors@example.com", want: "errors@example.com"},
		{name: "triple bounce", to: "Errors@example.com", doubleTo: "errors@example.com"},
		{name: "delay", to: "bob@example.net", doubleTo: "errors@example.com", kind: Delay},
		{name: "success", to: "bob@example.net", doubleTo: "errors@example.com", kind: Success},
	} {
		log.Reset()
		m, env := queued(t, s, spool.Envelope{Recipients: []spool.Recipient{{Address: test.to, State: spool.Failed, Reply: "550 no"}}}, data)
		w := writer(s, func(c *Config) {
			c.DoubleTo, c.CopyTo, c.Log = test.doubleTo, "copies@example.com", slog.New(slog.NewTextHandler(&log, nil))
		})
		written, err := w.Write(t.Context(), &Report{Kind: test.kind, Envelope: env, Message: m, Recipients: []int{0}})
		if err != nil || len(written) != min(1, len(test.want)) {
			t.Errorf("%s: %d reports, %v", test.name, len(written), err)
			continue
		}
		if dropped := strings.Contains(log.String(), "is dropped"); dropped != (test.want == "" && test.kind == Failure) {
			t.Errorf("%s: the log says %s", test.name, log.String())
		}
		if test.want != "" {
			if p := parse(t, bytesOf(t, written[0])); p.header.Get("To") != "<"+test.want+">" || p.header.Get("Subject") != "Postmaster notify: see transcript for details" || p.bodies[2] != data {
				t.Errorf("%s: %v, %q", test.name, p.header, p.bodies[2])
			}
		}
	}
}

// TestCopies: the postmaster's copy has no more than the header of what others write.
func TestCopies(t *testing.T) {
	s := openSpool(t)
	m, env := queued(t, s, envelope(), data)
	w := writer(s, func(c *Config) { c.CopyTo = "postmaster@example.com" })
	written, err := w.Write(t.Context(), &Report{Kind: Failure, Envelope: env, Message: m, Recipients: []int{0}})
	if err != nil || len(written) != 2 {
		t.Fatalf("%d, %v", len(written), err)
	}
	first, second := parse(t, bytesOf(t, written[0])), parse(t, bytesOf(t, written[1]))
	if first.header.Get("To") != "<alice@example.com>" || second.header.Get("To") != "<postmaster@example.com>" || second.types[2] != "text/rfc822-headers" || !strings.Contains(second.bodies[0], "with the sender <alice@example.com>") {
		t.Errorf("%v\n%v\n%s", first.header, second.header, second.bodies[0])
	}
	if first.header.Get("Content-Type") == second.header.Get("Content-Type") {
		t.Error("both have the same boundary")
	}
}

// TestLarge: a message of 50 MiB goes back without being in memory.
func TestLarge(t *testing.T) {
	s := openSpool(t)
	out, err := s.Create(envelope())
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("x", 78) + "\r\n")
	block := append([]byte("A: b\r\n\r\n"), bytes.Repeat(line, 13107)...)
	const blocks = 50
	for range blocks {
		if _, err := out.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	m, err := out.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	env, err := m.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	w := writer(s, func(c *Config) { c.Size = 60 << 20 })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	written, err := w.Write(t.Context(), &Report{Kind: Failure, Envelope: &env, Message: m, Recipients: []int{0}})
	runtime.ReadMemStats(&after)
	if err != nil || written[0].Size() < m.Size() {
		t.Fatalf("%d bytes, %v", written[0].Size(), err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("%d KiB were allocated for a message of %d", used>>10, m.Size()>>10)
	}
}

// TestUnreadable: no report is written about a message that cannot be read.
func TestUnreadable(t *testing.T) {
	s := openSpool(t)
	m, env := queued(t, s, envelope(), data)
	if err := m.Remove(); err != nil {
		t.Fatal(err)
	}
	if written, err := writer(s, nil).Write(t.Context(), &Report{Kind: Failure, Envelope: env, Message: m, Recipients: []int{0}}); !errors.Is(err, spool.ErrRemoved) || len(written) != 0 {
		t.Errorf("%v, %v", written, err)
	}
	if n := s.Stats().Messages; n != 0 {
		t.Errorf("%d messages in the spool", n)
	}
}

func TestReadReply(t *testing.T) {
	for in, want := range map[string]reply{
		"":                               {},
		"mx.a[192.0.2.1]:25: 550 5.1 no": {relay: "mx.a[192.0.2.1]:25", host: "mx.a", text: "550 5.1 no", smtp: true},
		"[2001:db8::1]:25: 450 later":    {relay: "[2001:db8::1]:25", host: "[2001:db8::1]", text: "450 later", smtp: true},
		"mx.a:25: no address":            {relay: "mx.a:25", host: "mx.a", text: "no address"},
		"no route: a b":                  {text: "no route: a b"},
		"550: x":                         {text: "550: x"},
		"550":                            {text: "550", smtp: true},
		"a: not delivered within 1h: b":  {relay: "a", host: "a", text: "b", expired: true},
		"[: x":                           {relay: "[", text: "x"},
		": x":                            {text: ": x"},
		"650 x":                          {text: "650 x"},
	} {
		if got := readReply(in); got != want {
			t.Errorf("%q is %+v", in, got)
		}
	}
}

func TestXtext(t *testing.T) {
	for in, want := range map[string]string{"": "", "abc": "abc", "a+2Bb": "a+b", "+3D+2b": "-", "+4": "-", "+": "-", "+0D": "-", "a+7F": "-", "\xe4": "-"} {
		if got, ok := decodeXtext(in); ok != (want != "-") || ok && got != want {
			t.Errorf("%q is %q, %v", in, got, ok)
		}
	}
}

// TestNothingInternal: senders are strangers. They are told nothing of our files, servers
// and sockets; the postmaster is.
func TestNothingInternal(t *testing.T) {
	s := openSpool(t)
	for reply, want := range map[string]string{
		"no route: open /etc/mail/mailertable.db: permission denied":                                           "no route",
		"mx.a[192.0.2.1]:25: cannot connect: connection refused":                                               "cannot connect: connection refused",
		"cannot look up the mail exchangers of example.net: read udp 10.0.0.5:32->10.0.0.1:53: i/o timeout":    "cannot look up the mail exchangers of example.net",
		"mx.a[192.0.2.1]:587: login by PLAIN by /etc/mail/authinfo:3: 535 5.7.8 no":                            "login by PLAIN",
		"mx.a[192.0.2.1]:587: there is a login by /etc/mail/authinfo:3, and the server does not offer AUTH":    "there is a login and the server does not offer AUTH",
		"mx.a[192.0.2.1]:25: TLS is required by gatepost.toml:12, and the server does not offer STARTTLS":      "TLS is required and the server does not offer STARTTLS",
		"unix:/run/dovecot/lmtp: cannot connect: no such file or directory":                                    "cannot connect: no such file or directory",
		"maildir:/var/mail/%u: cannot write into the maildir: no space left on device":                         "cannot write into the maildir",
		"unix:/run/dovecot/lmtp: 550 5.1.1 /here/ is nobody: indeed":                                           "550 5.1.1 /here/ is nobody: indeed",
		"[10.1.1.1]:25: not delivered within 120h0m0s: cannot look up a.b: lookup a.b on 10.0.0.1:53: refused": "cannot look up a.b",
		"cannot connect: dial unix /run/x: refused":                                                            "cannot connect",
	} {
		e := envelope()
		e.Recipients[0] = spool.Recipient{Address: "bob@example.net", State: spool.Failed, Status: "4.4.3", Reply: reply}
		m, env := queued(t, s, e, data)
		written, err := writer(s, func(c *Config) { c.CopyTo = "postmaster@example.com" }).Write(t.Context(),
			&Report{Kind: Failure, Envelope: env, Message: m, Recipients: []int{0}})
		if err != nil {
			t.Fatal(err)
		}
		text := bytesOf(t, written[0])
		p := parse(t, text)
		if got := p.fields[1].Get("Diagnostic-Code"); !strings.HasSuffix(got, "; "+want) {
			t.Errorf("%q is told as %q, want %q", reply, got, want)
		}
		for _, secret := range []string{"/etc/", "10.0.0.", "/run/", "/var/", ".toml", "no space"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q: the sender is told of %s:\n%s", reply, secret, text)
			}
		}
		_, last, _ := strings.Cut(reply, "5.1.1 ")
		if copied := bytesOf(t, written[1]); !strings.Contains(copied, last) {
			t.Errorf("%q: the postmaster is not told:\n%s", reply, copied)
		}
	}
}

// TestAllOrNothing: when the postmaster's copy cannot be written, the sender's report is
// not left behind where nobody delivers it, to be written once more at the next attempt.
func TestAllOrNothing(t *testing.T) {
	s := openSpool(t)
	m, env := queued(t, s, envelope(), data)
	w := writer(s, func(c *Config) { c.CopyTo = strings.Repeat("a", 9<<20) })
	written, err := w.Write(t.Context(), &Report{Kind: Failure, Envelope: env, Message: m, Recipients: []int{0}})
	if err == nil || len(written) != 0 {
		t.Errorf("%d, %v", len(written), err)
	}
	if left := s.Messages(); len(left) != 1 {
		t.Errorf("%d messages are in the spool", len(left))
	}
}

// TestPostmastersOfEachOther: two relays each of which tells the other's postmaster of
// reports that fail, and neither of which can deliver to its own, come to an end.
func TestPostmastersOfEachOther(t *testing.T) {
	s := openSpool(t)
	relays := []*Writer{
		writer(s, func(c *Config) { c.DoubleTo = "postmaster@b.example" }),
		writer(s, func(c *Config) { c.DoubleTo = "postmaster@a.example" }),
	}
	e := envelope()
	e.Sender = ""
	m, env := queued(t, s, e, data)
	told := 0
	for ; told < 10; told++ {
		env.Recipients[0].State, env.Recipients[0].Reply = spool.Failed, "550 no"
		written, err := relays[told%2].Write(t.Context(), &Report{Kind: Failure, Envelope: env, Message: m, Recipients: []int{0}})
		if err != nil {
			t.Fatal(err)
		}
		if len(written) == 0 {
			break
		}
		m = written[0]
		next, err := m.Envelope()
		if err != nil {
			t.Fatal(err)
		}
		env = &next
	}
	if told != 1 {
		t.Errorf("%d postmasters were told", told)
	}
}

// badSector is a message whose text the disk cannot read.
type badSector struct{ *strings.Reader }

func (badSector) Size() int64                        { return 1000 }
func (m badSector) Open() (io.ReadSeekCloser, error) { return m, nil }
func (badSector) Close() error                       { return nil }
func (badSector) Read([]byte) (int, error)           { return 0, syscall.EIO }

// TestBadSector: the sender is told although his message cannot be read.
func TestBadSector(t *testing.T) {
	s := openSpool(t)
	_, env := queued(t, s, envelope(), data)
	written, err := writer(s, nil).Write(t.Context(), &Report{Kind: Failure, Envelope: env, Message: badSector{strings.NewReader("")}, Recipients: []int{0}})
	if err != nil || len(written) != 1 {
		t.Fatalf("%d reports, %v", len(written), err)
	}
	if p := parse(t, bytesOf(t, written[0])); p.bodies[2] != "" || p.fields[1].Get("Action") != "failed" {
		t.Errorf("%+v", p)
	}
}
