package milter

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/internal/clients"
	"gatepost/internal/smtp"
	"gatepost/milter/miltertest"
	"gatepost/policy"
)

const fault = "y 451 4.3.0 Temporary failure, please try again later"

var events = []string{"connect", "helo", "mail", "rcpt 1", "rcpt 2", "end of message"}

// play goes through a session whatever is answered.
func play(t *testing.T, c *miltertest.Client) []string {
	t.Helper()
	var got []string
	for _, step := range []func() (miltertest.Answer, error){
		func() (miltertest.Answer, error) { return c.Connect(peer) },
		func() (miltertest.Answer, error) { return c.Helo("client.example.net") },
		func() (miltertest.Answer, error) { return c.Mail("<a@example.net>", "SIZE=100") },
		func() (miltertest.Answer, error) { return c.Rcpt("<one@example.com>") },
		func() (miltertest.Answer, error) { return c.Rcpt("<two@example.com>") },
		c.Message,
	} {
		a, err := step()
		if err != nil {
			t.Fatalf("%s: %v", events[len(got)], err)
		}
		got = append(got, a.String())
	}
	return got
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%s: got %q, want %q", events[i], got[i], want[i])
		}
	}
}

func TestStageAndAction(t *testing.T) {
	no := refusal(550, "5.7.1", "No")
	later := refusal(451, "4.7.1", "Later")
	closing := refusal(421, "4.7.0", "Closing")
	discard := policy.Verdict{Action: policy.Discard}
	hold := policy.Verdict{Action: policy.Quarantine, Reason: "held"}
	const yNo, yLater, yClosing, yNotClosing = "y 550 5.7.1 No", "y 451 4.7.1 Later", "y 421 4.7.0 Closing", "y 451 4.7.0 Closing"
	tests := []struct {
		stage   policy.Stage
		verdict policy.Verdict
		want    []string
	}{
		{policy.StageConnect, accept, []string{"c", "c", "c", "c", "c", "a"}},
		{policy.StageConnect, no, []string{"c", yNo, yNo, yNo, yNo, fault}},
		{policy.StageConnect, later, []string{"c", yLater, yLater, yLater, yLater, fault}},
		{policy.StageConnect, closing, []string{yClosing, yClosing, yNotClosing, yNotClosing, yNotClosing, fault}},
		{policy.StageConnect, discard, []string{"c", "c", "c", "c", "c", "d"}},
		{policy.StageConnect, hold, []string{"c", "c", "c", "c", "c", "a quarantine: held"}},
		{policy.StageConnect, policy.Verdict{}, []string{"c", fault, fault, fault, fault, fault}},
		{policy.StageHelo, no, []string{"c", yNo, yNo, yNo, yNo, fault}},
		{policy.StageHelo, later, []string{"c", yLater, yLater, yLater, yLater, fault}},
		{policy.StageHelo, closing, []string{"c", yClosing, yNotClosing, yNotClosing, yNotClosing, fault}},
		{policy.StageHelo, discard, []string{"c", "c", "c", "c", "c", "d"}},
		{policy.StageHelo, hold, []string{"c", "c", "c", "c", "c", "a quarantine: held"}},
		{policy.StageHelo, policy.Verdict{}, []string{"c", fault, fault, fault, fault, fault}},
		{policy.StageMail, no, []string{"c", "c", yNo, fault, fault, fault}},
		{policy.StageMail, later, []string{"c", "c", yLater, fault, fault, fault}},
		{policy.StageMail, closing, []string{"c", "c", yNotClosing, fault, fault, fault}},
		{policy.StageMail, discard, []string{"c", "c", "c", "c", "c", "d"}},
		{policy.StageMail, hold, []string{"c", "c", "c", "c", "c", "a quarantine: held"}},
		{policy.StageMail, policy.Verdict{}, []string{"c", "c", fault, fault, fault, fault}},
		{policy.StageRcpt, no, []string{"c", "c", "c", yNo, yNo, fault}},
		{policy.StageRcpt, later, []string{"c", "c", "c", yLater, yLater, fault}},
		{policy.StageRcpt, closing, []string{"c", "c", "c", yNotClosing, yNotClosing, fault}},
		{policy.StageRcpt, discard, []string{"c", "c", "c", "c", "c", "d"}},
		{policy.StageRcpt, hold, []string{"c", "c", "c", "c", "c", "a quarantine: held"}},
		{policy.StageRcpt, policy.Verdict{}, []string{"c", "c", "c", fault, fault, fault}},
		{policy.StageRcpt, policy.Verdict{Action: policy.Reject}, []string{"c", "c", "c", fault, fault, fault}},
	}
	for _, tt := range tests {
		name := fmt.Sprintf("%s %s %s", tt.stage, tt.verdict.Action, tt.verdict.Reply)
		t.Run(name, func(t *testing.T) {
			bothMTAs(t, func(t *testing.T, mta miltertest.MTA) {
				f := start(t, atStage(tt.stage, tt.verdict))
				compare(t, play(t, f.dial(mta)), tt.want)
			})
		})
	}
}

