package token_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/relay/authinfo/token"
)

func write(t *testing.T, path, text string, mode os.FileMode) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// server is a token server (RFC 6749) that knows one client and rotates refresh tokens.
type server struct {
	*httptest.Server
	asked   atomic.Int32
	expires int
	answer  func(w http.ResponseWriter, r *http.Request) bool // true: it has answered

	mu      sync.Mutex
	refresh string // the one that is good
}

func newServer(t *testing.T) *server {
	s := &server{expires: 3600, refresh: "refresh-0"}
	s.Server = httptest.NewTLSServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.asked.Add(1)
	if s.answer != nil && s.answer(w, r) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	reply := map[string]any{"access_token": fmt.Sprintf("access-%d", n), "token_type": "Bearer", "expires_in": s.expires}
	switch grant := r.FormValue("grant_type"); {
	case id != "id" || secret != "client-secret":
		w.WriteHeader(http.StatusUnauthorized)
		reply = map[string]any{"error": "invalid_client", "error_description": "no client with the secret " + secret}
	case grant == "client_credentials" && r.FormValue("scope") == "mail send":
	case grant == "refresh_token" && r.FormValue("refresh_token") == s.refresh:
		s.refresh = fmt.Sprintf("refresh-%d", n)
		reply["refresh_token"] = s.refresh
	default:
		w.WriteHeader(http.StatusBadRequest)
		reply = map[string]any{"error": "invalid_grant", "error_description": "not good: " + r.FormValue("refresh_token")}
	}
	_ = json.NewEncoder(w).Encode(reply)
}

// source is one by which the server is asked.
func (s *server) source(t *testing.T, dir string, refresh bool, log *slog.Logger) token.Func {
	t.Helper()
	c := token.Client{TokenURL: s.URL, ClientID: "id", ClientSecretFile: filepath.Join(dir, "secret"), Scopes: []string{"mail", "send"}}
	if refresh {
		c.Basic, c.RefreshTokenFile = true, filepath.Join(dir, "refresh")
	}
	f, err := token.NewSources(map[string]token.Client{"isp": c}, s.Client(), log).Source("oauth2:isp")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestClientCredentials: many ask, the server is asked once, and again when its token ends
// or is rejected.
func TestClientCredentials(t *testing.T) {
	s := newServer(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "client-secret\n", 0o600)
	f := s.source(t, dir, false, nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if got, err := f(t.Context(), false); got != "access-1" || err != nil {
				t.Errorf("token %q, error %v", got, err)
			}
		})
	}
	all.Wait()
	if got, err := f(t.Context(), true); got != "access-1" || err != nil {
		t.Errorf("a new token rejected: %q, error %v", got, err)
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("the server was asked %d times", n)
	}
	s.expires = 1
	f = s.source(t, dir, false, nil)
	first, err1 := f(t.Context(), false)
	time.Sleep(1100 * time.Millisecond)
	second, err2 := f(t.Context(), false)
	if first == second || err1 != nil || err2 != nil {
		t.Errorf("tokens %q and %q, errors %v and %v", first, second, err1, err2)
	}
}

