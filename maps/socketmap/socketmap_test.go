package socketmap

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatepost/internal/servers"
)

func TestLookup(t *testing.T) {
	cases := []struct {
		key, value string
		found      bool
		err        string
	}{
		{"a", "REJECT", true, ""},
		{"A", "", false, ""},
		{"empty", "", true, ""},
		{"b c", "two words", true, ""},
		{"binary\n\x00,", "\x00,\n", true, ""},
		{"nobody", "", false, ""},
		{"bare", "", false, ""},
		{"", "", false, ""},
		{strings.Repeat("k", 200_000), "", false, ""},
		{"long", strings.Repeat("v", maxReply-3), true, ""},
		{"temp", "", false, `the server could not answer: TEMP "overloaded"`},
		{"timeout", "", false, `the server could not answer: TIMEOUT "no backend"`},
		{"perm", "", false, `the server could not answer: PERM "no such map"`},
	}
	for _, network := range []string{"unix", "tcp"} {
		s := start(t, network, servers.ServeTable)
		c := clientOf(t, s, nil)
		for _, k := range cases {
			value, found, err := c.Lookup(context.Background(), k.key)
			want := ""
			if k.err != "" {
				want = fmt.Sprintf("socketmap %q at %s: %s", "access", s.Addr(), k.err)
			}
			if value != k.value || found != k.found || errText(err) != want {
				t.Errorf("%s: Lookup(%.20q) = %.20q, %v, %v, want %.20q, %v, %s", network, k.key, value, found, err, k.value, k.found, want)
			}
		}
		if n := s.Accepted.Load(); n != 1 {
			t.Errorf("%s: %d connections for %d lookups one after the other", network, n, len(cases))
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestNastyReplies has each of them end in an error, soon, and the next lookup on a new connection.
func TestNastyReplies(t *testing.T) {
	cases := []struct{ name, reply, want string }{
		{"no netstring", "OK REJECT\n", `the reply is no netstring: byte 'O' in its length`},
		{"empty netstring", "0:,", `the server answered "", where OK or NOTFOUND was expected`},
		{"no length", ":OK x,", `the reply is no netstring: byte ':' in its length`},
		{"zeros in front", "06:OK abc,", `the reply is no netstring: byte '6' in its length`},
		{"negative", "-6:OK abc,", `the reply is no netstring: byte '-' in its length`},
		{"blank in front", " 6:OK abc,", `the reply is no netstring: byte ' ' in its length`},
		{"too long", "100001:OK ", "the reply has more than 100000 bytes"},
		{"huge", strings.Repeat("9", 1000) + ":", "the reply has more than 100000 bytes"},
		{"no comma", "6:OK abc;", `the reply is no netstring: byte ';' where a comma was expected`},
		{"longer than its length", "5:OK abc,", `the reply is no netstring: byte 'c' where a comma was expected`},
		{"more after it", "6:OK abc,6:OK def,", "9 bytes follow the reply"},
		{"newline after it", "6:OK abc,\n", "1 bytes follow the reply"},
		{"small letters", "6:ok abc,", `the server answered "ok abc", where OK or NOTFOUND was expected`},
		{"OK alone", "2:OK,", `the server answered "OK", where OK or NOTFOUND was expected`},
		{"OK and more", "4:OKAY,", `the server answered "OKAY", where OK or NOTFOUND was expected`},
		{"another word", servers.Netstring("PONG " + strings.Repeat("x", 1000)), `the server answered "PONG ` + strings.Repeat("x", 195) + `", where OK or NOTFOUND was expected`},
		{"long reason", servers.Netstring("TEMP " + strings.Repeat("\x00", 1000)), `the server could not answer: TEMP "` + strings.Repeat(`\x00`, 200) + `"`},
	}
	for _, k := range cases {
		t.Run(k.name, func(t *testing.T) {
			s := start(t, "unix", servers.Saying(k.reply))
			c := clientOf(t, s, nil)
			for range 2 {
				value, found, err := c.Lookup(context.Background(), "a")
				if value != "" || found || !strings.HasSuffix(errText(err), ": "+k.want) {
					t.Fatalf("Lookup() = %q, %v, %v, want %s", value, found, err, k.want)
				}
			}
		})
	}
}

// TestClosing has a server close at each byte of a reply: that is never an answer.
func TestClosing(t *testing.T) {
	const reply = "11:OK REJECT x,"
	for n := range len(reply) {
		s := start(t, "tcp", func(_ *servers.Socketmap, conn net.Conn, r *bufio.Reader) {
			if _, err := servers.ReadRequest(r); err == nil {
				io.WriteString(conn, reply[:n])
			}
		})
		c := clientOf(t, s, nil)
		value, found, err := c.Lookup(context.Background(), "a")
		if value != "" || found || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("closed after %d bytes: %q, %v, %v", n, value, found, err)
		}
		if s.Accepted.Load() != 1 {
			t.Errorf("closed after %d bytes: %d connections, a new one is not tried twice", n, s.Accepted.Load())
		}
	}
}

func TestNobodyThere(t *testing.T) {
	c := New(Config{Network: "unix", Address: filepath.Join(t.TempDir(), "s"), Name: "access"})
	defer c.Close()
	if _, found, err := c.Lookup(context.Background(), "a"); found || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Lookup() = %v, %v", found, err)
	}
}

// TestSlow has servers that never end their reply, each in another way.
func TestSlow(t *testing.T) {
	silent := func(s *servers.Socketmap, _ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }
	dripping := func(s *servers.Socketmap, conn net.Conn, r *bufio.Reader) {
		io.WriteString(conn, "60000:OK ")
		for {
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	deaf := func(s *servers.Socketmap, conn net.Conn, r *bufio.Reader) {
		time.Sleep(300 * time.Millisecond) // reads nothing, so that a long question does not get through
	}
	for name, handle := range map[string]servers.SocketmapHandler{"silent": silent, "dripping": dripping, "deaf": deaf} {
		t.Run(name, func(t *testing.T) {
			s := start(t, "unix", handle)
			key := strings.Repeat("k", 10<<20)
			c := clientOf(t, s, func(config *Config) { config.Timeout = 50 * time.Millisecond })
			begin := time.Now()
			if _, found, err := c.Lookup(context.Background(), key); found || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Lookup() = %v, %v", found, err)
			}
			c = clientOf(t, s, func(config *Config) { config.Timeout = time.Minute })
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(50*time.Millisecond, cancel)
			if _, found, err := c.Lookup(ctx, key); found || !errors.Is(err, context.Canceled) {
				t.Errorf("Lookup() = %v, %v", found, err)
			}
			if d := time.Since(begin); d > 20*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

// TestLateReply has a reply come after its lookup gave up: it must not answer the next one.
func TestLateReply(t *testing.T) {
	release := make(chan struct{})
	s := start(t, "unix", func(s *servers.Socketmap, conn net.Conn, r *bufio.Reader) {
		for {
			request, err := servers.ReadRequest(r)
			if err != nil {
				return
			}
			if request == "access slow" {
				<-release
			}
			io.WriteString(conn, servers.Netstring("OK for "+request))
		}
	})
	c := clientOf(t, s, nil)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, _, err := c.Lookup(ctx, "slow"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Lookup(slow) = %v", err)
	}
	close(release)
	for range 5 {
		if value, _, err := c.Lookup(context.Background(), "next"); value != "for access next" || err != nil {
			t.Errorf("Lookup(next) = %q, %v", value, err)
		}
	}
}

// TestUnasked has the server send a second answer some time after the first.
func TestUnasked(t *testing.T) {
	sent := make(chan struct{}, 10)
	s := start(t, "unix", func(s *servers.Socketmap, conn net.Conn, r *bufio.Reader) {
		for {
			request, err := servers.ReadRequest(r)
			if err != nil {
				return
			}
			io.WriteString(conn, servers.Netstring("OK for "+request))
			time.Sleep(20 * time.Millisecond)
			io.WriteString(conn, servers.Netstring("OK unasked"))
			sent <- struct{}{}
		}
	})
	c := clientOf(t, s, nil)
	for _, key := range []string{"a", "b", "c"} {
		value, _, err := c.Lookup(context.Background(), key)
		if value != "for access "+key || err != nil {
			t.Errorf("Lookup(%s) = %q, %v", key, value, err)
		}
		<-sent
	}
}

// TestKeptConnectionClosed has the server close connections that are kept, so that it
// is noticed before the next question.
func TestKeptConnectionClosed(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		s := start(t, network, servers.ServeTable)
		c := clientOf(t, s, nil)
		for i := range 5 {
			if value, _, err := c.Lookup(context.Background(), "a"); value != "REJECT" || err != nil {
				t.Errorf("%s: lookup %d = %q, %v", network, i, value, err)
			}
			s.CloseConns()
		}
	}
}

// closingOnSecond answers the first question of a connection and closes it at the second.
func closingOnSecond(s *servers.Socketmap, conn net.Conn, r *bufio.Reader) {
	request, err := servers.ReadRequest(r)
	if err != nil {
		return
	}
	io.WriteString(conn, servers.Netstring(s.Answer(request)))
	servers.ReadRequest(r)
}

// TestRetry has the server close kept connections only when the question is under way.
func TestRetry(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		s := start(t, network, closingOnSecond)
		c := clientOf(t, s, nil)
		for i := range 6 {
			if value, found, err := c.Lookup(context.Background(), "a"); value != "REJECT" || !found || err != nil {
				t.Errorf("%s: lookup %d = %q, %v, %v", network, i, value, found, err)
			}
		}
		if n := s.Accepted.Load(); n != 6 {
			t.Errorf("%s: %d connections for 6 lookups", network, n)
		}
	}
}

// TestRetryOnce has the server close all connections but the first at once: the lookup
// that tried a second time fails.
func TestRetryOnce(t *testing.T) {
	s := start(t, "unix", func(s *servers.Socketmap, conn net.Conn, r *bufio.Reader) {
		if s.Accepted.Load() == 1 {
			closingOnSecond(s, conn, r)
		} else {
			servers.ReadRequest(r)
		}
	})
	c := clientOf(t, s, nil)
	if _, _, err := c.Lookup(context.Background(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, found, err := c.Lookup(context.Background(), "a"); found || !errors.Is(err, io.EOF) {
		t.Errorf("Lookup() = %v, %v", found, err)
	}
	if n := s.Accepted.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}

// TestRestart has the server gone for a while: the client recovers by itself.
func TestRestart(t *testing.T) {
	s := start(t, "tcp", servers.ServeTable)
	c := clientOf(t, s, nil)
	if _, found, err := c.Lookup(context.Background(), "a"); !found || err != nil {
		t.Fatalf("Lookup() = %v, %v", found, err)
	}
	address := s.Addr().String()
	s.Stop()
	if _, found, err := c.Lookup(context.Background(), "a"); found || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Lookup() without a server = %v, %v", found, err)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	if _, found, err := c.Lookup(context.Background(), "a"); !found || err != nil {
		t.Errorf("Lookup() after a restart = %v, %v", found, err)
	}
}

// TestOldConnection does not use a connection again that was idle for long.
func TestOldConnection(t *testing.T) {
	s := start(t, "unix", servers.ServeTable)
	c := clientOf(t, s, nil)
	for range 3 {
		if _, found, err := c.Lookup(context.Background(), "a"); !found || err != nil {
			t.Fatalf("Lookup() = %v, %v", found, err)
		}
		c.pool.idle[0].used = time.Now().Add(-maxIdleTime - time.Second)
	}
	if n := s.Accepted.Load(); n != 3 {
		t.Errorf("%d connections, want 3", n)
	}
}

// TestConcurrent has 100 lookups at a time, each of which must get its own answer.
func TestConcurrent(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		s := start(t, network, func(s *servers.Socketmap, conn net.Conn, r *bufio.Reader) {
			for n := 0; ; n++ {
				request, err := servers.ReadRequest(r)
				if err != nil || n%50 == 49 {
					return // after some questions it closes the connection, without an answer
				}
				io.WriteString(conn, servers.Netstring("OK for "+request))
			}
		})
		c := clientOf(t, s, func(config *Config) { config.Timeout, config.MaxIdle = time.Minute, 16 })
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				for j := range 50 {
					key := fmt.Sprintf("%d.%d", i, j)
					if value, _, err := c.Lookup(context.Background(), key); value != "for access "+key || err != nil {
						t.Errorf("Lookup(%s) = %q, %v", key, value, err)
						return
					}
				}
			})
		}
		all.Wait()
		if n := len(c.pool.idle); n > 16 {
			t.Errorf("%d connections are kept, at most 16 were wanted", n)
		}
	}
}

// TestMaxOpen has the server hold all lookups: the 33rd waits, no longer than its ctx lets it.
func TestMaxOpen(t *testing.T) {
	release := make(chan struct{})
	s := start(t, "unix", func(s *servers.Socketmap, conn net.Conn, r *bufio.Reader) {
		<-release
		servers.ServeTable(s, conn, r)
	})
	c := clientOf(t, s, func(config *Config) { config.Timeout, config.MaxIdle = time.Minute, maxOpen })
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, found, err := c.Lookup(context.Background(), "a"); !found || err != nil {
				t.Errorf("Lookup() = %v, %v", found, err)
			}
		})
	}
	for s.Accepted.Load() < maxOpen {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	_, _, err := c.Lookup(ctx, "a")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(errText(err), "all 32 connections are in use") {
		t.Errorf("Lookup() = %v", err)
	}
	close(release)
	all.Wait()
	if n := s.Accepted.Load(); n != maxOpen {
		t.Errorf("%d connections, want %d", n, maxOpen)
	}
}

