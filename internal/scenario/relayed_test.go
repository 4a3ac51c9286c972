package scenario

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
	"gatepost/internal/smtp"
	"gatepost/policy"
	"gatepost/relay/session"
	"gatepost/relay/spool"
)

// TestOverSMTP plays recorded sessions, a sample of all policies alike, to the
// relay's SMTP server: the client's address comes by the PROXY protocol, its name
// from a DNS server that has the recorded facts, and a message is sent to whoever is
// accepted. What was recorded of rule sets alone is left out; TestSecureOverSMTP has
// the sessions with AUTH or TLS.
//
// One difference is on purpose (docs/differences.md): the relay takes % and ! in a
// local part for a route even under "nospecial", as its next hop may follow it.
func TestOverSMTP(t *testing.T) {
	const every, atLeast = 5, 800 // policies, sessions
	var sum Result
	n := 0
	for _, name := range []string{"named", "random"} {
		err := readFile(filepath.Join("../../integration/testdata/oracle", name+".jsonl.gz"), func(load func() (*Scenario, error)) error {
			if n++; n%every != 0 {
				return nil
			}
			s, err := load()
			if err != nil {
				return err
			}
			runOverSMTP(t, s, &sum, func(one *Session) bool { return !secured(one) })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d sessions, %d replies", sum.Passed+sum.Failed, sum.Verdicts)
	if sum.Failed != 0 || sum.Passed < atLeast {
		t.Errorf("%d sessions differ, %d do not; want none, and %d of the others at least", sum.Failed, sum.Passed, atLeast)
	}
}

// runOverSMTP plays those of one policy's sessions that are wanted.
func runOverSMTP(t *testing.T, s *Scenario, sum *Result, wanted func(*Session) bool) {
	if !slices.ContainsFunc(s.Sessions, func(one Session) bool { return wanted(&one) }) {
		return
	}
	r := startRelay(t, s)
	for i := range s.Sessions {
		one := &s.Sessions[i]
		if !wanted(one) {
			continue
		}
		replies, err := r.play(one)
		sum.Verdicts += replies
		if err != nil {
			sum.Failed++
			t.Errorf("%s:%d: %s: %v", s.File, s.Line, one.Name, err)
			continue
		}
		sum.Passed++
	}
}

// relay is a server under one policy.
type relay struct {
	addr     string
	spool    *spool.Spool
	stricter bool // the policy has a "nospecial"
	host     string
	pki      *authorities
	judged   atomic.Pointer[policy.Facts] // of them Auth and TLS, at the last MAIL
}

func startRelay(t *testing.T, s *Scenario) *relay {
	t.Helper()
	resolver, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(t, s.Zone)}})
	if err != nil {
		t.Fatal(err)
	}
	s.Policy.Resolver = resolver
	p, err := policy.New(s.Policy)
	if err != nil {
		t.Fatal(err)
	}
	queue, err := spool.Open(filepath.Join(t.TempDir(), "spool"), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := &s.Policy.Features
	r := &relay{
		spool: queue, host: s.Policy.HostName, pki: &authorities{t: t},
		stricter: f.NoUUCP == policy.SpecialOrdinary || f.NoPercentHack == policy.SpecialOrdinary,
	}
	server, err := session.NewServer(session.Config{
		HostName: s.Policy.HostName,
		Observe: func(f *policy.Facts, d *policy.Decision, _ time.Duration) {
			if d.Stage == policy.StageMail {
				r.judged.Store(&policy.Facts{Auth: f.Auth, TLS: f.TLS})
			}
		},
		Policy: func() session.Policy { return p },
		ResolveClient: func(ctx context.Context, addr netip.Addr) (policy.Resolve, string, string) {
			c := dns.ResolveClient(ctx, resolver, localhost(), addr)
			return policy.ParseResolve(c.Resolve), c.Name, c.Ptr
		},
		Spool:   session.Keep(queue),
		Proxies: func(netip.Addr) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	rules := secureRules(t, r)
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), ln, rules) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		<-served
		if err := queue.Close(); err != nil {
			t.Errorf("closing the spool: %v", err)
		}
	})
	return r
}

// conversation is one session under way.
type conversation struct {
	relay    *relay
	conn     net.Conn
	in       *textproto.Reader
	compared int

	refused    bool   // nothing more can be asked
	accepted   int    // recipients
	discarded  bool   // the message goes nowhere
	quarantine string // why it is held
}

// play goes through a session and counts the replies that were compared.
func (r *relay) play(s *Session) (int, error) {
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	c := &conversation{relay: r, conn: conn, in: textproto.NewReader(bufio.NewReader(conn))}
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, err
	}
	if err := c.greet(s); err != nil {
		return c.compared, err
	}
	for i := range s.Steps {
		if step := &s.Steps[i]; !c.refused && step.Kind != Connect {
			if err := c.step(step); err != nil {
				return c.compared, err
			}
		}
	}
	return c.compared, r.send(c)
}

