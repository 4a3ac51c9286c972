//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// recipe is the old way to run a private mail server where port 25 is locked: hosts of the
// site are reached by name, everything else goes to the provider's port 587 with a login,
// and nobody outside sees the names of the site.
const recipe = `[admin]
listen = "unix:/run/gatepost/relay-admin.sock"

[relay]
listen     = ["0.0.0.0:25", "[::]:25"]
spool      = "/var/spool/gatepost"
control    = "/run/gatepost/relay-control.sock"
submission = "/run/gatepost/submission.sock"

mailertable       = "/etc/gatepost/mailertable"
relay_mailer_port = 587
authinfo          = "/etc/gatepost/authinfo"
tls_ca_file       = "/etc/gatepost/ca.pem"
retry             = ["3s"]

masquerade_as     = "example.com"
masquerade_domain = ["lan"]

[features]
masquerade_envelope      = true
masquerade_entire_domain = true
`

const (
	recipeTable = ".lan\tsmtp:[%1.lan]\n.\trelay:[smtp.isp.example]\n"
	rightLogin  = `AuthInfo:smtp.isp.example "U:gatepost" "P=byBwZW4sICJzZXNhbWUi" "R:smtp.isp.example"` + "\n"
	wrongLogin  = `AuthInfo:smtp.isp.example "U:gatepost" "P:wrong" "R:smtp.isp.example"` + "\n"
)

// recipeRelay starts the relay with the recipe.
func recipeRelay(t *testing.T, s *stack) (*daemon, Driver) {
	t.Helper()
	d := s.relay(t)
	d.own = recipe
	d.write(t, "mailertable", recipeTable)
	d.secret(t, "authinfo", rightLogin)
	ca, err := os.ReadFile(filepath.Join(s.state, "secrets", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	d.write(t, "ca.pem", string(ca))
	driver := s.relayDriver(t)
	use(t, map[string]string{"access": "Connect:198.51.100.101\tRELAY\n"}, d)
	return d, driver
}

// secret writes a policy file that only its owner can read.
func (d *daemon) secret(t *testing.T, name, text string) {
	t.Helper()
	d.replace(t, name, text, 0o600)
}

// tool runs gatepost beside the relay.
func (d *daemon) tool(t *testing.T, in string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "docker", append([]string{"exec", "-i", d.container, "/usr/local/bin/gatepost"}, args...)...)
	cmd.Stdin = strings.NewReader(in)
	var both bytes.Buffer
	cmd.Stdout, cmd.Stderr = &both, &both
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return both.String(), cmd.ProcessState.ExitCode()
}

// sunk is a message at the sink, with what smtp-sink says of its envelope.
type sunk struct {
	file   string
	sender string
	to     []string
	mail.Header
	body string
}

// sunkWith are the messages at the sink that have a line.
func (s *stack) sunkWith(t *testing.T, line string) (found []sunk) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.state, "sink", "m.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte(line)) {
			continue
		}
		m, err := mail.ReadMessage(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		body, _ := io.ReadAll(m.Body)
		one := sunk{file: file, Header: m.Header, body: string(body), sender: address(m.Header.Get("X-Mail-Args"))}
		for _, to := range m.Header["X-Rcpt-Args"] {
			one.to = append(one.to, address(to))
		}
		found = append(found, one)
	}
	return found
}

// address is what is between the brackets of an argument of MAIL or RCPT.
func address(arg string) string {
	_, after, _ := strings.Cut(arg, "<")
	inner, _, _ := strings.Cut(after, ">")
	return inner
}

// waitSunk waits for the message to a recipient.
func (s *stack) waitSunk(t *testing.T, line, recipient string) (m sunk) {
	t.Helper()
	eventually(t, 30*time.Second, "a message with "+line+" to "+recipient, func() (bool, string) {
		all := s.sunkWith(t, line)
		for _, m = range all {
			for _, to := range m.to {
				if to == recipient {
					return true, ""
				}
			}
		}
		return false, fmt.Sprintf("%d others", len(all))
	})
	return m
}

