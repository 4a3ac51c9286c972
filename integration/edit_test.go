//go:build integration

package integration

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestLiveEdit: a line added to the access table is in force, for new
// connections through the mail server, within a second of the write.
func TestLiveEdit(t *testing.T) {
	s := newStack(t)
	d, daemons := s.daemon(t), s.daemons(t)
	for _, driver := range s.drivers(t) {
		t.Run(driver.Name(), func(t *testing.T) {
			use(t, faultPolicy(), daemons...)
			s.wantMail(t, driver, "250")
			d.write(t, "access", "From:a@sender.example\tERROR:5.7.1:550 edited\n")
			took := s.eventuallyMail(t, driver, "550 5.7.1 edited")
			if took > time.Second {
				t.Errorf("%s: the edit was seen after %v, want at most 1s", driver.Name(), took)
			}
			t.Logf("edit seen after %v", took.Round(time.Millisecond))
			d.write(t, "access", "# nothing\n")
			if took := s.eventuallyMail(t, driver, "250"); took > time.Second {
				t.Errorf("%s: the entry's removal was seen after %v, want at most 1s", driver.Name(), took)
			}
		})
	}
}

// mail is what a new connection hears to MAIL FROM:<a@sender.example>.
func (s *stack) mail(t *testing.T, driver Driver) string {
	t.Helper()
	k := s.connect(t, driver, outsider, newToken())
	defer k.c.conn.Close()
	return k.ask("MAIL FROM:<a@sender.example>")
}

func (s *stack) wantMail(t *testing.T, driver Driver, want string) {
	t.Helper()
	if got := s.mail(t, driver); !strings.HasPrefix(got, want) {
		t.Fatalf("%s: MAIL answered %q, want %q", driver.Name(), got, want)
	}
}

func (s *stack) eventuallyMail(t *testing.T, driver Driver, want string) time.Duration {
	t.Helper()
	return eventually(t, 10*time.Second, driver.Name()+" answers MAIL with "+want, func() (bool, string) {
		got := s.mail(t, driver)
		return strings.HasPrefix(got, want), got
	})
}

// TestBrokenEdits: what cannot be read must not change the policy, and must be seen.
func TestBrokenEdits(t *testing.T) {
	s := newStack(t)
	t.Run("gatepost-milter", func(t *testing.T) { s.breakEdits(t, s.daemon(t), s.mtas(t)) })
	t.Run("gatepost-relay", func(t *testing.T) { s.breakEdits(t, s.relay(t), []Driver{s.relayDriver(t)}) })
}

func (s *stack) breakEdits(t *testing.T, d *daemon, drivers []Driver) {
	policy := faultPolicy()
	policy["access"] = "From:a@sender.example\tERROR:5.7.1:550 as before\n"
	good := baseConfig + d.own
	for _, c := range []struct {
		name, file, text, repaired, failing, fine string
		hangup                                    bool
	}{
		{"a NUL byte in a table", "access", "From:b@sender.example\tOK\x00\n", policy["access"],
			`gatepost_table_error{kind="text",path="/etc/gatepost/access",table="access"} 1`, `gatepost_table_error{kind="text",path="/etc/gatepost/access",table="access"} 0`, false},
		{"an unknown key in the configuration", d.config, good + "\n[features]\npromiscous_relay = true\n", good,
			"gatepost_reload_success 0", "gatepost_reload_success 1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			use(t, policy, d)
			change := func(text, metric string) {
				t.Helper()
				d.write(t, c.file, text)
				if c.hangup {
					d.docker(t, "kill", "-s", "HUP")
				}
				d.waitMetric(t, metric)
				for _, driver := range drivers {
					s.wantMail(t, driver, "550 5.7.1 as before")
				}
			}
			begin := time.Now()
			change(c.text, c.failing)
			if log := d.logs(t, begin); !strings.Contains(log, "/etc/gatepost/"+c.file+":") {
				t.Errorf("the log does not name file and line:\n%s", log)
			}
			change(c.repaired, c.fine)
		})
	}
}

func (d *daemon) waitMetric(t *testing.T, line string) {
	t.Helper()
	eventually(t, 5*time.Second, line, func() (bool, string) {
		_, body, err := d.get(t.Context(), "/metrics")
		return strings.Contains(body, line+"\n"), fmt.Sprintf("error %v, metrics:\n%s", err, body)
	})
}

// TestQuarantineIsShown: an administrator finds held mail where each server shows it.
func TestQuarantineIsShown(t *testing.T) {
	s := newStack(t)
	policy := faultPolicy()
	policy["access"] = "From:sender.example\tQUARANTINE:looks odd\n"
	use(t, policy, s.daemons(t)...)
	inside := func(server, command string) func() (string, error) {
		return func() (string, error) {
			return docker(t.Context(), "exec", s.container(t, server), "sh", "-c", command)
		}
	}
	shown := map[string]struct {
		look  func() (string, error)
		entry string
	}{
		// sendmail shows the reason; Postfix marks held mail with "!" and keeps none.
		"sendmail": {inside("sendmail", "sendmail-mta -bp -qQ"), `<%s@sender\.example>\s+QUARANTINE: looks odd\n`},
		"postfix":  {inside("postfix", "mailq"), `(?m)^[0-9A-F]+! .* %s@sender\.example$`},
		"relay": {func() (string, error) {
			_, status, err := s.relay(t).get(t.Context(), "/status")
			return status, err
		}, `"reason": ?"looks odd"[^{}]*"sender": ?"%s@sender\.example"`},
	}
	for _, driver := range s.drivers(t) {
		t.Run(driver.Name(), func(t *testing.T) {
			want, token := shown[driver.Name()], newToken()
			k := s.connect(t, driver, outsider, token)
			k.say("MAIL FROM:<"+token+"@sender.example>", "250")
			k.say("RCPT TO:<u@local.example>", "250")
			k.say("DATA", "354")
			k.say(message, "250")
			out, err := want.look()
			if err != nil || !regexp.MustCompile(fmt.Sprintf(want.entry, token)).MatchString(out) {
				t.Errorf("error %v, no entry like %q for %s in:\n%s", err, want.entry, token, out)
			}
			s.wantSunk(t, driver, token, 0)
		})
	}
}
