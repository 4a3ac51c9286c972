package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/listen"
	"gatepost/internal/program"
)

// admin is the listener for those who run the machine: metrics, and whether mail
// is served. It is on the loopback or a unix socket only, and changes nothing.
type admin struct {
	ready  atomic.Bool
	log    *slog.Logger
	ln     net.Listener // nil when there is none
	server *http.Server
}

func newAdmin(cfg *config.Config, log *slog.Logger) (*admin, error) {
	a, err := &admin{log: log}, error(nil)
	switch {
	case cfg.Admin.Listen == "":
	case strings.HasPrefix(cfg.Admin.Listen, "unix:"):
		a.ln, err = listen.Open(cfg.Admin.Listen, SocketOptions(cfg))
	default:
		a.ln, err = listen.TCP(cfg.Admin.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	a.server = &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return a, nil
}

// SocketOptions are those of unix sockets.
func SocketOptions(cfg *config.Config) listen.SocketOptions {
	m := &cfg.Milter
	return listen.SocketOptions{Owner: m.SocketOwner, Group: m.SocketGroup, Mode: m.SocketMode}
}

func (d *Daemon) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", d.engine.MetricsHandler())
	mux.Handle("GET /status", d.engine.StatusHandler(program.Version(d.Version), d.Front.Status))
	mux.HandleFunc("GET /ready", d.admin.answerReady)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	return mux
}

// answerReady says 200 from the start of service until the program is told to stop.
func (a *admin) answerReady(w http.ResponseWriter, _ *http.Request) {
	if !a.ready.Load() {
		http.Error(w, "stopping", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

// serve returns when the listener breaks, or at close without one.
func (a *admin) serve(h http.Handler) error {
	if a.ln == nil {
		return nil
	}
	a.server.Handler = h
	if err := a.server.Serve(a.ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin.listen: %w", err)
	}
	return nil
}

func (a *admin) close() {
	if a.ln != nil {
		defer a.ln.Close() // the server knows it only once it serves
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if a.server.Shutdown(ctx) != nil {
		a.server.Close()
	}
}
