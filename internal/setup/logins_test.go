package setup

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/internal/config"
	"gatepost/maps"
)

// loginSite is a configuration that names the files of a folder.
func loginSite(t *testing.T, text string, files map[string]string) (*config.Config, string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := config.Parse(filepath.Join(dir, "gatepost.toml"), []byte(strings.ReplaceAll(text, "DIR", dir)))
	if err != nil {
		t.Fatal(err)
	}
	return cfg, dir
}

// TestLogins: a table, with tokens of a server that [[oauth2]] names.
func TestLogins(t *testing.T) {
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "for-" + r.PostFormValue("client_id") + "-" + r.PostFormValue("client_secret"), "expires_in": 60})
	}))
	defer tokens.Close()
	cfg, dir := loginSite(t, "[relay]\nauthinfo = \"DIR/authinfo\"\nauth_allow_clear = \"old.lan\"\n[[oauth2]]\nname = \"isp\"\ntoken_url = \""+tokens.URL+"\"\ngrant = \"client_credentials\"\nclient_id = \"me\"\nclient_secret_file = \"DIR/secret\"\n",
		map[string]string{"secret": "s3cret\n", "authinfo": "AuthInfo:old.lan\t\"U:joe\" \"P:hidden\"\nAuthInfo:cloud.example\t\"U:joe@cloud.example\" \"M:XOAUTH2\" \"T:oauth2:isp\"\n"})
	l, err := OpenLogins(cfg, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Find(t.Context(), "old.lan", netip.MustParseAddr("192.0.2.1"))
	if err != nil || c.User != "joe" || c.Password != "hidden" || !c.AllowClear || c.Source != dir+"/authinfo:1" {
		t.Errorf("old.lan: %v, error %v", c, err)
	}
	if c, err = l.Find(t.Context(), "cloud.example", netip.Addr{}); err != nil || c.AllowClear {
		t.Fatalf("cloud.example: %v, error %v", c, err)
	}
	if token, err := c.Token(t.Context(), false); token != "for-me-s3cret" || err != nil {
		t.Errorf("token %q, error %v", token, err)
	}
	if c, err = l.Find(t.Context(), "other.example", netip.Addr{}); c != nil || err != nil {
		t.Errorf("other.example: %v, error %v", c, err)
	}
	if err := LoginFaults(cfg); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "authinfo"), []byte("AuthInfo:\t\"T:oauth2:other\" \"U:x\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	err = LoginFaults(cfg)
	if err == nil || !strings.Contains(err.Error(), dir+"/authinfo:1: source of tokens (T): there is no [[oauth2]] with the name \"other\"") || !strings.Contains(err.Error(), "oauth2 isp: "+dir+"/secret: its mode is 0644") {
		t.Errorf("faults: %v", err)
	}
}

// TestLoginsInAccess: without relay.authinfo the access table is searched.
func TestLoginsInAccess(t *testing.T) {
	cfg, dir := loginSite(t, "", map[string]string{"access": "AuthInfo:isp.example\t\"U:joe\" \"P:hidden\"\nAuthInfo:bad.example\t\"U:joe\"\n"})
	path := filepath.Join(dir, "access")
	table, err := maps.Open(maps.Spec{Name: "access", Path: path}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLogins(cfg, table.Map, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := l.Find(t.Context(), "smtp.isp.example", netip.Addr{}); err != nil || c == nil || c.User != "joe" {
		t.Errorf("login %v, error %v", c, err)
	}
	if found := ReviewLogins(cfg, table.Map()); len(found) != 1 || found[0].Source.String() != path+":2" || !strings.Contains(found[0].Text, "no password") {
		t.Errorf("found %v", found)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := l.Find(t.Context(), "smtp.isp.example", netip.Addr{}); c != nil || err == nil {
		t.Errorf("open to all: %v, error %v", c, err)
	}
	if found := ReviewLogins(cfg, table.Map()); len(found) != 2 || !strings.Contains(found[0].Text, "mode 0644") {
		t.Errorf("open to all: found %v", found)
	}
	none, err := OpenLogins(cfg, func() maps.Map { return nil }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := none.Find(t.Context(), "smtp.isp.example", netip.Addr{}); c != nil || err != nil {
		t.Errorf("no table: %v, error %v", c, err)
	}
}