func TestOneRecipientOfSeveral(t *testing.T) {
	verdicts := map[string]policy.Verdict{
		"<no@example.com>":      refusal(550, "5.1.1", "No such user"),
		"<discard@example.com>": {Action: policy.Discard},
		"<hold@example.com>":    {Action: policy.Quarantine, Reason: "first"},
		"<hold2@example.com>":   {Action: policy.Quarantine, Reason: "second"},
	}
	d := script(func(_ context.Context, at policy.Stage, f *policy.Facts) policy.Verdict {
		if v, ok := verdicts[f.Rcpt.Recipient.Raw()]; ok && at == policy.StageRcpt {
			return v
		}
		return accept
	})
	tests := []struct {
		name  string
		rcpts string
		want  string // answers, then that to the end of message
	}{
		{"one is refused", "ok no ok", "c y c a"},
		{"one is discarded: for all, later ones still asked", "discard no ok", "c y c d"},
		{"held", "ok hold", "c c a quarantine: first"},
		{"the first reason stays", "hold hold2", "c c a quarantine: first"},
		{"discard beats quarantine", "hold discard", "c c d"},
		{"a refused recipient leaves nothing", "no ok", "y c a"},
	}
	f := start(t, d)
	c := f.dial(miltertest.Sendmail)
	expect(t, "connect", "c")(c.Connect(peer))
	expect(t, "helo", "c")(c.Helo("x"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expect(t, "mail", "c")(c.Mail("<>"))
			var got []string
			for _, to := range strings.Fields(tt.rcpts) {
				a, err := c.Rcpt("<" + to + "@example.com>")
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(a.Code))
			}
			a, err := c.Message()
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(append(got, a.String()), " "); got != tt.want {
				t.Errorf("recipients %s: got %q, want %q", tt.rcpts, got, tt.want)
			}
		})
	}
}

func TestState(t *testing.T) {
	// The verdict is named by the local part of the sender or the HELO name.
	byName := script(func(_ context.Context, at policy.Stage, f *policy.Facts) policy.Verdict {
		word := map[policy.Stage]string{policy.StageHelo: f.Helo.Name, policy.StageMail: f.Mail.Sender.Raw()}[at]
		switch {
		case strings.Contains(word, "discard"):
			return policy.Verdict{Action: policy.Discard}
		case strings.Contains(word, "hold"):
			return policy.Verdict{Action: policy.Quarantine, Reason: "held"}
		case strings.Contains(word, "bad"):
			return refusal(550, "5.7.1", "Bad")
		}
		return accept
	})
	tests := []struct {
		name, dialogue string
	}{
		{"ABORT forgets the message", "C=c H:ok=c M:discard=c R=c A M:ok=c R=c E=a"},
		{"ABORT twice", "C=c H:ok=c M:discard=c R=c A A M:ok=c R=c E=a"},
		{"ABORT keeps HELO", "C=c H:discard=c M:ok=c R=c A M:ok=c R=c E=d"},
		{"end of message forgets the message", "C=c H:ok=c M:hold=c R=c E=q M:ok=c R=c E=a"},
		{"MAIL without ABORT begins anew", "C=c H:ok=c M:discard=c R=c M:ok=c R=c E=a"},
		{"a later HELO replaces the verdict", "C=c H:bad=y M:ok=y H:ok=c M:ok=c R=c E=a"},
		{"a later HELO may be refused", "C=c H:ok=c M:ok=c R=c E=a H:bad=y M:ok=y"},
		{"HELO ends a message", "C=c H:ok=c M:discard=c R=c H:ok=c M:ok=c R=c E=a"},
		{"no HELO", "C=c M:ok=c R=c E=a"},
		{"QUIT_NC forgets HELO", "C=c H:discard=c M:ok=c R=c E=d K C=c M:ok=c R=c E=a"},
		{"QUIT_NC in mid-message", "C=c H:ok=c M:discard=c R=c K C=c H:ok=c M:ok=c R=c E=a"},
		{"CONNECT again", "C=c H:bad=y C=c M:ok=c R=c E=a"},
		{"RCPT without MAIL", "C=c H:ok=c R=y"},
		{"RCPT after ABORT", "C=c H:ok=c M:ok=c A R=y"},
		{"end of message without recipients", "C=c H:ok=c M:ok=c E=y"},
		{"end of message twice", "C=c H:ok=c M:ok=c R=c E=a E=y"},
		{"MAIL without CONNECT", "M:ok=y"},
		{"MAIL after QUIT_NC without CONNECT", "C=c M:ok=c R=c E=a K M:ok=y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bothMTAs(t, func(t *testing.T, mta miltertest.MTA) {
				converse(t, start(t, byName).dial(mta), tt.dialogue)
			})
		})
	}
}

