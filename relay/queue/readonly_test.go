package queue

import (
	"context"
	"os/signal"
	"syscall"
	"testing"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// TestDiskReadOnly: mail goes out although nothing can be written down, each message once;
// it is written down as soon as that can be done.
func TestDiskReadOnly(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	const messages = 40
	for range messages {
		commit(t, s, spool.Envelope{}, "bob@example.net")
	}
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	defer limit(was.Cur)
	x := &counting{does: func(context.Context, string, []int) []deliver.Result {
		return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 yes", Relay: "mx"}}
	}}
	q, stop := run(t, Config{Spool: s, Route: one(x)})
	eventually(t, "some are delivered", func() bool { return q.Stats().Delivered >= 20 })
	if err := s.Sync(); err == nil {
		t.Error("it could be written down")
	}
	limit(was.Cur)
	eventually(t, "all are delivered", func() bool { return q.Stats().Delivered == messages })
	stop()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if n := len(openSpool(t, dir).Messages()); n != 0 || x.count() != messages {
		t.Errorf("%d are there again, %d attempts", n, x.count())
	}
}
