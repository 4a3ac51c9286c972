package milter

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"testing"

	"gatepost/internal/listen"
	"gatepost/milter/miltertest"
	"gatepost/policy"
)

func newLog(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// BenchmarkSession is a session over a unix socket: connect, negotiation,
// CONNECT, HELO, MAIL, 5 RCPT, ABORT, QUIT, with macros as sendmail sends them.
// Both ends run in this process.
func BenchmarkSession(b *testing.B) {
	for _, bm := range []struct {
		name    string
		verdict policy.Verdict
	}{
		{"accepted", accept},
		{"refused", refusal(550, "5.7.1", "Relaying denied")},
	} {
		b.Run(bm.name, func(b *testing.B) {
			addr := b.TempDir() + "/s"
			ln, err := listen.Open("unix:"+addr, listen.SocketOptions{})
			if err != nil {
				b.Fatal(err)
			}
			s := NewServer(Config{Policy: func() Decider { return atStage(policy.StageRcpt, bm.verdict) }})
			go func() { _ = s.Serve(context.Background(), ln) }()
			packets := sessionPackets()
			b.ReportAllocs()
			for b.Loop() {
				benchSession(b, addr, packets)
			}
			b.StopTimer()
			_ = s.Shutdown(context.Background())
		})
	}
}

// sessionPackets are macros and command together, as Postfix writes them; the
// last has no answer.
func sessionPackets() [][]byte {
	f := miltertest.Frame
	join := func(a, b []byte) []byte { return append(bytes.Clone(a), b...) }
	packets := [][]byte{
		miltertest.Negotiation(miltertest.Full()),
		join(f('D', "Cj\x00mx.example.com\x00{daemon_name}\x00MTA-v4\x00_\x00x [203.0.113.25]\x00{client_addr}\x00203.0.113.25\x00"+
			"{client_name}\x00[203.0.113.25]\x00{client_ptr}\x00[203.0.113.25]\x00{client_resolve}\x00FAIL\x00"),
			f('C', "[203.0.113.25]\x004\x9c\x41203.0.113.25\x00")),
		join(f('D', "H{tls_version}\x00TLSv1.3\x00{cipher}\x00TLS_AES_256_GCM_SHA384\x00{cipher_bits}\x00256\x00"), f('H', "client.example\x00")),
		join(f('D', "Mi\x005AKN4x2v012345\x00"), f('M', "<s@sender.example>\x00SIZE=4096\x00")),
	}
	for range 5 {
		packets = append(packets, join(f('D', "Ri\x005AKN4x2v012345\x00"), f('R', "<user@example.com>\x00")))
	}
	return append(packets, join(f('A', ""), f('Q', "")))
}

func benchSession(b *testing.B, addr string, packets [][]byte) {
	b.Helper()
	c, err := net.Dial("unix", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var buf [4096]byte
	for i, p := range packets {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
		if n, err := c.Read(buf[:]); err != nil && i < len(packets)-1 {
			b.Fatalf("packet %d: %d bytes, %v", i, n, err)
		}
	}
}