// converse plays a dialogue of words like M:arg=c, command, argument and answer;
// q is an acceptance with quarantine.
func converse(t *testing.T, c *miltertest.Client, dialogue string) {
	t.Helper()
	for _, word := range strings.Fields(dialogue) {
		cmd, want, _ := strings.Cut(word, "=")
		cmd, arg, _ := strings.Cut(cmd, ":")
		var a miltertest.Answer
		var err error
		switch cmd {
		case "A":
			err = c.Abort()
		case "K":
			err = c.QuitNC()
		case "C":
			a, err = c.Connect(peer)
		case "H":
			a, err = c.Helo(arg)
		case "M":
			a, err = c.Mail("<" + arg + "@example.net>")
		case "R":
			a, err = c.Rcpt("<u@example.com>")
		case "E":
			a, err = c.Message()
		}
		if err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		got := string(a.Code)
		if a.Quarantine != "" {
			got = "q"
		}
		if want != "" && got != want {
			t.Fatalf("%s: got %q (%s)", word, got, a)
		}
	}
}

// TestClientsAreCounted: the policy is told how often a client came and how many
// of its connections are open; the end of a session, by QUIT_NC too, is the end
// of its connection.
func TestClientsAreCounted(t *testing.T) {
	counts, err := clients.New()
	if err != nil {
		t.Fatal(err)
	}
	type seen struct{ rate, open int }
	told := make(chan seen, 1)
	f := start(t, script(func(_ context.Context, at policy.Stage, facts *policy.Facts) policy.Verdict {
		if at == policy.StageConnect {
			told <- seen{facts.Conn.Rate, facts.Conn.Open}
		}
		return accept
	}), func(c *Config) { c.Clients = counts })
	peer := miltertest.Peer{Addr: netip.MustParseAddr("192.0.2.9")}
	connect := func(c *miltertest.Client, want seen) {
		t.Helper()
		if _, err := c.Connect(peer); err != nil {
			t.Fatal(err)
		}
		if got := <-told; got != want {
			t.Errorf("rate and open %v, want %v", got, want)
		}
	}
	dial := func() *miltertest.Client {
		t.Helper()
		c, err := miltertest.Dial("unix", f.addr, miltertest.Sendmail, miltertest.Full())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	one, two := dial(), dial()
	connect(one, seen{1, 1})
	connect(two, seen{2, 2})
	if err := one.QuitNC(); err != nil {
		t.Fatal(err)
	}
	connect(one, seen{3, 2})
	two.Close()
	deadline := time.Now().Add(5 * time.Second)
	for f.Stats().Open > 1 && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	connect(dial(), seen{4, 2})
}

func TestPolicyIsTakenAtConnect(t *testing.T) {
	var now atomic.Int32
	f := start(t, nil, func(c *Config) {
		c.Policy = func() Decider {
			reply := fmt.Sprintf("policy %d", now.Load())
			return atStage(policy.StageRcpt, refusal(550, "5.7.1", reply))
		}
	})
	c := f.dial(miltertest.Postfix)
	expect(t, "connect", "c")(c.Connect(peer))
	now.Store(1)
	expect(t, "mail", "c")(c.Mail("<a@example.net>"))
	expect(t, "rcpt under the policy of connect", "y 550 5.7.1 policy 0")(c.Rcpt("<b@example.com>"))
	if err := c.QuitNC(); err != nil {
		t.Fatal(err)
	}
	expect(t, "connect", "c")(c.Connect(peer))
	expect(t, "mail", "c")(c.Mail("<a@example.net>"))
	expect(t, "rcpt after QUIT_NC", "y 550 5.7.1 policy 1")(c.Rcpt("<b@example.com>"))
}

func TestNoPolicy(t *testing.T) {
	f := start(t, nil, func(c *Config) { c.Policy = func() Decider { return nil } })
	compare(t, play(t, f.dial(miltertest.Sendmail)), []string{"c", fault, fault, fault, fault, fault})
}

func TestDegradedNegotiation(t *testing.T) {
	hold := policy.Verdict{Action: policy.Quarantine, Reason: "held"}
	const noBits = miltertest.NoBody | miltertest.NoHeaders
	tests := []struct {
		name  string
		offer miltertest.Offer
		want  []string
		lists bool
	}{
		{"all", miltertest.Full(), []string{"c", "c", "c", "c", "c", "a quarantine: held"}, true},
		{"no quarantine", miltertest.Offer{Version: 6, Actions: miltertest.ActionSetSymlist, Protocol: miltertest.ProtocolsAll},
			[]string{"c", "c", "c", fault, fault, fault}, true},
		{"no lists", miltertest.Offer{Version: 6, Actions: miltertest.ActionQuarantine, Protocol: miltertest.ProtocolsAll},
			[]string{"c", "c", "c", "c", "c", "a quarantine: held"}, false},
		{"nothing can be switched off", miltertest.Offer{Version: 6, Actions: miltertest.ActionsAll},
			[]string{"c", "c", "c", "c", "c", "a quarantine: held"}, true},
		{"version 2", miltertest.Offer{Version: 2, Actions: 0x2f, Protocol: noBits},
			[]string{"c", "c", "c", "c", "c", "a quarantine: held"}, false},
		{"a version yet to come", miltertest.Offer{Version: 9, Actions: 0xffff, Protocol: 0xffffffff},
			[]string{"c", "c", "c", "c", "c", "a quarantine: held"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, atStage(policy.StageRcpt, hold)).dialOffer(miltertest.Sendmail, tt.offer)
			if (c.Lists != nil) != tt.lists {
				t.Errorf("lists of macros: got %v, want some: %v", c.Lists, tt.lists)
			}
			if c.Agreed.Version > 6 || c.Agreed.Actions&^tt.offer.Actions != 0 || c.Agreed.Protocol&^tt.offer.Protocol != 0 {
				t.Errorf("agreed on %+v, beyond the offer %+v", c.Agreed, tt.offer)
			}
			compare(t, play(t, c), tt.want)
		})
	}
}

