//go:build integration

package integration

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// faultPolicy lets one client relay: the one that would profit from a server
// that carries on without its filter.
func faultPolicy() map[string]string {
	return map[string]string{
		"access":           "Connect:" + friend + "\tRELAY\n",
		"relay-domains":    "branch.example\n",
		"local-host-names": "local.example\n",
	}
}

// TestKilled kills the daemon in the middle of sessions. Nothing may be accepted
// without it, for anybody; what was being sent is put off, not lost; and a new
// daemon is picked up without any help.
func TestKilled(t *testing.T) {
	s := newStack(t)
	d := s.daemon(t)
	for _, driver := range s.mtas(t) {
		t.Run(driver.Name(), func(t *testing.T) {
			use(t, faultPolicy(), d)
			token := newToken()
			beforeRcpt := s.connect(t, driver, friend, token)
			beforeRcpt.say("MAIL FROM:<a@sender.example>", "250")
			beforeData := s.connect(t, driver, friend, token)
			beforeData.say("MAIL FROM:<a@sender.example>", "250")
			beforeData.say("RCPT TO:<b@third.example>", "250")
			inMessage := s.connect(t, driver, friend, token)
			inMessage.say("MAIL FROM:<a@sender.example>", "250")
			inMessage.say("RCPT TO:<b@third.example>", "250")
			inMessage.say("DATA", "354")

			d.docker(t, "kill", "-s", "KILL")
			putOff(beforeRcpt, "RCPT TO:<b@third.example>")
			beforeRcpt.note("killed between MAIL and RCPT")
			if answer := beforeData.ask("DATA"); strings.HasPrefix(answer, "354") {
				beforeData.say(message, "4")
			} else {
				wantPutOff(beforeData, "DATA", answer)
			}
			beforeData.note("killed between RCPT and DATA")
			inMessage.say(message, "4")
			inMessage.note("killed in the message")

			s.whileDown(t, driver, token)
			d.docker(t, "start")
			d.waitReady(t)
			s.relaysAgain(t, driver)
			s.wantSunk(t, driver, token, 0)
		})
	}
}

// whileDown looks at new connections that find no daemon.
func (s *stack) whileDown(t *testing.T, driver Driver, token string) {
	for _, client := range []string{friend, outsider} {
		k := s.connect(t, driver, client, token)
		putOff(k, "MAIL FROM:<a@sender.example>")
		// A client that does not listen to the answer gets nowhere either.
		for _, line := range []string{"RCPT TO:<b@third.example>", "RCPT TO:<u@local.example>", "DATA"} {
			if answer := k.ask(line); answer[0] != '4' && answer[0] != '5' {
				t.Errorf("%s: %q answered %q while the daemon is down\n%s", driver.Name(), line, answer, k.said())
			}
		}
		k.note("client " + client + " while the daemon is down")
	}
}

// relaysAgain looks at a new connection to a new daemon.
func (s *stack) relaysAgain(t *testing.T, driver Driver) {
	token := newToken()
	k := s.connect(t, driver, friend, token)
	k.say("MAIL FROM:<a@sender.example>", "250")
	k.say("RCPT TO:<b@third.example>", "250")
	k.say("DATA", "354")
	k.say(message, "250")
	k = s.connect(t, driver, outsider, token)
	k.say("MAIL FROM:<a@sender.example>", "250")
	k.say("RCPT TO:<b@third.example>", "550 5.7.1 Relaying denied")
	k.note("an outsider after the restart")
	s.wantSunk(t, driver, token, 1)
}

func putOff(k *talk, line string) {
	k.t.Helper()
	wantPutOff(k, line, k.ask(line))
}

func wantPutOff(k *talk, line, answer string) {
	k.t.Helper()
	if !strings.HasPrefix(answer, "4") {
		k.t.Errorf("%q answered %q, want 4xx\n%s", line, answer, k.said())
	}
}

// wantSunk waits until the server has nothing to do and counts.
func (s *stack) wantSunk(t *testing.T, driver Driver, token string, want int) {
	t.Helper()
	eventually(t, 20*time.Second, driver.Name()+" has an empty queue", func() (bool, string) {
		idle, err := driver.Idle(t.Context())
		return idle, fmt.Sprint(err)
	})
	sunk, err := s.sink()
	if err != nil {
		t.Fatal(err)
	}
	if got := sunk[token].messages; got != want {
		t.Errorf("%s: %d messages at the sink, want %d", driver.Name(), got, want)
	}
}

// TestTerminated: SIGTERM lets a message in progress end, and takes no new ones.
func TestTerminated(t *testing.T) {
	s := newStack(t)
	d := s.daemon(t)
	for _, driver := range s.mtas(t) {
		t.Run(driver.Name(), func(t *testing.T) {
			use(t, faultPolicy(), d)
			token := newToken()
			k := s.connect(t, driver, friend, token)
			k.say("MAIL FROM:<a@sender.example>", "250")
			k.say("RCPT TO:<b@third.example>", "250")
			d.docker(t, "kill", "-s", "TERM")
			eventually(t, 5*time.Second, "the daemon says that it stops", func() (bool, string) {
				status, _, err := d.get(t.Context(), "/ready")
				return status != 200, fmt.Sprint(status, err)
			})
			late := s.connect(t, driver, outsider, token)
			putOff(late, "MAIL FROM:<late@sender.example>")
			late.note("a new client while the daemon drains")
			k.say("RCPT TO:<c@third.example>", "250")
			k.say("DATA", "354")
			k.say(message, "250")
			k.note("a message in progress while the daemon drains")
			s.wantSunk(t, driver, token, 1)
			k.c.conn.Close()
			took := eventually(t, 10*time.Second, "the daemon ends with status 0", func() (bool, string) {
				state, err := docker(t.Context(), "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", d.container)
				return strings.TrimSpace(state) == "exited 0", fmt.Sprint(state, err)
			})
			t.Logf("ended %v after the message", took.Round(time.Millisecond))
		})
	}
}
