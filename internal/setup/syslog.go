package setup

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
)

// syslogQueueLen bounds the lines that wait for the syslog daemon. A daemon that
// hangs costs lines of log, never mail.
const syslogQueueLen = 4096

// syslogWriter is what is used of *syslog.Writer.
type syslogWriter interface {
	Debug(string) error
	Info(string) error
	Warning(string) error
	Err(string) error
}

// syslogHandler hands each record to the handler of its severity: a handler's
// writer sees only bytes, and syslog wants the severity apart.
type syslogHandler struct {
	by [4]slog.Handler // debug, info, warning, err
}

func severityOf(l slog.Level) int {
	switch {
	case l < slog.LevelInfo:
		return 0
	case l < slog.LevelWarn:
		return 1
	case l < slog.LevelError:
		return 2
	}
	return 3
}

func (h *syslogHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.by[0].Enabled(ctx, l)
}

func (h *syslogHandler) Handle(ctx context.Context, r slog.Record) error {
	return h.by[severityOf(r.Level)].Handle(ctx, r)
}

func (h *syslogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(func(h slog.Handler) slog.Handler { return h.WithAttrs(attrs) })
}

func (h *syslogHandler) WithGroup(name string) slog.Handler {
	return h.with(func(h slog.Handler) slog.Handler { return h.WithGroup(name) })
}

func (h *syslogHandler) with(change func(slog.Handler) slog.Handler) slog.Handler {
	out := &syslogHandler{}
	for i := range h.by {
		out.by[i] = change(h.by[i])
	}
	return out
}

// severity is the writer of one severity's handler.
type severity struct {
	queue *syslogQueue
	at    int
}

func (s *severity) Write(line []byte) (int, error) {
	s.queue.put(syslogLine{s.at, strings.TrimSuffix(string(line), "\n")})
	return len(line), nil
}

type syslogLine struct {
	severity int
	text     string
}

// syslogQueue writes lines to syslog one after the other, away from whoever logs.
type syslogQueue struct {
	lines   chan syslogLine
	stop    chan struct{}
	done    chan struct{}
	once    sync.Once
	dropped atomic.Uint64
}

func newSyslogQueue(w syslogWriter) *syslogQueue {
	q := &syslogQueue{
		lines: make(chan syslogLine, syslogQueueLen),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
	}
	go q.run(w)
	return q
}

func (q *syslogQueue) put(l syslogLine) {
	select {
	case q.lines <- l:
	default:
		q.dropped.Add(1)
	}
}

func (q *syslogQueue) run(w syslogWriter) {
	defer close(q.done)
	write := [...]func(string) error{w.Debug, w.Info, w.Warning, w.Err}
	send := func(l syslogLine) {
		if write[l.severity](l.text) != nil {
			q.dropped.Add(1)
		}
	}
	for {
		select {
		case l := <-q.lines:
			send(l)
			continue
		case <-q.stop:
		}
		for {
			select {
			case l := <-q.lines:
				send(l)
			default:
				if c, ok := w.(io.Closer); ok {
					c.Close()
				}
				return
			}
		}
	}
}

func (q *syslogQueue) close(ctx context.Context) {
	q.once.Do(func() { close(q.stop) })
	select {
	case <-q.done:
	case <-ctx.Done():
	}
}
