package session

import (
	"bytes"
	"context"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"gatepost/relay/spool"
)

// mail100K is a message of 100 KB with lines as people write them.
func mail100K() []byte {
	line := []byte("The quick brown fox jumps over the lazy dog, and then does it again.\r\n")
	text := []byte("From: a@example.com\r\nSubject: a message\r\n\r\n")
	for len(text) < 100<<10 {
		text = append(text, line...)
	}
	return append(text, ".\r\n"...)
}

// cpuTime is what this process has used: wall time says little beside others.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano())
}

func perMessage(b *testing.B, before time.Duration, n int) {
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(n)/1000, "cpu-µs/op")
}

// nowhere is a spool that keeps nothing.
type nowhere struct{}

func (nowhere) Create(spool.Envelope) (Writer, error)              { return nowhere{}, nil }
func (nowhere) ID() string                                         { return "ID" }
func (nowhere) Write(p []byte) (int, error)                        { return len(p), nil }
func (nowhere) Commit(ctx context.Context) (*spool.Message, error) { return nil, nil }
func (nowhere) Abort()                                             {}

// BenchmarkScan is the text of a message alone.
func BenchmarkScan(b *testing.B) {
	text := mail100K()
	l := Limits{}
	l.setDefaults()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	before, n := cpuTime(b), 0
	for ; b.Loop(); n++ {
		body := newBody(nowhere{}, &l, true, false, false)
		for p := text; ; {
			n, ended := body.take(p[:min(len(p), largeBuffer)])
			if p = p[n:]; ended {
				break
			}
		}
		if r := body.refusal(); !r.IsZero() {
			b.Fatal(r)
		}
	}
	perMessage(b, before, n)
}

// BenchmarkMessage is a message of 100 KB in a session, without system calls; its
// bytes are copied once, as read(2) would.
func BenchmarkMessage(b *testing.B) {
	s, err := NewServer(Config{HostName: "mx.example.com", Policy: func() Policy { return script{verdict: acceptAll} },
		Spool: nowhere{}, Limits: Limits{Transactions: 1 << 30, Commands: 1 << 30}})
	if err != nil {
		b.Fatal(err)
	}
	text := append([]byte("MAIL FROM:<a@sender.example>\r\nRCPT TO:<u@local.example>\r\nDATA\r\n"), mail100K()...)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	conn := &tape{max: largeBuffer}
	c := &session{server: s, rules: &Rules{}, peer: netip.MustParseAddr("127.0.0.1")}
	c.wire = newWire(conn, &s.lender, s.cfg.Limits.CommandLine)
	conn.in = bytes.NewReader(nil)
	if !c.begin() {
		b.Fatal("no greeting")
	}
	before, n := cpuTime(b), 0
	for ; b.Loop(); n++ {
		conn.in.(*bytes.Reader).Reset(text)
		conn.out.Reset()
		for range 3 {
			c.step()
		}
	}
	perMessage(b, before, n)
	if got := s.Stats().Messages; got != uint64(n) {
		b.Fatalf("%d messages taken of %d: %s", got, n, &conn.out)
	}
}
