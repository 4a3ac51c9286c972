package front

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// flaky is a listener whose Accept fails in the given ways, then ends.
type flaky struct {
	net.Listener
	errs []error
}

func (l *flaky) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	return nil, err
}
func (l *flaky) Close() error   { return nil }
func (l *flaky) Addr() net.Addr { return &net.UnixAddr{Name: "here", Net: "unix"} }

func TestServeOutlastsPassingErrors(t *testing.T) {
	var log bytes.Buffer
	d := NewDoors[int]("test", 1, &Complaints{Log: slog.New(slog.NewTextHandler(&log, nil))})
	broken := errors.New("broken")
	ln := &flaky{errs: []error{syscall.EMFILE, syscall.ECONNABORTED, &net.OpError{Op: "accept", Err: syscall.ENFILE}, broken}}
	err := d.Serve(context.Background(), ln, func(net.Conn) {})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "test: accept on here") {
		t.Errorf("Serve returned %v", err)
	}
	if n := strings.Count(log.String(), "cannot accept"); n != 1 {
		t.Errorf("%d warnings, want 1 within a second:\n%s", n, &log)
	}
}

func TestDoorsHaveRoomForSoMany(t *testing.T) {
	d := NewDoors[int]("test", 2, &Complaints{Log: slog.New(slog.DiscardHandler)})
	if !d.Enter(1) || !d.Enter(2) || d.Enter(3) {
		t.Error("two should have come in, and not a third")
	}
	d.Leave(1)
	if !d.Enter(3) {
		t.Error("the place of the first was not free")
	}
	if d.Open() != 2 || d.Refused() != 1 {
		t.Errorf("open %d, refused %d, want 2 and 1", d.Open(), d.Refused())
	}
}

func TestShutdownWaitsThenAbandons(t *testing.T) {
	d := NewDoors[int]("test", 9, &Complaints{Log: slog.New(slog.DiscardHandler)})
	for c := range 3 {
		d.Enter(c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	var mu sync.Mutex
	abandoned := map[int]bool{}
	end := func(c int) {
		if c == 0 {
			d.Leave(c)
		}
	}
	err := d.Shutdown(ctx, end, func(c int) {
		mu.Lock()
		defer mu.Unlock()
		abandoned[c] = true
	})
	if !errors.Is(err, context.DeadlineExceeded) || len(abandoned) != 2 || abandoned[0] {
		t.Errorf("Shutdown: %v, abandoned %v", err, abandoned)
	}
	if d.Enter(7) {
		t.Error("let in after Shutdown")
	}
	if err := d.Serve(context.Background(), &flaky{}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}