func TestNegotiatedWithFullOffer(t *testing.T) {
	c := start(t, script(acceptAll)).dial(miltertest.Sendmail)
	want := miltertest.Offer{
		Version:  6,
		Actions:  miltertest.ActionQuarantine | miltertest.ActionSetSymlist,
		Protocol: miltertest.NoBody | miltertest.NoHeaders | miltertest.NoEndHeader | miltertest.NoUnknown | miltertest.NoData,
	}
	if c.Agreed != want {
		t.Errorf("agreed on %+v, want %+v", c.Agreed, want)
	}
	for stage, names := range map[byte]string{
		'C': "j v {daemon_name} {client_addr} {client_name} {client_ptr} {client_resolve} _",
		'H': "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer} {verify}",
		'M': "i {auth_type} {auth_authen} {verify} {cert_subject} {cert_issuer}",
		'R': "i",
	} {
		if got := strings.Join(c.Lists[stage], " "); got != names {
			t.Errorf("macros asked for at %c: got %q, want %q", stage, got, names)
		}
	}
	if len(c.Lists) != 4 {
		t.Errorf("lists asked for: got %v, want four", c.Lists)
	}
}

func TestPanicIsContained(t *testing.T) {
	for _, stage := range []policy.Stage{policy.StageConnect, policy.StageHelo, policy.StageMail, policy.StageRcpt} {
		t.Run(stage.String(), func(t *testing.T) {
			var healed atomic.Bool
			f := start(t, script(func(_ context.Context, at policy.Stage, _ *policy.Facts) policy.Verdict {
				if at == stage && !healed.Load() {
					panic("secret of the inside")
				}
				return accept
			}))
			got := play(t, f.dial(miltertest.Sendmail))
			for i := range got {
				if i >= int(stage) && got[i] != fault || i < int(stage) && got[i] != "c" {
					t.Errorf("%s: got %q", events[i], got[i])
				}
			}
			if !strings.Contains(f.log.String(), "secret of the inside") || !strings.Contains(f.log.String(), "goroutine") {
				t.Errorf("log has no panic with stack: %s", f.log)
			}
			if f.Stats().Panics == 0 {
				t.Error("no panic counted")
			}
			healed.Store(true)
			f.serves()
		})
	}
}

