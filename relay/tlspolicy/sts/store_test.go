package sts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/internal/certtest"
	"gatepost/internal/dns"
	"gatepost/internal/dns/dnsfake"
)

// world is a domain with a policy host, and its DNS.
type world struct {
	t       *testing.T
	config  Config
	asked   atomic.Int64 // requests to the policy host
	handler atomic.Pointer[http.HandlerFunc]

	mu     sync.Mutex
	txt    string // of _mta-sts.example.com; "": none
	failed bool   // the DNS gives no answer
	now    time.Time
}

// Lookup implements dns.Resolver.
func (w *world) Lookup(ctx context.Context, name string, t dns.Type) (dns.Answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed {
		return dns.Answer{}, errors.New("SERVFAIL")
	}
	zone := dnsfake.Zone{}
	if w.txt != "" {
		zone["_mta-sts.example.com"] = dnsfake.Records{TXT: []string{w.txt}}
	}
	return dnsfake.NewFake(zone).Lookup(ctx, name, t)
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// says has the policy host answer with a policy.
func (w *world) says(text string) {
	w.handles(func(out http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/mta-sts.txt" || r.Host != "mta-sts.example.com" {
			w.t.Errorf("asked for %s of %s", r.URL.Path, r.Host)
		}
		out.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = out.Write([]byte(text))
	})
}

func (w *world) handles(h http.HandlerFunc) { w.handler.Store(&h) }

func newWorld(t *testing.T, certFor string) *world {
	w := &world{t: t, txt: "v=STSv1; id=1;", now: time.Now()}
	ca := certtest.New(t, certtest.Name(t, "/CN=Test CA"))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		(*w.handler.Load())(out, r)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.Host(certFor)}}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	w.config = Config{
		Resolver: w, Roots: func() *x509.CertPool { return ca.Pool() }, Port: uint16(n),
		Addresses: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != "mta-sts.example.com" {
				t.Errorf("asked for the addresses of %s", host)
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.now
		},
	}
	w.says(good)
	return w
}

func (w *world) open() *Store {
	w.t.Helper()
	s, err := Open(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// want asks for the policy, and compares its mode ("" for none) and the requests so far.
func (w *world) want(s *Store, mode Mode, asked int64) {
	w.t.Helper()
	p, found := s.Find(w.t.Context(), "Example.com.")
	if p.Mode != mode || found != (mode != "") || w.asked.Load() != asked {
		w.t.Errorf("Find = %+v, %v after %d requests, want mode %q after %d", p, found, w.asked.Load(), mode, asked)
	}
}

func TestFind(t *testing.T) {
	w := newWorld(t, "mta-sts.example.com")
	s := w.open()
	w.want(s, Enforce, 1)
	w.want(s, Enforce, 1)

	w.says(strings.Replace(good, "enforce", "testing", 1))
	w.want(s, Enforce, 1) // the id is the same
	w.set(func() { w.txt = "v=STSv1; id=2;" })
	w.want(s, Testing, 2)

	w.says("nonsense")
	w.set(func() { w.txt = "v=STSv1; id=3;" })
	w.want(s, Testing, 3)
	w.want(s, Testing, 3) // not tried again at once
	w.set(func() { w.now = w.now.Add(pauseFailed + time.Second) })
	w.want(s, Testing, 4)
	w.says(strings.Replace(good, "enforce", "testing", 1))
	w.set(func() { w.txt = "v=STSv1; id=4;" })
	w.want(s, Testing, 5) // another id is tried at once

	w.set(func() { w.txt = "" })
	w.want(s, Testing, 5)
	w.set(func() { w.failed = true })
	w.want(s, Testing, 5)
	w.set(func() { w.now = w.now.Add(8 * 24 * time.Hour) }) // past max_age
	w.want(s, "", 5)
}

func TestFindNone(t *testing.T) {
	w := newWorld(t, "mta-sts.example.com")
	s := w.open()
	w.set(func() { w.txt = "" })
	w.want(s, "", 0)
	w.set(func() { w.txt, w.failed = "v=STSv1; id=1", true })
	w.want(s, "", 0)
	if _, found := s.Find(t.Context(), "192.0.2.1:25"); found {
		t.Error("a policy of what is no domain")
	}
}

// A policy is fetched anew before it is too old, and nobody waits for that.
func TestRenewal(t *testing.T) {
	w := newWorld(t, "mta-sts.example.com")
	s := w.open()
	w.want(s, Enforce, 1)
	w.set(func() { w.now = w.now.Add(renewAfter + time.Minute) })
	s.Find(t.Context(), "example.com")
	for deadline := time.Now().Add(10 * time.Second); w.asked.Load() < 2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not fetched again after a day")
		}
	}
	w.set(func() { w.now = w.now.Add(6 * 24 * time.Hour) }) // a week after the first
	if p, found := s.Find(t.Context(), "example.com"); !found || p.Mode != Enforce {
		t.Errorf("Find = %+v, %v, want the renewed policy", p, found)
	}
}