// TestRefresh: each new refresh token is in the file before it is needed.
func TestRefresh(t *testing.T) {
	s := newServer(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "client-secret\n", 0o600)
	file := write(t, filepath.Join(dir, "refresh"), "refresh-0\n", 0o640)
	for i := 1; i < 4; i++ { // a new process each time
		want := fmt.Sprintf("access-%d", i)
		if got, err := s.source(t, dir, true, nil)(t.Context(), false); got != want || err != nil {
			t.Fatalf("token %q, error %v, want %q", got, err, want)
		}
		data, err := os.ReadFile(file)
		info, _ := os.Stat(file)
		if string(data) != fmt.Sprintf("refresh-%d\n", i) || err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("file %q, mode %v, error %v", data, info.Mode(), err)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

// TestRefreshUnwritten: a refresh token that cannot be written is used all the same, and
// written when it can be.
func TestRefreshUnwritten(t *testing.T) {
	s := newServer(t)
	s.expires = 1
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "client-secret\n", 0o600)
	file := write(t, filepath.Join(dir, "refresh"), "refresh-0\n", 0o600)
	var log bytes.Buffer
	f := s.source(t, dir, true, slog.New(slog.NewTextHandler(&log, nil)))
	ask := func(want string) {
		t.Helper()
		time.Sleep(1100 * time.Millisecond)
		if got, err := f(t.Context(), false); got != want || err != nil {
			t.Fatalf("token %q, error %v, want %q", got, err, want)
		}
	}
	s.answer = func(http.ResponseWriter, *http.Request) bool { // the file cannot be replaced while it is asked
		_ = os.Remove(file)
		return false
	}
	ask("access-1")
	s.answer = nil
	if !strings.Contains(log.String(), "level=ERROR") || strings.Contains(log.String(), "refresh-1") {
		t.Errorf("logged %s", log.String())
	}
	write(t, file, "refresh-0\n", 0o600)
	ask("access-2")
	if data, _ := os.ReadFile(file); string(data) != "refresh-2\n" {
		t.Errorf("file %q", data)
	}
}

// TestFailures: none has a secret in it.
func TestFailures(t *testing.T) {
	redirect := func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
		return true
	}
	endless := func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"`)
		for range 1000 {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 1024)); err != nil {
				break
			}
		}
		return true
	}
	junk := func(w http.ResponseWriter, r *http.Request) bool {
		fmt.Fprint(w, "<html>\xff\x00client-secret")
		return true
	}
	broken := func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "client-secret", http.StatusBadGateway)
		return true
	}
	for name, tc := range map[string]struct {
		secret, refresh string
		mode            os.FileMode
		answer          func(http.ResponseWriter, *http.Request) bool
		want            string
	}{
		"wrong secret":  {"other-secret", "", 0o600, nil, `says "invalid_client"`},
		"wrong refresh": {"client-secret", "refresh-x", 0o600, nil, `says "invalid_grant": "not good: (hidden)"`},
		"open secret":   {"client-secret", "", 0o644, nil, "its mode is 0644"},
		"empty secret":  {"", "", 0o600, nil, "expected one line"},
		"redirect":      {"client-secret", "", 0o600, redirect, "sends us elsewhere"},
		"endless":       {"client-secret", "", 0o600, endless, "token server"},
		"junk":          {"client-secret", "", 0o600, junk, "token server"},
		"broken":        {"client-secret", "", 0o600, broken, "answers 502"},
	} {
		s := newServer(t)
		s.answer = tc.answer
		dir := t.TempDir()
		write(t, filepath.Join(dir, "secret"), tc.secret, tc.mode)
		write(t, filepath.Join(dir, "refresh"), tc.refresh, 0o600)
		f := s.source(t, dir, tc.refresh != "", nil)
		got, err := f(t.Context(), false)
		if got != "" || err == nil || !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 700 {
			t.Errorf("%s: token %q, error %v, want %q", name, got, err, tc.want)
			continue
		}
		if s := err.Error(); strings.Contains(s, "client-secret") || strings.Contains(s, "other-secret") || strings.Contains(s, "refresh-x") {
			t.Errorf("%s: %s", name, s)
		}
		asked := s.asked.Load()
		if _, again := f(t.Context(), true); again != err && fmt.Sprint(again) != fmt.Sprint(err) || s.asked.Load() != asked {
			t.Errorf("%s: asked again at once", name)
		}
	}
}

// TestImpatient: who cannot wait does not, and the others get the token.
func TestImpatient(t *testing.T) {
	s := newServer(t)
	asked, release := make(chan bool), make(chan bool)
	s.answer = func(http.ResponseWriter, *http.Request) bool { close(asked); <-release; return false }
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret"), "client-secret", 0o600)
	f := s.source(t, dir, false, nil)
	done := make(chan error)
	go func() { _, err := f(context.Background(), false); done <- err }()
	<-asked
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := f(short, false); err == nil {
		t.Error("waited longer than the context lasts")
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFile(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "token"), "one\n", 0o600)
	f, err := token.NewSources(nil, nil, nil).Source("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		text string
		mode os.FileMode
		want string
	}{{"one\n", 0o600, "one"}, {" two ", 0o640, "two"}, {"x", 0o644, ""}, {"", 0o600, ""}, {strings.Repeat("x", 20_000), 0o600, ""}} {
		write(t, path, tc.text, tc.mode)
		if got, err := f(t.Context(), false); got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%.10q mode %04o: token %q, error %v", tc.text, tc.mode, got, err)
		}
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) string {
		return "command:" + write(t, filepath.Join(dir, name), "#!/bin/sh\n"+text, 0o700)
	}
	t.Setenv("SECRET_OF_THE_DAEMON", "x")
	for _, tc := range []struct{ name, want, fault string }{
		{script("good", `echo "token-$1-$2"`) + "  a  $HOME;id", "token-a-$HOME;id", ""},
		{script("env", `echo "x${SECRET_OF_THE_DAEMON}y"`), "xy", ""},
		{script("fails", "echo hidden; echo hidden >&2; exit 3"), "", "exit status 3"},
		{script("silent", "exit 0"), "", "prints nothing"},
		{script("chatter", "while echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; do :; done"), "", "prints more than"},
		{"command:" + dir + "/missing", "", "no such file"},
	} {
		f, err := token.NewSources(nil, nil, nil).Source(tc.name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f(t.Context(), false)
		if got != tc.want || (tc.fault == "") != (err == nil) || err != nil && (!strings.Contains(err.Error(), tc.fault) || strings.Contains(err.Error(), "hidden")) {
			t.Errorf("%s: token %q, error %v, want %q", tc.name, got, err, tc.want+tc.fault)
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"", "token", "file:", "file:x", "command:", "command:x y", "oauth2:", "oauth2:isp", "http://x"} {
		if _, err := token.NewSources(nil, nil, nil).Source(name); err == nil || !strings.HasPrefix(err.Error(), "source of tokens (T): ") {
			t.Errorf("%q: error %v", name, err)
		}
	}
}