func TestObserverThatPanics(t *testing.T) {
	f := start(t, script(acceptAll), func(c *Config) {
		c.Observe = func(*policy.Facts, *policy.Decision, time.Duration) { panic("observer") }
	})
	compare(t, play(t, f.dial(miltertest.Sendmail)), []string{fault, fault, fault, fault, fault, fault})
}

func TestDecisionThatComesLate(t *testing.T) {
	tests := []struct {
		name string
		slow func(context.Context)
	}{
		{"heeds the deadline", func(ctx context.Context) { <-ctx.Done() }},
		{"does not", func(context.Context) { time.Sleep(150 * time.Millisecond) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var seen []policy.Decision
			f := start(t, script(func(ctx context.Context, at policy.Stage, _ *policy.Facts) policy.Verdict {
				if at == policy.StageRcpt {
					tt.slow(ctx)
				}
				return accept
			}), func(c *Config) {
				c.Timeout = 50 * time.Millisecond
				c.Observe = func(_ *policy.Facts, d *policy.Decision, _ time.Duration) { seen = append(seen, *d) }
			})
			start := time.Now()
			compare(t, play(t, f.dial(miltertest.Postfix)), []string{"c", "c", "c", fault, fault, fault})
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
			if f.Stats().Timeouts != 2 {
				t.Errorf("got %d timeouts, want 2", f.Stats().Timeouts)
			}
			last := seen[len(seen)-1]
			if last.Verdict.Action != policy.Tempfail || last.By().Err == nil {
				t.Errorf("observed %+v, want the temporary failure and why", last)
			}
		})
	}
}

func TestObserve(t *testing.T) {
	var got []string
	f := start(t, atStage(policy.StageRcpt, refusal(550, "5.7.1", "No")), func(c *Config) {
		c.Observe = func(f *policy.Facts, d *policy.Decision, _ time.Duration) {
			got = append(got, fmt.Sprintf("%s %s from=%s to=%s id=%s", d.Stage, d.Verdict.Action, f.Mail.Sender.Raw(), f.Rcpt.Recipient.Raw(), f.Mail.QueueID))
		}
	})
	c := f.dial(miltertest.Postfix)
	expect(t, "connect", "c")(c.Connect(peer))
	expect(t, "helo", "c")(c.Helo("x"))
	expect(t, "mail", "c")(c.Mail("<@hop.example:U+d@Example.NET>", "SIZE=1"))
	c.Macros["i"] = "4Zq0"
	expect(t, "rcpt", "y 550 5.7.1 No")(c.Rcpt(`"q q"@example.com`))
	want := []string{
		"connect accept from= to= id=",
		"helo accept from= to= id=",
		"mail accept from=<@hop.example:U+d@Example.NET> to= id=",
		`rcpt reject from=<@hop.example:U+d@Example.NET> to="q q"@example.com id=4Zq0`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("observed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// An MTA that fails to see a refused RCPT must not slip a message through.
func TestAnswerCannotAccept(t *testing.T) {
	s := &session{server: NewServer(Config{}), conn: &conn{}}
	if got := s.say(answer{}).String(); got != "response=continue" {
		t.Errorf("the zero answer is %s, want continue", got)
	}
	if got := s.say(s.refusal(smtp.MustReply(550, "5.7.1", "No"))).String(); got != "response=temp_fail" {
		t.Errorf("a refusal is carried by %s, want temp_fail", got)
	}
}
