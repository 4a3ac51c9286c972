package session

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// manySessions are to fit in mostForMany.
const (
	manySessions = 1000
	mostForMany  = 150 << 20
)

// TestMemoryOfTLSSessions has 1,000 clients, of another process, that begin TLS, log in,
// send a message of 40 KB and stay.
func TestMemoryOfTLSSessions(t *testing.T) {
	site := newSite(t)
	f := accepting(t, limits(func(l *Limits) { l.Conns = 2 * manySessions })).listen(&Rules{TLS: site.server(), Auth: logins(t, "PLAIN"), RequireTLS: true, RequireAuth: true})
	before := memoryInUse()
	cmd := exec.Command(os.Args[0], "-test.run=^TestManyClients$", "-test.v")
	cmd.Env = append(os.Environ(), "GATEPOST_SERVER="+f.addr)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	hold, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	peak := memoryInUse()
	said := make(chan string, 1)
	go func() { said <- childSays(out, "all are here") }()
	for over := ""; over == ""; {
		select {
		case over = <-said:
			if over != "all are here" {
				t.Errorf("the clients said %s", over)
			}
		case <-time.After(20 * time.Millisecond):
		}
		peak = max(peak, memoryInUse())
	}
	s := f.Stats()
	runtime.GC()
	settled := memoryInUse()
	t.Logf("%d sessions: at most %d MiB, %d KiB each when all are idle; %d MiB before", s.Open, peak>>20, (settled-min(settled, before))>>10/manySessions, before>>20)
	if s.Open != manySessions || s.Logins != manySessions || s.Messages != manySessions {
		t.Errorf("stats %+v", s)
	}
	if peak > mostForMany {
		t.Errorf("%d MiB in use, at most %d wanted", peak>>20, mostForMany>>20)
	}
	_ = hold.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// memoryInUse is all that the Go runtime has in use, what is no longer needed included.
func memoryInUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// childSays waits for a line of another process; without it, it is all that was said.
func childSays(r io.Reader, want string) string {
	var all strings.Builder
	for in := bufio.NewScanner(r); in.Scan(); {
		if in.Text() == want {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return want
		}
		all.WriteString(in.Text() + "\n")
	}
	return "in the end: " + all.String()
}

// TestManyClients is the other process.
func TestManyClients(t *testing.T) {
	addr := os.Getenv("GATEPOST_SERVER")
	if addr == "" {
		return // it is no test by itself
	}
	text := strings.Repeat(strings.Repeat("x", 78)+"\r\n", 512) + ".\r\n"
	conns := make([]net.Conn, manySessions)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for n := i; n < manySessions; n += 8 {
				c := &talker{t: t}
				var err error
				if c.conn, err = net.Dial("tcp4", addr); err != nil {
					t.Error(err)
					return
				}
				c.in = bufio.NewReaderSize(c.conn, 512)
				c.expect("220 mx.example.com ESMTP Gatepost")
				c.say("EHLO x", "250-")
				c.starttls(&tls.Config{InsecureSkipVerify: true})
				c.login("PLAIN")
				c.transaction()
				c.send(text)
				if r := c.reply(); !strings.HasPrefix(r, "250 ") {
					t.Errorf("got %q", r)
				}
				conns[n] = c.conn
			}
		})
	}
	wait.Wait()
	fmt.Println("all are here")
	_, _ = io.Copy(io.Discard, os.Stdin)
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// BenchmarkHandshake is full handshakes per second, four clients at once in this
// process, of our server up to its greeting, and of a server that says a line and is
// package tls alone. The certificate's key is ECDSA on P-256.
func BenchmarkHandshake(b *testing.B) {
	site := newSite(b)
	bare, err := tls.Listen("tcp4", "127.0.0.1:0", site.server())
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	go func() {
		for {
			c, err := bare.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, "220 hello\r\n")
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	f := accepting(b).listen(&Rules{Implicit: true, TLS: site.server()})
	for _, server := range []struct{ name, addr string }{{"bare", bare.Addr().String()}, {"session", f.addr}} {
		b.Run(server.name, func(b *testing.B) {
			b.SetParallelism(4)
			before := time.Now()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := oneHandshake(server.addr, site.client()); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/time.Since(before).Seconds(), "handshakes/s")
		})
	}
}

func oneHandshake(addr string, config *tls.Config) error {
	c, err := tls.Dial("tcp4", addr, config)
	if err != nil {
		return err
	}
	defer c.Close()
	line := make([]byte, 64)
	if n, err := c.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "220 ") {
		return fmt.Errorf("greeted with %q, %w", line[:n], err)
	}
	return nil
}
