package session

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// mostMemory is what a server under attack may take, the attackers in this process
// included.
const mostMemory = 256 << 20

// underAttack runs an attack, serves plain sessions meanwhile and measures. Each has a
// second; one stall of the machine is forgiven.
func underAttack(t *testing.T, f *fixture, attack func()) {
	t.Helper()
	runtime.GC()
	done := make(chan struct{})
	go func() {
		defer close(done)
		attack()
	}()
	peak, sessions, slow := uint64(0), 0, 0
	for over := false; !over; {
		select {
		case <-done:
			over = true
		case <-time.After(10 * time.Millisecond):
		}
		sessions++
		if f.serves() > time.Second {
			slow++
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapInuse+m.StackInuse)
	}
	t.Logf("at most %d MiB; %d sessions, %d of them slow", peak>>20, sessions, slow)
	if slow > 1 {
		t.Errorf("%d of %d plain sessions took more than a second", slow, sessions)
	}
	if peak > mostMemory {
		t.Errorf("%d MiB of memory in use, at most %d wanted", peak>>20, mostMemory>>20)
	}
}

// pour writes the same over and over: at most n times, and until it fails.
func pour(conn net.Conn, text []byte, n int) {
	for range n {
		_ = conn.SetWriteDeadline(time.Now().Add(patience))
		if _, err := conn.Write(text); err != nil {
			return
		}
	}
}

func TestAbuseLineOfAGigabyte(t *testing.T) {
	f := accepting(t)
	megabyte := bytes.Repeat([]byte("x"), 1<<20)
	underAttack(t, f, func() {
		command := f.greeted()
		pour(command.conn, megabyte, 1024)
		if r := command.next(); r != "421 4.7.0 mx.example.com Line too long, closing connection" && r != "EOF" {
			t.Errorf("a command of a gigabyte: %q", r)
		}
		text := f.greeted()
		text.transaction()
		pour(text.conn, megabyte, 1024)
		if r := text.next(); !strings.HasPrefix(r, "552 5.3.4 ") && r != "EOF" {
			t.Errorf("a line of a gigabyte: %q", r)
		}
	})
	if n := f.Stats().Faulty; n != 1 {
		t.Errorf("%d faulty messages, want 1", n)
	}
}

func TestAbuseMillionRecipients(t *testing.T) {
	const many = 1_000_000
	f := accepting(t, limits(func(l *Limits) { l.Commands = 2 * many }))
	underAttack(t, f, func() {
		c := f.greeted()
		c.say("MAIL FROM:<a@sender.example>", "250 ")
		go func() {
			_ = c.conn.SetWriteDeadline(time.Time{}) // it takes as long as it takes
			var batch bytes.Buffer
			for i := range many {
				fmt.Fprintf(&batch, "RCPT TO:<u%d@local.example>\r\n", i)
				if batch.Len() > 1<<16 || i == many-1 {
					_, _ = c.conn.Write(batch.Bytes())
					batch.Reset()
				}
			}
		}()
		taken := 0
		for range many {
			switch r := c.next(); {
			case strings.HasPrefix(r, "250 2.1.5 "):
				taken++
			case r != "452 4.5.3 Too many recipients":
				t.Errorf("after %d recipients: %q", taken, r)
				return
			}
		}
		if taken != DefaultRecipients {
			t.Errorf("%d recipients taken, want %d", taken, DefaultRecipients)
		}
	})
}

func TestAbuseCommandsWithoutEnd(t *testing.T) {
	f := accepting(t)
	underAttack(t, f, func() {
		c := f.greeted()
		go pour(c.conn, bytes.Repeat([]byte("NOOP\r\n"), 1000), 1000)
		for range DefaultCommands + 10 {
			if r := c.next(); r != "250 2.0.0 OK" {
				if !strings.HasPrefix(r, "421 4.7.0 ") && r != "EOF" {
					t.Errorf("got %q", r)
				}
				return
			}
		}
		t.Error("there is no end")
	})
}

func TestAbuseHundredThousandHeaders(t *testing.T) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "X-Header-%d: value\r\n", i)
	}
	f := accepting(t)
	large := accepting(t, limits(func(l *Limits) { l.Header = 10 << 20 }))
	underAttack(t, f, func() {
		c := f.greeted()
		c.transaction()
		c.say(text.String()+".", "552 5.3.4 Headers too large (1048576 bytes max)")
		c = large.greeted()
		c.transaction()
		c.say(text.String()+".", "250 2.0.0 ")
	})
}

func TestAbuseSlowClients(t *testing.T) {
	const many = 2000
	f := accepting(t, limits(func(l *Limits) { l.ConnsPerClient = 2 * many }))
	underAttack(t, f, func() {
		conns := make([]net.Conn, many)
		var wait sync.WaitGroup
		for i := range 4 { // as fast as they can
			wait.Go(func() {
				for n := i; n < many; n += 4 {
					conns[n] = slowClient(t, f.addr, n)
				}
			})
		}
		wait.Wait()
		if n := f.Stats().Open; n < many {
			t.Errorf("%d sessions are open, want %d", n, many)
		}
		for range 3 {
			for i, c := range conns {
				_, _ = c.Write([]byte("xyz"[i%3 : i%3+1]))
			}
			time.Sleep(100 * time.Millisecond)
		}
		for _, c := range conns {
			_ = c.Close()
		}
	})
	soon(t, "they have left", func() bool { return f.Stats().Open == 0 })
}

// slowClient is one of three kinds: in a command, in DATA after much text, in BDAT.
func slowClient(t *testing.T, addr string, kind int) net.Conn {
	c, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Error(err)
		return nil
	}
	const begin = "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@local.example>\r\n"
	script := []string{"NOOP\r\nNO", begin + "DATA\r\n" + strings.Repeat("x", 20<<10), begin + "BDAT 100000 LAST\r\n" + strings.Repeat("x", 5000)}[kind%3]
	small := make([]byte, 512)
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := c.Read(small); err != nil {
		t.Error(err)
	}
	if _, err := io.WriteString(c, script); err != nil {
		t.Error(err)
	}
	return c
}