func TestFetchFaults(t *testing.T) {
	text := func(kind string) http.HandlerFunc {
		return func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("Content-Type", kind)
			_, _ = out.Write([]byte(good))
		}
	}
	for name, tc := range map[string]struct {
		certFor string
		handler http.HandlerFunc
		change  func(*Config)
	}{
		"certificate of another name": {"example.com", text("text/plain"), nil},
		"unknown authority": {"mta-sts.example.com", text("text/plain"), func(c *Config) {
			c.Roots = func() *x509.CertPool { return x509.NewCertPool() }
		}},
		"redirect": {"mta-sts.example.com", func(out http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/other" {
				_, _ = out.Write([]byte(good))
				return
			}
			http.Redirect(out, r, "/other", http.StatusFound)
		}, nil},
		"not found": {"mta-sts.example.com", http.NotFound, nil},
		"HTML":      {"mta-sts.example.com", text("text/html"), nil},
		"too big": {"mta-sts.example.com", func(out http.ResponseWriter, _ *http.Request) {
			_, _ = out.Write([]byte(good + strings.Repeat("x: yyyyyyyyyyyy\n", maxPolicy/16)))
		}, nil},
		"a lot of header": {"mta-sts.example.com", func(out http.ResponseWriter, _ *http.Request) {
			out.Header().Set("X-Much", strings.Repeat("y", 2*maxPolicy))
			_, _ = out.Write([]byte(good))
		}, nil},
		"no address": {"mta-sts.example.com", text("text/plain"), func(c *Config) {
			c.Addresses = func(context.Context, string) ([]netip.Addr, error) { return nil, nil }
		}},
		"addresses cannot be asked for": {"mta-sts.example.com", text("text/plain"), func(c *Config) {
			c.Addresses = func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("SERVFAIL") }
		}},
		"a fault inside": {"mta-sts.example.com", text("text/plain"), func(c *Config) {
			c.Roots = func() *x509.CertPool { panic("x") }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.certFor)
			w.handles(tc.handler)
			if tc.change != nil {
				tc.change(&w.config)
			}
			if p, found := w.open().Find(t.Context(), "example.com"); found {
				t.Errorf("Find = %+v, want none", p)
			}
		})
	}
}

// Those who ask at once wait for one request, and no longer than they may.
func TestFindTogether(t *testing.T) {
	w := newWorld(t, "mta-sts.example.com")
	release := make(chan struct{})
	w.handles(func(out http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = out.Write([]byte(good))
	})
	s := w.open()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if p, found := s.Find(short, "example.com"); found || short.Err() == nil {
		t.Errorf("Find = %+v before there was an answer", p)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if p, found := s.Find(t.Context(), "example.com"); !found || p.Mode != Enforce {
				t.Errorf("Find = %+v, %v", p, found)
			}
		})
	}
	close(release)
	all.Wait()
	if n := w.asked.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestFileOutlivesRestart(t *testing.T) {
	w := newWorld(t, "mta-sts.example.com")
	w.config.File = filepath.Join(t.TempDir(), "mta-sts.cache")
	s := w.open()
	w.want(s, Enforce, 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(w.config.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v, want mode 0600", info, err)
	}
	w.set(func() { w.failed = true })
	s = w.open()
	w.want(s, Enforce, 1)
	if p, _ := s.Find(t.Context(), "example.com"); !p.Has("a.example.net") || p.Has("example.net") || p.MaxAge != 7*24*time.Hour {
		t.Errorf("after a restart: %+v", p)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close without a change: %v", err)
	}
	w.set(func() { w.now = w.now.Add(8 * 24 * time.Hour) })
	w.want(w.open(), "", 1)
}

func TestBadFile(t *testing.T) {
	w := newWorld(t, "mta-sts.example.com")
	w.config.File = filepath.Join(t.TempDir(), "mta-sts.cache")
	for asked, text := range []string{
		"", "{", `{"version": 2}`, `{"version": 1, "policies": [{"domain": "example.com", "id": "1", "mode": "all"}]}`,
		`{"version": 1, "policies": [{"domain": "example.com", "id": "", "mode": "none", "max_age": 600, "fetched": "2100-01-01T00:00:00Z"}]}`,
		`{"version": 1, "policies": [{"domain": "example.com", "id": "1", "mode": "none", "max_age": 31557600, "fetched": "2100-01-01T00:00:00Z"}]}`,
	} {
		if err := os.WriteFile(w.config.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		w.want(w.open(), Enforce, int64(asked)+1)
	}
	w.config.File = filepath.Join(t.TempDir(), "none", "mta-sts.cache")
	s := w.open()
	w.want(s, Enforce, 7)
	if err := s.Close(); err == nil {
		t.Error("Close said nothing of a file that cannot be written")
	}
}
