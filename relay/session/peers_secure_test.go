//go:build integration

package session

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/internal/certtest"
)

// smtplib logs in over STARTTLS and over TLS from the first byte, by each mechanism that
// Python knows.
const smtplib = `
import smtplib, ssl, sys
port, implicit, ca, password = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=ca)
for method in ["cram_md5", "plain", "login"]:
    s = smtplib.SMTP("localhost", port, local_hostname="client.example")
    s.starttls(context=context)
    s.ehlo()
    s.user, s.password = "joe", password
    s.auth(method.upper().replace("_", "-"), getattr(s, "auth_" + method))
    s.sendmail("a@sender.example", ["u@local.example"], "Subject: x\r\n\r\nx\r\n")
    s.quit()
s = smtplib.SMTP_SSL("localhost", implicit, local_hostname="client.example", context=context)
s.login("joe", password)
s.sendmail("a@sender.example", ["u@local.example"], "Subject: x\r\n\r\nx\r\n")
s.quit()
s = smtplib.SMTP_SSL("localhost", implicit, local_hostname="client.example", context=context)
try:
    s.login("joe", "wrong")
    sys.exit("a wrong password was taken")
except smtplib.SMTPAuthenticationError as e:
    if e.smtp_code != 535: sys.exit(repr(e))
`

// secured is a server for clients of others: two ports, and files with its authority and
// a client's certificate.
type secured struct {
	*fixture
	port, implicit         string
	ca, clientCert, keyPEM string
}

func startSecured(t *testing.T) *secured {
	t.Helper()
	ca := certtest.New(t, certtest.Name(t, "/O=Example Corp/CN=Example CA"))
	server := &site{ca, ca.Issue(certtest.Name(t, "/CN=localhost"), []string{"localhost", "127.0.0.1"})}
	auth, base := logins(t), accepting(t)
	plain := base.listen(&Rules{Name: "MSA", TLS: server.server(), ClientCAs: ca.Pool, Auth: auth})
	implicit := base.listen(&Rules{Name: "smtps", TLS: server.server(), Implicit: true, ClientCAs: ca.Pool, Auth: auth})
	s := &secured{fixture: base, port: portOf(t, plain.addr), implicit: portOf(t, implicit.addr)}
	client := ca.Issue(certtest.Name(t, "/O=Example Corp/CN=joe"), nil)
	key, err := x509.MarshalPKCS8PrivateKey(client.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	s.ca = write("ca.pem", "CERTIFICATE", ca.Certificate().Raw)
	s.clientCert, s.keyPEM = write("client.pem", "CERTIFICATE", client.Certificate[0]), write("client.key", "PRIVATE KEY", key)
	return s
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// run runs a program, which integration/run.sh has installed, and returns its output.
func run(t *testing.T, input, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("needs %s; integration/run.sh installs it", name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = &later{r: strings.NewReader(input)}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// later holds input back until a greeting must have come: who speaks before it is
// refused.
type later struct {
	r    io.Reader
	once sync.Once
}

func (l *later) Read(p []byte) (int, error) {
	l.once.Do(func() { time.Sleep(300 * time.Millisecond) })
	return l.r.Read(p)
}

func bothPasswords() map[string]bool { return map[string]bool{joesPassword: true, "wrong": false} }

// TestClientsOfOthers has programs log in that share nothing with our side.
func TestClientsOfOthers(t *testing.T) {
	s := startSecured(t)
	t.Run("smtplib", func(t *testing.T) {
		before := s.Stats().Messages
		if out, err := run(t, smtplib, "python3", "-", s.port, s.implicit, s.ca, joesPassword); err != nil || s.Stats().Messages-before != 4 {
			t.Errorf("%v, %d messages\n%s", err, s.Stats().Messages-before, out)
		}
	})
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"} {
		t.Run("swaks "+mechanism, func(t *testing.T) {
			for password, fine := range bothPasswords() {
				args := []string{"--server", "127.0.0.1:" + s.port, "--from", "a@sender.example", "--to", "u@local.example",
					"--auth", mechanism, "--auth-user", "joe", "--auth-password", password}
				if mechanism == "PLAIN" || mechanism == "LOGIN" {
					args = append(args, "--tls")
				}
				out, err := run(t, "", "swaks", args...)
				if (err == nil) != fine || fine != strings.Contains(out, " 235 2.7.0 OK Authenticated") {
					t.Errorf("%q: %v\n%s", args, err, out)
				}
			}
		})
	}
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"} {
		t.Run("gsasl "+mechanism, func(t *testing.T) {
			for password, fine := range bothPasswords() {
				args := []string{"--smtp", "--connect", "127.0.0.1:" + s.port, "--x509-ca-file=" + s.ca, "--service=smtp", "--hostname=mx.example.com",
					"-m", mechanism, "-a", "joe", "-r", "mx.example.com", "-p", password, "--quality-of-protection=qop-auth"}
				if !strings.HasSuffix(mechanism, "-PLUS") {
					args = append(args, "--no-cb")
				}
				out, err := run(t, "", "gsasl", args...)
				if (err == nil) != fine || fine != strings.Contains(out, "235 2.7.0 OK Authenticated") {
					t.Errorf("password %s: %v\n%s", password, err, out)
				}
			}
		})
	}
	t.Run("openssl", func(t *testing.T) {
		const dialogue = "EHLO x\r\nAUTH EXTERNAL =\r\nMAIL FROM:<a@b>\r\nQUIT\r\n"
		for _, args := range [][]string{
			{"-starttls", "smtp", "-connect", "localhost:" + s.port}, {"-starttls", "smtp", "-tls1_2", "-connect", "localhost:" + s.port},
			{"-connect", "localhost:" + s.implicit},
		} {
			args = append([]string{"s_client", "-quiet", "-ign_eof", "-CAfile", s.ca, "-verify_return_error", "-cert", s.clientCert, "-key", s.keyPEM}, args...)
			out, err := run(t, dialogue, "openssl", args...)
			if err != nil && !strings.Contains(out, "221 ") || !strings.Contains(out, "235 2.7.0 OK Authenticated") {
				t.Errorf("%q: %v\n%s", args, err, out)
			}
		}
	})
}
