package session

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatepost/policy"
	"gatepost/relay/spool"
)

// FuzzCommand gives lines to the parsers of commands.
func FuzzCommand(f *testing.F) {
	for _, s := range []string{
		"MAIL FROM:<a@b> SIZE=1 BODY=8BITMIME SMTPUTF8", "rcpt to : a@b", `MAIL FROM:<"a> b"@c> X=`, "BDAT 5 LAST", "BDAT 99999999999999999999",
		"EHLO [IPv6:::1]", "XCLIENT NAME=a ADDR=IPV6:::1 LOGIN=+41 PROTO=ESMTP", "\x16\x03\x01", " GET / HTTP/1.1", `RCPT TO:<a\`, "MAIL FROM:<<a>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		v, arg := parseCommand(line)
		if len(arg) > len(line) {
			t.Fatalf("argument %q of %q", arg, line)
		}
		for _, word := range []string{"FROM", "TO"} {
			path, words, ok := parsePath(arg, word)
			if !ok {
				continue
			}
			if path == "" || !strings.Contains(arg, path) {
				t.Fatalf("path %q of %q", path, arg)
			}
			var p params
			if fault := p.parse(words); fault == nil && p.size < -1 {
				t.Fatalf("size %d of %q", p.size, arg)
			}
		}
		if n, _, ok := parseBdat(arg); ok && n < 0 {
			t.Fatalf("%d bytes of %q", n, arg)
		}
		if x, err := parseXclient(arg); err == nil {
			var c policy.Conn
			x.apply(&c)
			if c.Resolve != policy.ResolveOK && c.Name != "" || nameText(c.Name) != c.Name || nameText(c.Ptr) != c.Ptr {
				t.Fatalf("%q gave %+v", arg, c)
			}
		}
		if said := echo(arg); len(said) > maxEcho || strings.ContainsAny(said, "\r\n\x00\x1b") {
			t.Fatalf("%q is said back as %q", arg, said)
		}
		_ = v
	})
}

// tape is a connection whose client has said all it will say.
type tape struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
	max int
}

func (c *tape) Read(p []byte) (int, error)      { return c.in.Read(p[:min(len(p), c.max)]) }
func (c *tape) Write(p []byte) (int, error)     { return c.out.Write(p) }
func (c *tape) Close() error                    { return nil }
func (c *tape) RemoteAddr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
func (c *tape) SetReadDeadline(time.Time) error { return nil }
func (c *tape) SetWriteDeadline(time.Time) error {
	return nil
}

// heap is a spool in memory.
type heap struct {
	done  []string
	paths []string // of the envelopes
	open  int
}

type heapWriter struct {
	heap *heap
	text bytes.Buffer
	over bool
}

func (h *heap) Create(e spool.Envelope) (Writer, error) {
	if len(e.Recipients) == 0 {
		return nil, fmt.Errorf("an envelope without recipients")
	}
	h.paths = append(h.paths, e.Sender)
	for _, r := range e.Recipients {
		h.paths = append(h.paths, r.Address)
	}
	h.open++
	return &heapWriter{heap: h}, nil
}
func (w *heapWriter) ID() string                  { return "ID" }
func (w *heapWriter) Write(p []byte) (int, error) { return w.text.Write(p) }
func (w *heapWriter) Abort() {
	if !w.over {
		w.over = true
		w.heap.open--
	}
}
func (w *heapWriter) Commit(context.Context) (*spool.Message, error) {
	w.Abort()
	w.heap.done = append(w.heap.done, w.text.String())
	return nil, nil
}

var replyForm = regexp.MustCompile(`^[2345]\d\d[ -][^\x00-\x08\x0a-\x1f\x7f]*$`)

// sendable is what can be sent on (RFC 5321, 4.1.2; RFC 6531, 3.3): a dot-string or one
// quoted string, and a domain or an address literal. The null sender can, and one without
// a domain.
var sendable = regexp.MustCompile("^$|^([a-zA-Z0-9!#$%&'*+/=?^_`{|}~.\\x80-\\x{10ffff}-]+" + `|"([^"\\\x00-\x1f\x7f]|\\["\\])*")(@([a-zA-Z0-9_.\x80-\x{10ffff}-]+|\[[a-zA-Z0-9.:-]+\]))?$`)

// FuzzSession plays whole sessions: nothing panics, each reply has its form, and
// what is stored has no bare CR, LF or NUL, and addresses in the plainest form.
func FuzzSession(f *testing.F) {
	const begin = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
	for _, s := range []string{
		begin + "DATA\r\nA: b\r\n\r\n..x\r\n.\r\nQUIT\r\n", begin + "BDAT 5\r\nabc\r\nBDAT 3 LAST\r\nx\r\nNOOP\r\n",
		begin + "DATA\r\n\n.\n\r.\r\r\n.\r\nRSET\r\n", "XCLIENT ADDR=192.0.2.1 NAME=a\r\n" + begin + "DATA\r\n.\r\n",
		"MAIL FROM:<a\\\"\\> \\\"x@b>\r\nRCPT TO:<c@\"x> \"d>\r\nRCPT TO:<c d@e>\r\nBDAT 0 LAST\r\n",
		"GET / HTTP/1.0\r\n", "NOOP\nNOOP\r\n", "VRFY x\r\nEXPN x\r\nHELP\r\nHELO\r\nHELO (\r\n", begin + "DATA\r\nvery long line that is longer than it may be\r\n.\r\n",
	} {
		f.Add([]byte(s), 1000, false)
		f.Add([]byte(s), 1, true)
	}
	f.Fuzz(func(t *testing.T, input []byte, size int, normalize bool) {
		h := &heap{}
		cfg := Config{HostName: "mx.example.com", Policy: func() Policy { return script{verdict: acceptAll} }, Spool: h,
			Xclient: isLocal, Limits: Limits{TextLine: 40, MessageSize: 200, Commands: 50, CommandLine: 60}}
		if normalize {
			cfg.BareNewline = func(netip.Addr) Mode { return Normalize }
		}
		s, err := NewServer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		conn := &tape{in: bytes.NewReader(input), max: max(1, size)}
		c := &session{server: s, rules: &Rules{}, peer: netip.MustParseAddr("127.0.0.1"), trusted: true}
		c.wire = newWire(conn, &s.lender, s.cfg.Limits.CommandLine)
		s.doors.Enter(c)
		c.serve()
		if st := s.Stats(); st.Panics != 0 || st.Open != 0 || h.open != 0 || s.lender.lent.Load() != 0 {
			t.Fatalf("stats %+v, %d messages open, %d buffers lent", st, h.open, s.lender.lent.Load())
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(conn.out.String(), "\r\n"), "\r\n") {
			if !replyForm.MatchString(line) {
				t.Fatalf("%q got the reply %q", input, line)
			}
		}
		for _, path := range h.paths {
			if !sendable.MatchString(path) {
				t.Fatalf("%q stored the address %q", input, path)
			}
		}
		for _, text := range h.done {
			if strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n\x00") || !strings.HasSuffix(text, "\r\n") {
				t.Fatalf("%q stored %q", input, text)
			}
		}
	})
}
