package session

import (
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// trickle is a client that sends what it has at a rate, once it has sent begin.
type trickle struct {
	begin string
	text  string
	every time.Duration
	sent  int
}

func (r *trickle) Read(p []byte) (int, error) {
	if r.begin != "" {
		n := copy(p, r.begin)
		r.begin = r.begin[n:]
		return n, nil
	}
	time.Sleep(r.every)
	if r.sent++; r.sent > 10_000 {
		return 0, io.EOF
	}
	return copy(p, r.text), nil
}

// A message must come at a rate, but not within its first minute.
func TestLeastRate(t *testing.T) {
	const begin = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
	for _, tt := range []struct {
		name, command string
		text          string
		every         time.Duration
		after         time.Duration // when it is given up; 0: it is not
	}{
		{"DATA, slow", "DATA\r\n", "x\r\n", time.Second, time.Minute},
		{"BDAT, slow", "BDAT 1000000 LAST\r\n", "x\r\n", time.Second, time.Minute},
		{"BDAT, in small chunks", "", "BDAT 1\r\nx", 2 * time.Second, time.Minute},
		{"DATA, just fast enough", "DATA\r\n", strings.Repeat("x", 254) + "\r\n", time.Second, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, err := NewServer(Config{HostName: "mx.example.com", Policy: func() Policy { return script{verdict: acceptAll} },
					Spool: &heap{}, Limits: Limits{Message: 24 * time.Hour}})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				conn := &tape{in: &trickle{begin: begin + tt.command, text: tt.text, every: tt.every}, max: 4096}
				c := &session{server: s, rules: &Rules{}, peer: netip.MustParseAddr("127.0.0.1")}
				c.wire = newWire(conn, &s.lender, s.cfg.Limits.CommandLine)
				c.serve()
				took := time.Since(start)
				slow := strings.HasSuffix(conn.out.String(), "421 4.4.2 mx.example.com Timeout waiting for input, closing connection\r\n")
				if slow != (tt.after > 0) || slow && (took < tt.after || took > tt.after+5*time.Second) {
					t.Errorf("given up %v, after %v:\n%s", slow, took, &conn.out)
				}
			})
		})
	}
}