// post sends a message from a host of the site.
func (s *stack) post(t *testing.T, driver Driver, token string, to ...string) {
	t.Helper()
	k := s.connect(t, driver, friend, token)
	k.say("MAIL FROM:<joe@pc1.lan>", "250")
	for _, one := range to {
		k.say("RCPT TO:<"+one+">", "250")
	}
	k.say("DATA", "354")
	k.say("From: Joe (at his desk) <joe@pc1.lan>\nTo: "+strings.Join(to, ", ")+"\nSubject: a test\n"+TokenHeader+": "+token+"\n\nJoe's words, joe@pc1.lan.\n.", "250")
	k.say("QUIT", "221")
}

// TestRecipe: mail to a host of the site goes there as the mailertable says, the rest to a
// real Postfix on port 587 by STARTTLS and AUTH, under the name of the company.
func TestRecipe(t *testing.T) {
	s := newStack(t)
	d, driver := recipeRelay(t, s)
	token := newToken()
	s.post(t, driver, token, "ann@remote.example", "bob@hub.lan")

	out := s.waitSunk(t, token, "ann@remote.example")
	if received := strings.Join(out.Header["Received"], "\n"); !strings.Contains(received, "by smtp.isp.example (Postfix) with ESMTPSA") ||
		!strings.Contains(received, "Authenticated sender: gatepost") {
		t.Errorf("it did not come by the provider's server with a login:\n%s", received)
	}
	in := s.waitSunk(t, token, "bob@hub.lan")
	if received := strings.Join(in.Header["Received"], "\n"); strings.Contains(received, "smtp.isp.example") {
		t.Errorf("mail of the site went by the provider:\n%s", received)
	}
	for _, m := range []sunk{out, in} {
		if from := m.Get("From"); m.sender != "joe@example.com" || from != "Joe (at his desk) <joe@example.com>" {
			t.Errorf("%v: envelope sender %q, From: %q", m.to, m.sender, from)
		}
		if m.body != "Joe's words, joe@pc1.lan.\n\n" { // smtp-sink adds a line
			t.Errorf("%v: the body has become %q", m.to, m.body)
		}
	}
	for address, want := range map[string]string{
		"x@hub.lan": "mailertable:1", "x@remote.example": "mailertable:2",
	} {
		if out, code := d.tool(t, "", "route", "--config", "/etc/gatepost/relay.toml", address); code != 0 || !strings.Contains(out, want) {
			t.Errorf("gatepost route %s: exit code %d, it does not name %s:\n%s", address, code, want, out)
		}
	}
}

// TestWrongLogin: a password that is wrong keeps mail waiting, and when it has been set
// right the operator lets it go.
func TestWrongLogin(t *testing.T) {
	s := newStack(t)
	d, driver := recipeRelay(t, s)
	d.secret(t, "authinfo", wrongLogin)
	time.Sleep(2 * time.Second) // it is looked at each second
	token := newToken()
	s.post(t, driver, token, "ann@remote.example")
	eventually(t, 20*time.Second, "the queue tells of the login", func() (bool, string) {
		out, _ := d.tool(t, "", "queue", "list", "--config", "/etc/gatepost/relay.toml", "--recipient", "ann@remote.example")
		return strings.Contains(out, "535"), out
	})
	if got := s.sunkWith(t, token); len(got) > 0 {
		t.Fatal("it was delivered without a login")
	}
	d.secret(t, "authinfo", rightLogin)
	time.Sleep(2 * time.Second)
	if out, code := d.tool(t, "", "queue", "flush", "--config", "/etc/gatepost/relay.toml", "--all"); code != 0 {
		t.Fatalf("gatepost queue flush: %s", out)
	}
	s.waitSunk(t, token, "ann@remote.example")
}

