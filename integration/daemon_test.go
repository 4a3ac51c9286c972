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

// daemon is one of our programs in its container.
type daemon struct {
	program   string
	container string
	etc       string // its policy files, as seen from here; both programs read the same
	config    string // the name of its configuration file there
	own       string // what that has beside baseConfig
	admin     string // its admin socket, as seen from here
}

// daemon is gatepost-milter.
func (s *stack) daemon(t *testing.T) *daemon {
	t.Helper()
	return &daemon{
		program:   "gatepost-milter",
		container: s.container(t, "gatepost"),
		etc:       filepath.Join(s.state, "etc"),
		config:    "gatepost.toml",
		own:       "[admin]\nlisten = \"unix:/run/gatepost/admin.sock\"\n",
		admin:     filepath.Join(s.state, "run", "admin.sock"),
	}
}

// relay is gatepost-relay.
func (s *stack) relay(t *testing.T) *daemon {
	t.Helper()
	return &daemon{
		program:   "gatepost-relay",
		container: s.container(t, "relay"),
		etc:       filepath.Join(s.state, "etc"),
		config:    "relay.toml",
		own:       relayConfig,
		admin:     filepath.Join(s.state, "run", "relay-admin.sock"),
	}
}

// daemons are both: the dialogues' policies are for all servers.
func (s *stack) daemons(t *testing.T) []*daemon {
	t.Helper()
	return []*daemon{s.daemon(t), s.relay(t)}
}

// relayConfig has local mail go to the sink as well, as the mail servers do.
const relayConfig = `[admin]
listen = "unix:/run/gatepost/relay-admin.sock"

[relay]
listen     = ["0.0.0.0:25", "[::]:25"]
spool      = "/var/spool/gatepost"
smart_host = "[198.51.100.27]"
local_mail = "smart_host"
max_errors = 1000
`

// baseConfig is in force for each dialogue; its section gatepost.toml is added.
const baseConfig = `host_name = "mx.example.com"
dont_probe_interfaces = true

[tables]
access           = "/etc/gatepost/access"
relay_domains    = "/etc/gatepost/relay-domains"
local_host_names = "/etc/gatepost/local-host-names"

[dns]
servers = ["198.51.100.53:53"]

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

// use starts daemons anew with this policy and waits until they are ready.
func use(t *testing.T, policy map[string]string, daemons ...*daemon) {
	t.Helper()
	restart := []string{"restart", "-t", "40"}
	for _, d := range daemons {
		for _, name := range PolicySections() {
			if name != "gatepost.toml" {
				d.write(t, name, policy[name])
			}
		}
		d.write(t, d.config, configOver(policy)+d.own+"\n"+policy["gatepost.toml"])
		restart = append(restart, d.container)
	}
	if _, err := docker(t.Context(), restart...); err != nil {
		t.Fatal(err)
	}
	for _, d := range daemons {
		d.waitReady(t)
	}
}

// write replaces a policy file as careful administrators do: by rename.
func (d *daemon) write(t *testing.T, name, text string) {
	t.Helper()
	d.replace(t, name, text, 0o644)
}

func (d *daemon) replace(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	temp := filepath.Join(d.etc, "."+name+".new")
	if err := os.WriteFile(temp, []byte(text), mode); err != nil {
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
	eventually(t, 15*time.Second, d.program+" ready", func() (bool, string) {
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
