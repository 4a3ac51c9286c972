//go:build integration

package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// daemon is gatepost-milter in its container.
type daemon struct {
	container string
	etc       string // its policy files, as seen from here
	admin     string // its admin socket, as seen from here
}

func (s *stack) daemon(t *testing.T) *daemon {
	t.Helper()
	return &daemon{
		container: s.container(t, "gatepost"),
		etc:       filepath.Join(s.state, "etc"),
		admin:     filepath.Join(s.state, "run", "admin.sock"),
	}
}

// baseConfig is in force for each dialogue; its section gatepost.toml is added.
const baseConfig = `host_name = "mx.example.com"
dont_probe_interfaces = true

[tables]
access           = "/etc/gatepost/access"
relay_domains    = "/etc/gatepost/relay-domains"
local_host_names = "/etc/gatepost/local-host-names"

[dns]
servers = ["198.51.100.53:53"]

[admin]
listen = "unix:/run/gatepost/admin.sock"
`

// configOver is baseConfig, with the tables of UnixWare that the policy has: these
// mean something by being named.
func configOver(policy map[string]string) string {
	named := "[tables]\n"
	for _, one := range []struct{ section, key string }{{"trusted", "trusted"}, {"spammers", "spammers"}, {"virtual-hosts", "virtual_hosts"}} {
		if _, given := policy[one.section]; given {
			named += fmt.Sprintf("%s = \"/etc/gatepost/%s\"\n", one.key, one.section)
		}
	}
	return strings.Replace(baseConfig, "[tables]\n", named, 1)
}

// use starts the daemon anew with this policy and waits until it is ready.
func (d *daemon) use(t *testing.T, policy map[string]string) {
	t.Helper()
	for _, name := range PolicySections() {
		text := policy[name]
		if name == "gatepost.toml" {
			text = configOver(policy) + "\n" + text
		}
		d.write(t, name, text)
	}
	d.docker(t, "restart", "-t", "40")
	d.waitReady(t)
}

// write replaces a policy file as careful administrators do: by rename.
func (d *daemon) write(t *testing.T, name, text string) {
	t.Helper()
	temp := filepath.Join(d.etc, "."+name+".new")
	if err := os.WriteFile(temp, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, filepath.Join(d.etc, name)); err != nil {
		t.Fatal(err)
	}
}

// docker runs "docker COMMAND... CONTAINER".
func (d *daemon) docker(t *testing.T, command ...string) {
	t.Helper()
	if _, err := docker(t.Context(), append(command, d.container)...); err != nil {
		t.Fatal(err)
	}
}

func (d *daemon) waitReady(t *testing.T) {
	t.Helper()
	eventually(t, 15*time.Second, "gatepost-milter ready", func() (bool, string) {
		status, body, err := d.get(t.Context(), "/ready")
		return err == nil && status == http.StatusOK, fmt.Sprintf("status %d, %q, error %v", status, body, err)
	})
}

// get asks the admin listener.
func (d *daemon) get(ctx context.Context, path string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gatepost"+path, nil)
	if err != nil {
		return 0, "", err
	}
	toSocket := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d2 net.Dialer
		return d2.DialContext(ctx, "unix", d.admin)
	}}
	resp, err := toSocket.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(text), err
}

// logs is what the daemon has written since a time, to standard output and error.
func (d *daemon) logs(t *testing.T, since time.Time) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", "logs", "--since", since.UTC().Format(time.RFC3339Nano), d.container).CombinedOutput()
	if err != nil {
		t.Fatalf("docker logs: %v\n%s", err, out)
	}
	return string(out)
}