// TestWrongCertificate: with a login the provider's certificate must be good.
func TestWrongCertificate(t *testing.T) {
	s := newStack(t)
	d, driver := recipeRelay(t, s)
	if out, err := exec.CommandContext(t.Context(), "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
		"-subj", "/CN=Another authority", "-keyout", "/dev/null", "-out", filepath.Join(d.etc, "ca.pem")).CombinedOutput(); err != nil {
		t.Fatalf("openssl: %v\n%s", err, out)
	}
	use(t, map[string]string{"access": "Connect:198.51.100.101\tRELAY\n"}, d)
	token := newToken()
	s.post(t, driver, token, "ann@remote.example")
	eventually(t, 20*time.Second, "the queue tells of the certificate", func() (bool, string) {
		out, _ := d.tool(t, "", "queue", "list", "--config", "/etc/gatepost/relay.toml")
		return strings.Contains(out, "certificate"), out
	})
	if got := s.sunkWith(t, token); len(got) > 0 {
		t.Fatal("it was delivered all the same")
	}
	if out, code := d.tool(t, "", "queue", "delete", "--config", "/etc/gatepost/relay.toml", "--sender", "joe@pc1.lan"); code != 0 {
		t.Fatalf("gatepost queue delete: %s", out)
	}
}

// readReport has Python's email package take a report apart.
const readReport = `
import email, email.policy, json, sys
m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
parts = list(m.iter_parts())
groups = parts[1].get_payload()
print(json.dumps([m.get_content_type(), m.get_param("report-type"), m["auto-submitted"], str(m["to"]), [p.get_content_type() for p in parts],
  [{k.lower(): str(v) for k, v in g.items()} for g in groups], [str(d) for p in m.walk() for d in p.defects]]))
`

// TestReport: what the provider refuses for good comes back to its sender as a report that
// others can read.
func TestReport(t *testing.T) {
	s := newStack(t)
	_, driver := recipeRelay(t, s)
	token := newToken()
	s.post(t, driver, token, "nobody@refused.example")
	report := s.waitSunk(t, token, "joe@pc1.lan")
	if report.sender != "" {
		t.Errorf("the report has the sender %q", report.sender)
	}
	text, err := os.ReadFile(report.file)
	if err != nil {
		t.Fatal(err)
	}
	python := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", readReport)
	python.Stdin = bytes.NewReader(text)
	out, err := python.CombinedOutput()
	if err != nil {
		t.Fatalf("python: %v\n%s", err, out)
	}
	for _, want := range []string{
		`["multipart/report", "delivery-status", "auto-replied"`, `"joe@pc1.lan"`,
		`["text/plain", "message/delivery-status", "message/rfc822"]`, `"reporting-mta": "dns; mx.example.com"`,
		`"final-recipient": "rfc822; nobody@refused.example"`, `"action": "failed"`, `"status": "5.7.1"`,
		`"remote-mta": "dns; smtp.isp.example"`, `"diagnostic-code": "smtp; 554 5.7.1`, `}], []]`,
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the report has no %s:\n%s", want, out)
		}
	}
}

// queue runs "gatepost queue" beside the relay, which must succeed.
func (d *daemon) queue(t *testing.T, args ...string) string {
	t.Helper()
	out, code := d.tool(t, "", append([]string{"queue", args[0], "--config", "/etc/gatepost/relay.toml"}, args[1:]...)...)
	if code != 0 {
		t.Fatalf("gatepost queue %s: exit code %d: %s", strings.Join(args, " "), code, out)
	}
	return out
}

