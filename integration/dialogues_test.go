//go:build integration

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// played is a session that has been held, to be judged by its outcome at the end.
type played struct {
	file       string
	session    Session
	token      string
	transcript string
}

// TestDialogues plays each file to each server. What became of the messages is
// checked when all is said and the queues are empty, so that a message which
// comes late is not missed and nobody has to wait for one that must not come.
func TestDialogues(t *testing.T) {
	s := newStack(t)
	daemons := s.daemons(t)
	drivers := s.drivers(t)
	all := map[string][]played{}
	for _, dialogue := range readDialogues(t) {
		t.Run(strings.TrimSuffix(filepath.Base(dialogue.File), ".txt"), func(t *testing.T) {
			begin := time.Now()
			use(t, dialogue.Policy, daemons...)
			for _, driver := range drivers {
				for _, session := range dialogue.Sessions {
					p := played{file: dialogue.File, session: session.For(driver.Name()), token: newToken()}
					if err := p.play(s, driver); err != nil {
						t.Errorf("%s: %s: session %q: %v\n%s%s", dialogue.File, driver.Name(), session.Name, err, p.transcript, why(dialogue))
						continue
					}
					all[driver.Name()] = append(all[driver.Name()], p)
				}
			}
			if t.Failed() {
				for _, d := range daemons {
					t.Logf("%s:\n%s", d.program, d.logs(t, begin))
				}
			}
		})
	}
	for _, driver := range drivers {
		t.Run("outcome/"+driver.Name(), func(t *testing.T) { s.judge(t, driver, all[driver.Name()]) })
	}
}

func why(d *Dialogue) string { return "why this is tested: " + d.Why }

func readDialogues(t *testing.T) []*Dialogue {
	t.Helper()
	files, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("dialogue files: %q, error %v", files, err)
	}
	var list []*Dialogue
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(file, f, tags())
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	return list
}

func (p *played) play(s *stack, driver Driver) error {
	to, err := driver.Addr(p.session.Client)
	if err != nil {
		return fmt.Errorf("line %d: %w", p.session.Line, err)
	}
	conn, err := s.dial(p.session.Client, to)
	if err != nil {
		return fmt.Errorf("line %d: %w", p.session.Line, err)
	}
	defer conn.Close()
	p.transcript, err = Converse(conn, p.session, p.token)
	return err
}

// judge compares sink and quarantine with what each session says of them.
func (s *stack) judge(t *testing.T, driver Driver, sessions []played) {
	eventually(t, 20*time.Second, driver.Name()+" has an empty queue", func() (bool, string) {
		idle, err := driver.Idle(t.Context())
		return idle, fmt.Sprint(err)
	})
	sunk, err := s.sink()
	if err != nil {
		t.Fatal(err)
	}
	held, err := driver.Held(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range sessions {
		want, got := p.session.Want(Sink), sunk[p.token]
		if got.messages != want.Messages || want.Recipients >= 0 && got.recipients != want.Recipients {
			t.Errorf("%s:%d: %s: session %q: at the sink: got %d messages for %d recipients, want %d for %d (-1: any)\n%s",
				p.file, want.Line, driver.Name(), p.session.Name, got.messages, got.recipients, want.Messages, want.Recipients, p.transcript)
		}
		if want, got := p.session.Want(Quarantine), held[p.token]; got != want.Messages {
			t.Errorf("%s:%d: %s: session %q: in quarantine: got %d messages, want %d\n%s",
				p.file, want.Line, driver.Name(), p.session.Name, got, want.Messages, p.transcript)
		}
	}
}
