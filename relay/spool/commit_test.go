package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestCommitGivenUp(t *testing.T) {
	dir := t.TempDir()
	d := &faultDisk{disk: dirDisk(dir)}
	o := small()
	o.d = d
	s := open(t, dir, o)
	for _, n := range []int{100, 50_000} {
		hold := make(chan struct{})
		d.set(func(op, name string) error {
			if op == "sync" && strings.HasPrefix(name, "log/") || op == "syncDir" && strings.HasPrefix(name, "mail/") {
				<-hold
			}
			return nil
		})
		w, err := s.Create(envelope(n))
		if err != nil {
			t.Fatal(err)
		}
		w.Write(text(n))
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if _, err := w.Commit(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("commit: %v", err)
		}
		cancel()
		d.set(nil)
		close(hold)
		m := mustPut(t, s, envelope(1), text(n))
		m.Remove()
	}
	until(t, "the messages to go", func() bool { return len(s.Messages()) == 0 })
	if s = reopen(t, s, dir, small()); len(s.Messages()) != 0 {
		t.Errorf("%d messages that nobody was told of", len(s.Messages()))
	}
}

// TestCommitGivenUpAtAnyMoment: whoever was told that his message was taken has it there,
// and nobody else.
func TestCommitGivenUpAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	var mu sync.Mutex
	taken := map[string]bool{}
	var refused atomic.Int64
	var wait sync.WaitGroup
	for k := range 8 {
		wait.Go(func() {
			for i := range 60 {
				w, err := s.Create(envelope(i))
				if err != nil {
					t.Error(err)
					return
				}
				w.Write(text(sizeOf(i)))
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration((i*8+k)%97)*30*time.Microsecond)
				_, err = w.Commit(ctx)
				cancel()
				switch {
				case err == nil:
					mu.Lock()
					taken[w.ID()] = true
					mu.Unlock()
				case errors.Is(err, context.DeadlineExceeded):
					refused.Add(1)
				default:
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if len(taken) == 0 || refused.Load() == 0 {
		t.Errorf("%d taken, %d refused", len(taken), refused.Load())
	}
	until(t, "the memory to be given back", func() bool { return s.chunks.used.Load() == 0 })
	s = reopen(t, s, dir, small())
	if len(s.Messages()) != len(taken) {
		t.Errorf("%d messages, %d were taken", len(s.Messages()), len(taken))
	}
	for _, m := range s.Messages() {
		if !taken[m.ID()] {
			t.Errorf("%s was refused, but is there", m.ID())
		}
	}
}

// TestMostRecipients: relay.max_recipients may be 10,000, of the longest addresses.
func TestMostRecipients(t *testing.T) {
	s := open(t, t.TempDir(), Options{Log: slog.New(slog.DiscardHandler)})
	e := envelope(1)
	e.Recipients = make([]Recipient, 10_000)
	for i := range e.Recipients {
		e.Recipients[i].Address = fmt.Sprintf("%s%05d@example.com", strings.Repeat("x", 238), i)
	}
	got, err := mustPut(t, s, e, text(10)).Envelope()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Recipients) != 10_000 || got.Recipients[9999].Address != e.Recipients[9999].Address {
		t.Errorf("%d recipients are stored", len(got.Recipients))
	}
}
