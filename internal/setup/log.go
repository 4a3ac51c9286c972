package setup

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"

	"gatepost/internal/config"
)

// Logger is the program's log and what there is to it besides writing.
type Logger struct {
	*slog.Logger
	level *slog.LevelVar
	lines *lineWriter  // nil unless the output is stderr
	queue *syslogQueue // nil unless the output is syslog
}

// NewLogger makes the log that the configuration describes. stderr is where
// output = "stderr" goes; lines that come close together are written in one
// piece, and Close has to be called for the last of them. With output = "syslog" the lines go
// to the local syslog daemon, facility mail, under the name program.
func NewLogger(c config.Log, program string, stderr io.Writer) (*Logger, error) {
	l := &Logger{level: new(slog.LevelVar)}
	l.SetLevel(c.Level)
	if c.Output != "syslog" {
		l.lines = newLineWriter(stderr)
		l.Logger = slog.New(newHandler(c.Format, l.lines, &slog.HandlerOptions{Level: l.level}))
		return l, nil
	}
	w, err := syslog.New(syslog.LOG_MAIL|syslog.LOG_INFO, program)
	if err != nil {
		return nil, fmt.Errorf("log.output = \"syslog\": no syslog daemon answers at /dev/log: %w", err)
	}
	l.toSyslog(c.Format, w)
	return l, nil
}

func (l *Logger) toSyslog(format string, w syslogWriter) {
	l.queue = newSyslogQueue(w)
	h := &syslogHandler{}
	for i := range h.by {
		h.by[i] = newHandler(format, &severity{queue: l.queue, at: i}, &slog.HandlerOptions{
			Level: l.level,
			ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
					return slog.Attr{} // syslog has its own
				}
				return a
			},
		})
	}
	l.Logger = slog.New(h)
}

func newHandler(format string, w io.Writer, o *slog.HandlerOptions) slog.Handler {
	if format == "json" {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// SetLevel changes the level: debug, info, warn or error.
func (l *Logger) SetLevel(level string) {
	switch level {
	case "debug":
		l.level.Set(slog.LevelDebug)
	case "warn":
		l.level.Set(slog.LevelWarn)
	case "error":
		l.level.Set(slog.LevelError)
	default:
		l.level.Set(slog.LevelInfo)
	}
}

// Dropped counts the lines that were lost because stderr or syslog did not take
// them in time.
func (l *Logger) Dropped() uint64 {
	if l.queue != nil {
		return l.queue.dropped.Load()
	}
	return l.lines.dropped.Load()
}

// Close writes out what is queued, for as long as ctx allows.
func (l *Logger) Close(ctx context.Context) {
	if l.queue != nil {
		l.queue.close(ctx)
		return
	}
	l.lines.close(ctx)
}
