package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// sink takes every message and counts.
type sink struct {
	ln    net.Listener
	taken atomic.Int64
}

func listenSink(addr string) (*sink, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &sink{ln: ln}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s, nil
}

func (s *sink) close() { s.ln.Close() }

// serve speaks as much SMTP as a relay needs.
func (s *sink) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	say := func(text string) { fmt.Fprint(c, text) }
	say("220 sink\r\n")
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(string(line))), " "); verb {
		case "EHLO":
			say("250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n")
		case "DATA":
			say("354 go on\r\n")
			for !bytes.Equal(line, []byte(".\r\n")) {
				if line, err = in.ReadSlice('\n'); err != nil {
					return
				}
			}
			s.taken.Add(1)
			say("250 2.0.0 taken\r\n")
		case "QUIT":
			say("221 2.0.0 bye\r\n")
			return
		default:
			say("250 2.0.0 fine\r\n")
		}
	}
}

// bring has clients bring messages to a relay, until all are at the sink.
func bring(addr string, s *sink, w work, clients int) (result, error) {
	var left, before = atomic.Int64{}, s.taken.Load()
	left.Store(int64(w.count))
	text := message(w.size)
	errs := make(chan error, clients)
	var all sync.WaitGroup
	begin := time.Now()
	for range clients {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := session(addr, text, w.reuse, &left); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-errs:
		return result{}, err
	default:
	}
	for end := time.Now().Add(2 * time.Minute); s.taken.Load()-before < int64(w.count); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return result{}, fmt.Errorf("%d of %d messages have arrived", s.taken.Load()-before, w.count)
		}
	}
	return result{perSecond: float64(w.count) / time.Since(begin).Seconds()}, nil
}

func message(size int) []byte {
	b := []byte("From: <s@client.example>\r\nTo: <r@dest.example>\r\nSubject: test\r\n\r\n")
	line := strings.Repeat("x", 76) + "\r\n"
	for len(b) < size {
		b = append(b, line...)
	}
	return append(b, ".\r\n"...)
}

// session brings one message, or as many as are left.
func session(addr string, text []byte, reuse bool, left *atomic.Int64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	in := bufio.NewReader(c)
	if err := hear(in, "220"); err != nil {
		return err
	}
	if err := ask(c, in, "250", []byte("HELO client.example\r\n")); err != nil {
		return err
	}
	for {
		for _, step := range []struct{ want, line string }{
			{"250", "MAIL FROM:<s@client.example>\r\n"}, {"250", "RCPT TO:<r@dest.example>\r\n"}, {"354", "DATA\r\n"},
		} {
			if err := ask(c, in, step.want, []byte(step.line)); err != nil {
				return err
			}
		}
		if err := ask(c, in, "250", text); err != nil {
			return err
		}
		if !reuse || left.Add(-1) < 0 {
			return ask(c, in, "221", []byte("QUIT\r\n"))
		}
	}
}

func ask(c net.Conn, in *bufio.Reader, want string, text []byte) error {
	if _, err := c.Write(text); err != nil {
		return err
	}
	return hear(in, want)
}

func hear(in *bufio.Reader, want string) error {
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, want) {
			return fmt.Errorf("answered %q, want %s", line, want)
		}
		if len(line) > 3 && line[3] == ' ' {
			return nil
		}
	}
}