// TestSmallBacklog has a server that hardly accepts: with UNIX-domain sockets connect(2)
// fails then with EAGAIN.
func TestSmallBacklog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	l, err := net.FileListener(file)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
	c := New(Config{Network: "unix", Address: path, Name: "access", Timeout: time.Minute})
	defer c.Close()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, found, err := c.Lookup(context.Background(), "a"); !found || err != nil {
				t.Errorf("Lookup() = %v, %v", found, err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	serve(t, l)
	all.Wait()
}

func TestMaxIdle(t *testing.T) {
	for maxIdle, want := range map[int]int{-1: 0, 0: 4, 1: 1, 1000: maxOpen} {
		s := start(t, "unix", servers.ServeTable)
		c := clientOf(t, s, func(config *Config) { config.MaxIdle = maxIdle })
		var conns []*conn
		for range maxOpen + 1 {
			conn, err := c.pool.dial(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			c.pool.keep(conn)
		}
		if n := len(c.pool.idle); n != want {
			t.Errorf("MaxIdle %d keeps %d connections, want %d", maxIdle, n, want)
		}
	}
}

func TestClose(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	s := start(t, "unix", func(s *servers.Socketmap, conn net.Conn, r *bufio.Reader) {
		request, err := servers.ReadRequest(r)
		if err != nil {
			return
		}
		close(asked)
		<-release
		io.WriteString(conn, servers.Netstring(s.Answer(request)))
		io.Copy(io.Discard, r)
	})
	c := clientOf(t, s, nil)
	done := make(chan error)
	go func() {
		_, _, err := c.Lookup(context.Background(), "a")
		done <- err
	}()
	<-asked
	c.Close()
	c.Close()
	if _, found, err := c.Lookup(context.Background(), "a"); found || !errors.Is(err, ErrClosed) {
		t.Errorf("Lookup() after Close = %v, %v", found, err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Errorf("the lookup under way: %v", err)
	}
	if n := len(c.pool.idle); n != 0 {
		t.Errorf("%d connections are kept after Close", n)
	}
}
