package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// parts is a mail server that takes a few recipients at once, and counts who has what.
type parts struct {
	mu           sync.Mutex
	got          map[string]int // "subject address"
	transactions int
}

type partsSession struct {
	*parts
	to []string
}

func (p *parts) NewSession(*gosmtp.Conn) (gosmtp.Session, error) { return &partsSession{parts: p}, nil }

func (s *partsSession) Reset()                                 { s.to = nil }
func (s *partsSession) Logout() error                          { return nil }
func (s *partsSession) Mail(string, *gosmtp.MailOptions) error { return nil }
func (s *partsSession) Rcpt(to string, _ *gosmtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *partsSession) take(r io.Reader, each func(to string)) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	_, subject, _ := strings.Cut(string(text), "Subject: ")
	subject, _, _ = strings.Cut(subject, "\r\n")
	time.Sleep(2 * time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transactions++
	for _, to := range s.to {
		s.got[subject+" "+to]++
		each(to)
	}
	return nil
}

func (s *partsSession) Data(r io.Reader) error { return s.take(r, func(string) {}) }
func (s *partsSession) LMTPData(r io.Reader, status gosmtp.StatusCollector) error {
	return s.take(r, func(to string) { status.SetStatus(to, nil) })
}

// TestKilledBetweenTransactions: a message to many goes out in several transactions; a
// relay that is killed in between repeats those that were under way, and no others.
func TestKilledBetweenTransactions(t *testing.T) {
	const messages, recipients, atOnce = 50, 40, 5
	for _, protocol := range []string{"smtp", "lmtp"} {
		t.Run(protocol, func(t *testing.T) {
			s := newSite(t)
			hop := &parts{got: map[string]int{}}
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := gosmtp.NewServer(hop)
			server.Domain, server.MaxRecipients, server.ErrorLog = "sink.example", atOnce, slog.NewLogLogger(slog.DiscardHandler, 0)
			server.LMTP = protocol == "lmtp"
			t.Cleanup(func() { server.Close() })
			config, domain := strings.Replace(siteConfig, "SMART", ln.Addr().String(), 1), "elsewhere.example"
			if server.LMTP {
				config = strings.Replace(config, "retry =", "local_mail = \"lmtp:"+ln.Addr().String()+"\"\nretry =", 1)
				s.write("local-host-names", "local.example\n")
				domain = "local.example"
			}
			s.write("gatepost.toml", config)
			addr, socket := keptSocket(t)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			go func() { // it greets nobody before there is much to do
				for ctx.Err() == nil && s.submitted(t, addr, messages, recipients, domain) != nil {
					time.Sleep(100 * time.Millisecond)
				}
				server.Serve(ln)
			}()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for ctx.Err() == nil {
					hop.mu.Lock()
					n := len(hop.got)
					hop.mu.Unlock()
					if n == messages*recipients {
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
			}()
			kills := s.killing(socket, done, func() time.Duration { return 300 * time.Millisecond })
			s.eventually("the queue is empty", func() bool { return s.status().Messages == 0 })
			hop.mu.Lock()
			defer hop.mu.Unlock()
			twice := 0
			for _, n := range hop.got {
				twice += n - 1
			}
			t.Logf("%d kills, %d recipients, %d transactions, %d copies too many", kills, len(hop.got), hop.transactions, twice)
			if len(hop.got) != messages*recipients {
				t.Errorf("%d of %d arrived", len(hop.got), messages*recipients)
			}
			if most := deliveriesAtOnce * atOnce * kills; twice > most {
				t.Errorf("%d copies too many, at most %d were under way", twice, most)
			}
		})
	}
}

// submitted sends messages to many; those that were not answered, again.
func (s *site) submitted(t *testing.T, addr string, messages, recipients int, domain string) error {
	for i := range messages {
		for try := 0; ; try++ {
			c, err := dialStorm(addr)
			if err == nil {
				err = c.toMany(i, recipients, domain)
				c.Close()
			}
			if err == nil {
				break
			}
			if try > 50 {
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func (c *stormClient) toMany(i, recipients int, domain string) error {
	steps := [][2]string{{"MAIL FROM:<me@a.example>\r\n", "250"}}
	for r := range recipients {
		steps = append(steps, [2]string{fmt.Sprintf("RCPT TO:<r%d@%s>\r\n", r, domain), "250"})
	}
	steps = append(steps, [2]string{"DATA\r\n", "354"}, [2]string{fmt.Sprintf("Subject: %d\r\n\r\nx\r\n.\r\n", i), "250"})
	for _, step := range steps {
		if err := c.say(step[0], step[1]); err != nil {
			return err
		}
	}
	return nil
}
