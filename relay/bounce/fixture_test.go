package bounce

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"gatepost/relay/spool"
)

func openSpool(t testing.TB) *spool.Spool {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// queued puts a message into the spool.
func queued(t testing.TB, s *spool.Spool, e spool.Envelope, data string) (*spool.Message, *spool.Envelope) {
	t.Helper()
	w, err := s.Create(e)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := io.WriteString(w, data); err != nil {
		t.Fatal(err)
	}
	m, err := w.Commit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	env, err := m.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	return m, &env
}

func bytesOf(t testing.TB, m *spool.Message) string {
	t.Helper()
	r, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// parsed is a report as net/mail and mime see it.
type parsed struct {
	header     mail.Header
	reportType string
	types      []string
	encodings  []string
	bodies     []string
	fields     []textproto.MIMEHeader // of the status part: of the message, then of each recipient
}

func parse(t testing.TB, data string) (p parsed) {
	t.Helper()
	if strings.Contains(strings.ReplaceAll(data, "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(data, "\r\n", ""), "\r") {
		t.Fatalf("not canonical: %q", data)
	}
	msg, err := mail.ReadMessage(strings.NewReader(data))
	if err != nil {
		t.Fatalf("%v in %q", err, data)
	}
	p.header = msg.Header
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" {
		t.Fatalf("%s, %v", kind, err)
	}
	p.reportType = params["report-type"]
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v in %q", err, data)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		p.types = append(p.types, part.Header.Get("Content-Type"))
		p.encodings = append(p.encodings, part.Header.Get("Content-Transfer-Encoding"))
		p.bodies = append(p.bodies, string(body))
	}
	if len(p.bodies) != 3 {
		t.Fatalf("%d parts in %q", len(p.bodies), data)
	}
	groups := textproto.NewReader(bufio.NewReader(strings.NewReader(p.bodies[1] + "\r\n")))
	for {
		h, err := groups.ReadMIMEHeader()
		if len(h) == 0 {
			break
		}
		if err != nil && err != io.EOF {
			t.Fatalf("%v in %q", err, p.bodies[1])
		}
		p.fields = append(p.fields, h)
	}
	return p
}

var arrived = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// envelope is one that asks for much.
func envelope() spool.Envelope {
	return spool.Envelope{
		Arrived: arrived, Sender: "alice@example.com", EnvID: "QQ314+2B159",
		Client: spool.Client{Addr: netip.MustParseAddr("192.0.2.9"), Name: "pc.example.com", Helo: "pc"},
		Recipients: []spool.Recipient{
			{Address: "bob@example.net", State: spool.Failed, Status: "5.1.1", Reply: "mx.example.net[192.0.2.25]:25: 550 5.1.1 nobody here", ORcpt: "rfc822;robert+2Bx@example.net"},
			{Address: "carol@example.org", State: spool.Failed, Status: "4.4.7", Reply: "mx.example.org[192.0.2.26]:25: not delivered within 120h0m0s: cannot connect: timeout"},
			{Address: "dave@example.org", State: spool.Delivered, Status: "2.0.0", Reply: "mx.example.org[192.0.2.26]:25: 250 ok"},
		},
	}
}

const data = "From: alice@example.com\r\nSubject: a\r\n\r\nHello\r\n"

func writer(s *spool.Spool, change func(*Config)) *Writer {
	c := Config{Spool: s, HostName: "relay.example.com", Size: DefaultSize, Lifetime: 120 * time.Hour, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&c)
	}
	return New(c)
}
