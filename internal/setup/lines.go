package setup

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
)

// maxWaiting bounds the bytes of lines that wait to be written. A reader of
// stderr that hangs costs lines of log, never mail.
const maxWaiting = 1 << 20

// lineWriter writes lines away from whoever logs, those that came while it was
// writing in one piece: a session does not wait for the log, and a busy daemon
// needs far fewer system calls.
type lineWriter struct {
	w       io.Writer
	wake    chan struct{}
	done    chan struct{}
	dropped atomic.Uint64

	mu      sync.Mutex
	waiting []byte
	closed  bool
}

func newLineWriter(w io.Writer) *lineWriter {
	l := &lineWriter{w: w, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.run()
	return l
}

// Write takes one line; it never waits and never fails.
func (l *lineWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	if l.closed || len(l.waiting)+len(line) > maxWaiting {
		l.mu.Unlock()
		l.dropped.Add(1)
		return len(line), nil
	}
	l.waiting = append(l.waiting, line...)
	select {
	case l.wake <- struct{}{}:
	default:
	}
	l.mu.Unlock()
	return len(line), nil
}

func (l *lineWriter) run() {
	defer close(l.done)
	var lines []byte
	for range l.wake {
		l.mu.Lock()
		lines, l.waiting = l.waiting, lines[:0]
		l.mu.Unlock()
		if len(lines) == 0 {
			continue
		}
		if _, err := l.w.Write(lines); err != nil {
			l.dropped.Add(1)
		}
	}
}

// close writes out what waits, for as long as ctx allows. Lines after it are lost.
func (l *lineWriter) close(ctx context.Context) {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		select {
		case l.wake <- struct{}{}:
		default:
		}
		close(l.wake)
	}
	l.mu.Unlock()
	select {
	case <-l.done:
	case <-ctx.Done():
	}
}