// greet begins: a refused connection is greeted, and refused at MAIL.
func (c *conversation) greet(s *Session) error {
	family, addr := "TCP4", s.Facts.Conn.Addr
	if addr.Is6() {
		family = "TCP6"
	}
	if _, err := fmt.Fprintf(c.conn, "PROXY %s %s %s 1025 25\r\n", family, addr, addr); err != nil {
		return err
	}
	want := s.Steps[0].Want
	if s.Steps[0].Kind != Connect {
		want = Want{Action: policy.Accept}
	}
	code, text, err := c.in.ReadResponse(0)
	if err != nil {
		return err
	}
	if want.Code == 421 {
		c.refused = true
		return c.compare("connection", &want, code, text)
	}
	if code != 220 {
		return fmt.Errorf("greeted with %d %s", code, text)
	}
	if code, text, err = c.ask("EHLO " + s.Facts.Helo.Name); err != nil || code != 250 {
		return fmt.Errorf("EHLO: %d %s (%v)", code, text, err)
	}
	c.take(&want)
	if want.Code == 0 {
		return c.identify(s)
	}
	c.refused = true
	if code, text, err = c.ask("MAIL FROM:<>"); err != nil {
		return err
	}
	return c.compare("connection, at MAIL", &want, code, text)
}

// step is one MAIL or RCPT.
func (c *conversation) step(s *Step) error {
	command := "MAIL FROM:"
	if s.Kind == Recipient {
		command = "RCPT TO:"
	}
	code, text, err := c.ask(command + s.Path.Raw())
	if err != nil {
		return err
	}
	want := s.Want
	if want.Action == policy.Undecided {
		want = Want{Action: policy.Accept, Exact: true}
	}
	c.take(&want)
	refuses := want.Action == policy.Reject || want.Action == policy.Tempfail
	if !refuses && s.Kind == Recipient {
		c.accepted++
	}
	c.refused = refuses && s.Kind == Sender
	return c.compare(command+s.Path.Raw(), &want, code, text)
}

// take remembers what must become of the message.
func (c *conversation) take(w *Want) {
	c.discarded = c.discarded || w.Action == policy.Discard
	if w.Action == policy.Quarantine && c.quarantine == "" {
		c.quarantine = w.Text
	}
}

func (c *conversation) ask(line string) (code int, text string, err error) {
	if _, err := fmt.Fprintf(c.conn, "%s\r\n", line); err != nil {
		return 0, "", err
	}
	return c.in.ReadResponse(0)
}

// compare holds a reply against what real sendmail said.
func (c *conversation) compare(at string, w *Want, code int, text string) error {
	c.compared++
	switch {
	case w.Code == 0 && !w.Exact && w.Action == policy.Reject && code/100 == 5:
		return nil // of a syntax error only the refusal was recorded
	case w.Code == 0 && code == 550 && c.relay.stricter && strings.ContainsAny(at, "%!"):
		c.accepted--
		return nil
	case w.Code == 0 && code == 250 && w.Action != policy.Reject:
		return nil
	case w.Code == 0:
		return fmt.Errorf("%s: answered %d %s, want %s", at, code, text, w)
	}
	enhanced, rest, _ := strings.Cut(text, " ")
	if _, ok := smtp.ParseEnhancedCode(enhanced); !ok {
		enhanced, rest = "", text
	}
	if _, after, named := strings.Cut(rest, ">... "); named && strings.HasPrefix(rest, "<") || named && (code == 450 || code == 550 || code == 553) {
		rest = after
	}
	if code != w.Code || enhanced != w.Enhanced || rest != w.Text {
		return fmt.Errorf("%s: answered %d %q %q, want %d %q %q", at, code, enhanced, rest, w.Code, w.Enhanced, w.Text)
	}
	return nil
}

// send sends a message to whoever was accepted, and looks for it in the spool.
func (r *relay) send(c *conversation) error {
	before := len(r.spool.Messages())
	if c.refused || c.accepted == 0 {
		return nil
	}
	if code, text, err := c.ask("DATA"); err != nil || code != 354 {
		return fmt.Errorf("DATA: %d %s (%v)", code, text, err)
	}
	if code, text, err := c.ask("Subject: test\r\n\r\ntext\r\n."); err != nil || code != 250 {
		return fmt.Errorf("end of data: %d %s (%v)", code, text, err)
	}
	stored := r.spool.Messages()[before:]
	if c.discarded {
		if len(stored) != 0 {
			return fmt.Errorf("%d messages stored, want it discarded", len(stored))
		}
		return nil
	}
	if len(stored) != 1 {
		return fmt.Errorf("%d messages stored, want one", len(stored))
	}
	e, err := stored[0].Envelope()
	if err != nil {
		return err
	}
	// One recipient may have been said in several forms.
	if n := len(e.Recipients); n < 1 || n > c.accepted || e.Hold != c.quarantine {
		return fmt.Errorf("stored for %d recipients, held for %q; want 1 to %d, %q", n, e.Hold, c.accepted, c.quarantine)
	}
	return nil
}
