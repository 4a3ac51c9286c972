package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatepost/relay/bounce"
	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// damage changes what is on the disk of the only message in a spool.
func damage(t *testing.T, dir, part string) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, "log", "*"))
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := strings.Index(string(data), part); at >= 0 {
			f, err := os.OpenFile(name, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("#"), int64(at)); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%q is not in the log", part)
}

// TestDamagedText: a message that is not what it was is held with the reason; the next
// hop does not get its end.
func TestDamagedText(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	m := commit(t, s, spool.Envelope{}, "bob@example.net")
	damage(t, dir, strings.Repeat("x", 70))
	p := &peer{}
	p.start(t, "127.0.0.1:0")
	q, _ := run(t, Config{Spool: s, Route: one(smtpTo(t, p.addr))})
	eventually(t, "it is held", m.Held)
	if got := states(t, m); !strings.Contains(got, spool.ErrDamaged.Error()) || len(p.all()) != 0 || q.Stats().Held != 1 {
		t.Errorf("%s; %d taken; %+v", got, len(p.all()), q.Stats())
	}
}

// TestDamagedReleased: when the operator has done with a damaged message, its sender is told.
func TestDamagedReleased(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	m := commit(t, s, spool.Envelope{}, "bob@example.net")
	damage(t, dir, strings.Repeat("x", 70))
	w := bounce.New(bounce.Config{Spool: s, HostName: "relay.example.com", Size: 1 << 20, Log: quiet()})
	away := &counting{does: func(context.Context, string, []int) []deliver.Result { return []deliver.Result{taken} }}
	p := &peer{}
	p.start(t, "127.0.0.1:0")
	x := smtpTo(t, p.addr)
	q, _ := run(t, Config{Spool: s, Report: w.Write, Route: func(_ context.Context, sender, _ string) (Route, error) {
		if sender == "" {
			return Route{Transport: away}, nil
		}
		return Route{Transport: x, Destination: p.addr}, nil
	}})
	eventually(t, "it is held", func() bool { return m.Held() && q.Stats().Active == 0 })
	if err := q.Release(m.ID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the report is delivered, and nothing is left", func() bool { return away.count() == 1 && len(s.Messages()) == 0 })
}

// TestDamagedEnvelope: nobody knows whom it was for; it is held, and said once.
func TestDamagedEnvelope(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	m := commit(t, s, spool.Envelope{}, "bob@example.net")
	damage(t, dir, "bob@example.net")
	x := &counting{does: func(context.Context, string, []int) []deliver.Result { return nil }}
	q, _ := run(t, Config{Spool: s, Route: one(x)})
	eventually(t, "it is held", m.Held)
	eventually(t, "the queue lets it be", func() bool { st := q.Stats(); return st.Held == 1 && st.Deferred == 0 })
	if x.count() != 0 || s.Stats().Held != 1 || s.Stats().Messages != 1 {
		t.Errorf("%d attempts, %+v", x.count(), s.Stats())
	}
}

// TestDamagedMeanwhile: what became of it cannot be written down, and it is not tried again.
func TestDamagedMeanwhile(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	m := commit(t, s, spool.Envelope{}, "bob@example.net", "carol@example.net")
	x := &counting{does: func(_ context.Context, _ string, to []int) []deliver.Result {
		damage(t, dir, "bob@example.net")
		return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 yes"}, {Reply: "450 later"}}
	}}
	q, _ := run(t, Config{Spool: s, Route: one(x)})
	eventually(t, "it is held", m.Held)
	time.Sleep(100 * time.Millisecond)
	if st := q.Stats(); x.count() != 1 || st.Held != 1 || st.Deferred != 0 {
		t.Errorf("%d attempts, %+v", x.count(), st)
	}
}

// TestTooManyFiles: an envelope that cannot be read for now is no reason to forget the
// message.
func TestTooManyFiles(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	w, err := s.Create(spool.Envelope{Sender: "alice@example.com", Recipients: []spool.Recipient{{Address: "bob@example.net"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(strings.Repeat(body4k, 100))); err != nil { // a file of its own
		t.Fatal(err)
	}
	m, err := w.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	none := was
	none.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was)
	if _, err := m.Envelope(); !errors.Is(err, syscall.EMFILE) {
		t.Fatalf("the envelope is read: %v", err)
	}
	x := &counting{does: func(context.Context, string, []int) []deliver.Result {
		return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 yes"}}
	}}
	q, _ := run(t, Config{Spool: s, Route: one(x)})
	time.Sleep(100 * time.Millisecond)
	if x.count() != 0 || len(s.Messages()) != 1 || m.Held() {
		t.Errorf("%d attempts, %d messages", x.count(), len(s.Messages()))
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is delivered", func() bool { return q.Stats().Delivered == 1 && len(s.Messages()) == 0 })
}

// TestClockPutBack: a message that was to be tried in a year is tried as if it had been
// tried just now.
func TestClockPutBack(t *testing.T) {
	s := openSpool(t, t.TempDir())
	m := commit(t, s, spool.Envelope{}, "bob@example.net")
	next := time.Now().Add(365 * 24 * time.Hour)
	if err := m.Update(spool.Update{Attempts: new(1), NextTry: &next}); err != nil {
		t.Fatal(err)
	}
	x := &counting{does: func(context.Context, string, []int) []deliver.Result {
		return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 yes"}}
	}}
	q, _ := run(t, Config{Spool: s, Route: one(x)})
	eventually(t, "it is delivered", func() bool { return q.Stats().Delivered == 1 })
}

// TestClockPutBackMeanwhile: so is one when the clock is put back while the program runs.
func TestClockPutBackMeanwhile(t *testing.T) {
	s := openSpool(t, t.TempDir())
	q := New(Config{Spool: s, Route: one(nil)})
	now := time.Now()
	q.due(now)
	e := &entry{m: commit(t, s, spool.Envelope{}, "bob@example.net"), next: now.Add(time.Hour).UnixNano()}
	q.later = schedule{e}
	q.clock.ahead = 365 * 24 * time.Hour // it was a year ahead, and is not any more
	e.next += int64(q.clock.ahead)
	if due, wait := q.due(now.Add(time.Second)); len(due) != 0 || wait > time.Hour || e.next != now.Add(time.Hour).UnixNano() {
		t.Errorf("%d are due, the next in %v", len(due), wait)
	}
	if due, _ := q.due(now.Add(time.Hour)); len(due) != 1 {
		t.Error("it is not due")
	}
	for _, tc := range []struct{ ahead, want time.Duration }{
		{time.Hour, 0}, {time.Hour - time.Second/2, 0}, {time.Hour - time.Second, time.Second}, {0, time.Hour - time.Second}, {-time.Hour, time.Hour},
	} {
		if got := q.clock.step(tc.ahead); got != tc.want {
			t.Errorf("ahead by %v: put back by %v, want %v", tc.ahead, got, tc.want)
		}
	}
}

// TestCommandsOnDebt: what could not be written down is not forgotten for a command.
func TestCommandsOnDebt(t *testing.T) {
	for name, command := range map[string]func(*Queue, string) error{
		"hold": func(q *Queue, id string) error {
			err := q.Hold(id, "")
			time.Sleep(20 * time.Millisecond)
			return errors.Join(err, q.Release(id))
		},
		"requeue": func(q *Queue, id string) error {
			if err := q.Requeue(id); !errors.Is(err, ErrBusy) {
				return fmt.Errorf("requeue: %v", err)
			}
			q.Flush(id)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSpool(t, t.TempDir())
			m := commit(t, s, spool.Envelope{}, "a@example.net", "b@example.net")
			x := &counting{does: func(_ context.Context, _ string, to []int) []deliver.Result {
				if len(to) == 2 {
					return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 yes"}, {Reply: "450 no"}}
				}
				return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 yes"}}
			}}
			q, stop := run(t, Config{Spool: s, Route: one(x), Schedule: hour})
			q.Add(m)
			eventually(t, "an attempt is made", func() bool { return x.count() == 1 && q.Stats().Deferred == 1 })
			// As if the disk had not let it be written down.
			q.mu.Lock()
			e := q.entries[m]
			q.owed[e] = &note{update: spool.Update{Recipients: []spool.Change{{Index: 0, State: spool.Delivered, Reply: "250 yes"}, {Index: 1}}}}
			e.set(owing)
			q.mu.Unlock()
			pending := spool.Update{Recipients: []spool.Change{{Index: 0, State: spool.Pending}}}
			if err := m.Update(pending); err != nil {
				t.Fatal(err)
			}
			if err := command(q, m.ID()); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is delivered", func() bool { return len(s.Messages()) == 0 })
			stop()
			if n := q.Stats().Delivered; n != 2 || x.count() != 2 {
				t.Errorf("%d deliveries in %d attempts", n, x.count())
			}
		})
	}
}
