package daemon

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"gatepost/internal/config"
	"gatepost/internal/listen"
	"gatepost/internal/program"
	"gatepost/internal/setup"
)

// faulty is a front of which one part fails; the rest of it does nothing.
type faulty struct {
	t                        *testing.T
	listens, opens, serves   error
	ln                       net.Listener
	opened, forced, shutDown bool
}

func (f *faulty) Listen(*config.Config) ([]net.Listener, error) {
	if f.listens != nil {
		return nil, f.listens
	}
	var err error
	if f.ln, err = listen.TCP("127.0.0.1:0"); err != nil {
		f.t.Fatal(err)
	}
	return []net.Listener{f.ln}, nil
}

func (f *faulty) Open(context.Context, *setup.Engine, *setup.Logger) error {
	f.opened = true
	return f.opens
}

func (f *faulty) Serve(net.Listener) error { return f.serves }

func (f *faulty) InForce(*config.Config) { f.forced = true }

func (f *faulty) Status(*setup.Status) {}

func (f *faulty) Shutdown(context.Context) error {
	f.shutDown = true
	return f.ln.Close()
}

// TestFaults: with which code the program ends, and that nothing stays open.
func TestFaults(t *testing.T) {
	broken := errors.New("broken")
	for _, tc := range []struct {
		name  string
		front faulty
		admin string
		code  int
		want  string
	}{
		{"listeners", faulty{listens: broken}, "", program.ExitUsage, "broken"},
		{"admin listener", faulty{}, "127.0.0.1:1", program.ExitUsage, "admin.listen: listen on 127.0.0.1:1: "},
		{"front", faulty{opens: broken}, "", program.ExitUsage, "broken"},
		{"front, with a code", faulty{opens: &program.ExitError{Code: program.ExitTemporary, Err: broken}}, "", program.ExitTemporary, "broken"},
		{"service", faulty{serves: broken}, "", program.ExitTemporary, "a listener broke: broken"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.HostName, cfg.DontProbeInterfaces = "mx.example.com", true
			cfg.DNS.Servers, cfg.DNS.Timeout, cfg.DNS.Attempts = []string{"127.0.0.1:9"}, 1e7, 1
			if cfg.Admin.Listen = tc.admin; tc.admin != "" {
				taken, err := listen.TCP("127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer taken.Close()
				cfg.Admin.Listen = taken.Addr().String()
				tc.want = strings.ReplaceAll(tc.want, tc.admin, cfg.Admin.Listen)
			}
			f := &tc.front
			f.t = t
			d := Daemon{Name: "test", Version: "dev", Stderr: io.Discard, Front: f, Load: func() (*config.Config, error) { return cfg, nil }}
			err := d.Run(t.Context())
			var exit *program.ExitError
			if !errors.As(err, &exit) || exit.Code != tc.code || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("it ended with %v, want code %d and %q", err, tc.code, tc.want)
			}
			if served := tc.name == "service"; f.forced != served || f.shutDown != served {
				t.Errorf("a configuration was in force: %v, it was shut down: %v, want %v", f.forced, f.shutDown, served)
			}
			if f.ln != nil {
				if c, err := net.Dial("tcp", f.ln.Addr().String()); err == nil {
					c.Close()
					t.Error("the listener is still open")
				}
			}
		})
	}
}