// TestQueueCommands: the provider's server is away, and the operator deals with what waits.
func TestQueueCommands(t *testing.T) {
	const messages = 30
	s := newStack(t)
	d, driver := recipeRelay(t, s)
	provider := s.container(t, "smarthost")
	if _, err := docker(t.Context(), "stop", "-t", "5", provider); err != nil {
		t.Fatal(err)
	}
	started := false
	start := func() {
		if !started {
			started = true
			if _, err := docker(context.Background(), "start", provider); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(start)
	token := newToken()
	for i := range messages {
		s.post(t, driver, token, fmt.Sprintf("u%d@remote.example", i))
	}
	eventually(t, 60*time.Second, "the queue tells why it waits", func() (bool, string) {
		out := d.queue(t, "list")
		return strings.Contains(out, "cannot connect") && strings.Contains(out, "u29@remote.example"), out
	})
	var ids []string
	for i := range 3 {
		var one struct{ ID string }
		if err := json.Unmarshal([]byte(d.queue(t, "list", "--json", "--recipient", fmt.Sprintf("u%d@remote.example", i))), &one); err != nil || one.ID == "" {
			t.Fatalf("--json: %v", err)
		}
		ids = append(ids, one.ID)
	}
	for _, want := range []string{"mailertable:2", "cannot connect", "down"} {
		if out := d.queue(t, "why", ids[0]); !strings.Contains(out, want) {
			t.Errorf("why does not tell %q:\n%s", want, out)
		}
	}
	if out := d.queue(t, "show", ids[0]); !strings.Contains(out, "joe@pc1.lan") || !strings.Contains(out, "u0@remote.example") {
		t.Errorf("show:\n%s", out)
	}
	d.queue(t, "delete", ids[0])
	d.queue(t, "hold", ids[1], ids[2])
	d.queue(t, "release", ids[2])
	d.queue(t, "requeue", "--sender", "joe@pc1.lan", "--recipient", "u3@remote.example")
	start()
	time.Sleep(2 * time.Second)
	d.queue(t, "flush", "--next-hop", "smtp.isp.example")
	eventually(t, 60*time.Second, "all but two have arrived", func() (bool, string) {
		n := len(s.sunkWith(t, token))
		if n < messages-2 {
			d.queue(t, "flush", "--all")
		}
		return n == messages-2, fmt.Sprint(n)
	})
	if out := d.queue(t, "list", "--state", "held"); !strings.Contains(out, ids[1]) || strings.Contains(out, ids[2]) {
		t.Errorf("on hold are:\n%s", out)
	}
	d.queue(t, "release", ids[1])
	s.waitSunk(t, token, "u1@remote.example")
	if out := d.queue(t, "list"); strings.Contains(out, "remote.example") {
		t.Errorf("at the end the queue has:\n%s", out)
	}
}

// TestSendmailCommand: programs of the host hand mail in as they always did.
func TestSendmailCommand(t *testing.T) {
	s := newStack(t)
	d, _ := recipeRelay(t, s)
	token := newToken()
	message := "To: ann@remote.example\nBcc: bob@hub.lan\nSubject: from cron\n" + TokenHeader + ": " + token + "\n\n.\nthat was no end\n"
	if out, code := d.tool(t, message, "sendmail", "-C", "/etc/gatepost/relay.toml", "-t", "-i", "-f", "cron@pc1.lan"); code != 0 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	m := s.waitSunk(t, token, "ann@remote.example")
	s.waitSunk(t, token, "bob@hub.lan")
	if m.sender != "cron@example.com" || m.Get("Bcc") != "" || !strings.Contains(m.body, "\n.\n") && !strings.HasPrefix(m.body, ".\n") {
		t.Errorf("sender %q, Bcc: %q, body %q", m.sender, m.Get("Bcc"), m.body)
	}
	d.docker(t, "stop", "-t", "40")
	t.Cleanup(func() {
		if _, err := docker(context.Background(), "start", d.container); err != nil {
			t.Error(err)
		}
	})
	host := exec.CommandContext(t.Context(), filepath.Join(s.state, "gatepost"), "sendmail", "-C", filepath.Join(d.etc, "relay.toml"), "-t")
	host.Stdin = strings.NewReader(message)
	out, err := host.CombinedOutput()
	if err == nil || host.ProcessState.ExitCode() != 75 {
		t.Errorf("with the relay down: %v: %s; want exit code 75", err, out)
	}
}
