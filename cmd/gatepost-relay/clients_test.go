//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/dns/dnstest"
)

// plainPassword is one that all clients can be given on a command line.
const plainPassword = "correct-horse-1"

// realSite is a site for clients that others have written: the accounts are made by
// gatepost user (joe) and by saslpasswd2 (mary), and the DNS answers.
func realSite(t *testing.T) *site {
	t.Helper()
	s := secureSite(t, `auth_mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "CRAM-MD5", "PLAIN", "LOGIN"]
sasldb = "sasldb2"`)
	text, err := os.ReadFile(s.path("gatepost.toml"))
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer("127.0.0.1:9", dnstest.Serve(t, dnsfake.Zone{"elsewhere.example": {A: []string{"192.0.2.1"}}}),
		`"EXTERNAL"]`, `"SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"]`).Replace(string(text))
	s.write("gatepost.toml", config)
	s.tool(plainPassword, "user", "add", "--config", s.path("gatepost.toml"), "--password-stdin", "--plaintext-equivalents", "joe")
	s.runWith(plainPassword, "saslpasswd2", "-p", "-c", "-f", s.path("sasldb2"), "-u", "mx.example.com", "mary")
	s.start()
	return s
}

// tool is gatepost itself, built for this test.
func (s *site) tool(stdin string, args ...string) {
	s.t.Helper()
	program := s.path("gatepost")
	if _, err := os.Stat(program); err != nil {
		s.runWith("", "go", "build", "-o", program, "../gatepost")
	}
	s.runWith(stdin, program, args...)
}

// runWith runs a program that must succeed.
func (s *site) runWith(stdin, program string, args ...string) string {
	s.t.Helper()
	out, err := s.try(stdin, program, args...)
	if err != nil {
		s.t.Fatalf("%s %q: %v\n%s", program, args, err, out)
	}
	return out
}

func (s *site) try(stdin, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *site) port(listener string) string {
	_, port, err := net.SplitHostPort(s.at(listener))
	if err != nil {
		s.t.Fatal(err)
	}
	return port
}

// swaks sends a message from an address of the loopback network.
func (s *site) swaks(from, listener, to string, args ...string) (string, error) {
	tls := map[string]string{"MSA": "--tls", "MSA-TLS": "--tlsc", "MTA": "--tls-optional"}[listener]
	return s.try("", "swaks", append([]string{
		"--server", "127.0.0.1", "--port", s.port(listener), tls, "--local-interface", from, "--helo", "client.example",
		"--from", "joe@example.com", "--to", to,
	}, args...)...)
}

func auth(mechanism, user, password string) []string {
	return []string{"--auth", mechanism, "--auth-user", user, "--auth-password", password}
}

func (s *site) arrives(to string) {
	s.t.Helper()
	s.eventually(to+" has it", func() bool { return len(s.smart.mail(to)) == 1 })
}

// TestNewUser is what docs/relay.md tells a new administrator to try.
func TestNewUser(t *testing.T) {
	s := realSite(t)
	const outside = "127.0.0.9" // it has no name and is in no table: a stranger
	for listener, want := range map[string]string{"MTA": "<~* 550 5.7.1 <you@elsewhere.example>... Relaying denied", "MSA": "<~* 530 5.7.0 "} {
		if out, err := s.swaks(outside, listener, "you@elsewhere.example"); err == nil || !strings.Contains(out, want) {
			t.Errorf("before the login %s answers\n%s", listener, out)
		}
	}
	s.tool(plainPassword, "user", "add", "--config", s.path("gatepost.toml"), "--password-stdin", "mailman")
	time.Sleep(1100 * time.Millisecond) // accounts are looked at once a second
	for i, listener := range []string{"MSA", "MSA-TLS"} {
		to := fmt.Sprintf("new%d@elsewhere.example", i)
		if out, err := s.swaks(outside, listener, to, auth("PLAIN", "mailman", plainPassword)...); err != nil {
			t.Errorf("with the login %s answers\n%s", listener, out)
		}
		s.arrives(to)
	}
	s.tool("", "user", "delete", "--config", s.path("gatepost.toml"), "mailman")
	time.Sleep(1100 * time.Millisecond)
	if out, err := s.swaks(outside, "MSA", "you@elsewhere.example", auth("PLAIN", "mailman", plainPassword)...); err == nil || !strings.Contains(out, "535 5.7.8 ") {
		t.Errorf("after the account has gone it answers\n%s", out)
	}
	check, err := s.try("", s.path("gatepost"), "check", "--config", s.path("gatepost.toml"))
	if err != nil || !strings.Contains(check, "; no open relay (") || strings.Contains(check, "trust_auth_mech") {
		t.Errorf("gatepost check prints\n%s", check)
	}
}

// TestSwaks logs in with accounts of both kinds over both listeners.
func TestSwaks(t *testing.T) {
	s := realSite(t)
	source := 10
	next := func() string { source++; return fmt.Sprint("127.0.0.", source) }
	for _, listener := range []string{"MSA", "MSA-TLS"} {
		for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"} {
			for _, user := range []string{"joe", "mary"} {
				to := strings.ToLower(user + "-" + mechanism + "-" + listener + "@elsewhere.example")
				if out, err := s.swaks(next(), listener, to, auth(mechanism, user, plainPassword)...); err != nil {
					t.Errorf("%s by %s at %s: %v\n%s", user, mechanism, listener, err, out)
					continue
				}
				s.arrives(to)
			}
			wrong, err := s.swaks(next(), listener, "x@elsewhere.example", auth(mechanism, "joe", "wrong")...)
			unknown, err2 := s.swaks(next(), listener, "x@elsewhere.example", auth(mechanism, "nobody", "wrong")...)
			for what, out := range map[string]string{"a wrong password": wrong, "an unknown name": unknown} {
				if err == nil || err2 == nil || !strings.Contains(out, "535 5.7.8 Authentication credentials invalid") {
					t.Errorf("%s by %s at %s:\n%s", what, mechanism, listener, out)
				}
			}
		}
	}
	out, err := s.try("", "swaks", append([]string{"--server", "127.0.0.1", "--port", s.port("MSA"), "--from", "joe@example.com", "--to", "x@elsewhere.example"},
		auth("PLAIN", "joe", plainPassword)...)...)
	if err == nil || strings.Contains(out, base64.StdEncoding.EncodeToString([]byte("\x00joe\x00"+plainPassword))) {
		t.Errorf("without TLS:\n%s", out)
	}
}

// TestGSASL has GNU SASL as the client; it knows STARTTLS only. Without --no-cb it takes
// no SCRAM but with channel binding where there is TLS.
func TestGSASL(t *testing.T) {
	s := realSite(t)
	for _, mechanism := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"} {
		for _, user := range []string{"joe", "mary"} {
			args := []string{"--smtp", "--connect", s.at("MSA"), "-m", mechanism, "-a", user, "-z", user, "-p", plainPassword, "--x509-ca-file=" + s.path("cert")}
			if strings.HasPrefix(mechanism, "SCRAM") && !strings.HasSuffix(mechanism, "-PLUS") {
				args = append(args, "--no-cb")
			}
			if out, err := s.try("", "gsasl", args...); err != nil || !strings.Contains(out, "235 2.7.0 ") {
				t.Errorf("%s by %s: %v\n%s", user, mechanism, err, out)
			}
		}
	}
	if out, err := s.try("", "gsasl", "--smtp", "--connect", s.at("MSA"), "-m", "SCRAM-SHA-256-PLUS", "-a", "joe", "-z", "joe", "-p", "wrong", "--x509-ca-file="+s.path("cert")); err == nil {
		t.Errorf("with a wrong password:\n%s", out)
	}
}

const pythonClient = `
import smtplib, ssl, sys
host, msa, smtps, ca, password = "127.0.0.1", int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
context = ssl.create_default_context(cafile=ca)
def connect(port):
    if port == smtps:
        s = smtplib.SMTP_SSL(host, port, context=context, local_hostname="client.example")
        s.ehlo()
        return s
    s = smtplib.SMTP(host, port, local_hostname="client.example")
    try:
        s.login("joe", password)
        raise SystemExit("a login without TLS was taken")
    except smtplib.SMTPNotSupportedError:
        pass
    s.starttls(context=context)
    s.ehlo()
    return s
for port in msa, smtps:
    for user in "joe", "mary":
        for mechanism, how in ("PLAIN", "auth_plain"), ("LOGIN", "auth_login"), ("CRAM-MD5", "auth_cram_md5"):
            for initial in True, False:
                s = connect(port)
                s.user, s.password = user, password
                code, said = s.auth(mechanism, getattr(s, how), initial_response_ok=initial)
                assert code == 235, (port, user, mechanism, initial, code, said)
                refused = s.sendmail("joe@example.com", ["python@elsewhere.example"], "Subject: %s\r\n\r\ntext\r\n" % mechanism)
                assert not refused, refused
                s.quit()
    s = connect(port)
    try:
        s.login("joe", "wrong")
        raise SystemExit("a wrong password was taken")
    except smtplib.SMTPAuthenticationError as e:
        assert e.smtp_code == 535, e
`

// TestPython has Python's smtplib as the client.
func TestPython(t *testing.T) {
	s := realSite(t)
	s.runWith(pythonClient, "/usr/bin/python3", "-", s.port("MSA"), s.port("MSA-TLS"), s.path("cert"), plainPassword)
	s.eventually("all arrive", func() bool { return len(s.smart.mail("python@elsewhere.example")) == 24 })
}

// TestOpenSSL types a session into openssl s_client, which checks the certificate.
func TestOpenSSL(t *testing.T) {
	s := realSite(t)
	plain := base64.StdEncoding.EncodeToString([]byte("\x00joe\x00" + plainPassword))
	for listener, args := range map[string][]string{"MSA": {"-starttls", "smtp"}, "MSA-TLS": nil} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "openssl", append([]string{"s_client", "-connect", s.at(listener), "-CAfile", s.path("cert"),
			"-verify_return_error", "-verify_ip", "127.0.0.1", "-quiet"}, args...)...)
		var said bytes.Buffer
		cmd.Stderr = &said
		c := typed(t, cmd)
		if listener == "MSA-TLS" { // with STARTTLS it is for s_client
			c.expect("220 ", "")
		}
		c.expect("250 ", "EHLO client.example")
		c.expect("235 2.7.0 ", "AUTH PLAIN "+plain)
		if got := c.message("joe@example.com", "<openssl@elsewhere.example>"); got[0] != '2' {
			t.Errorf("%s: the message is answered %q; openssl says %s", listener, got, said.String())
		}
		c.expect("221 ", "QUIT")
	}
	s.eventually("both arrive", func() bool { return len(s.smart.mail("openssl@elsewhere.example")) == 2 })
}

// TestPostfix has Postfix with Cyrus SASL as the client.
func TestPostfix(t *testing.T) {
	tag := os.Getenv("GATEPOST_POSTFIX_TAG")
	if tag == "" {
		t.Fatal("GATEPOST_POSTFIX_TAG is not set: see integration/run.sh")
	}
	s := realSite(t)
	script := fmt.Sprintf(`set -eu
postconf -MX smtp/inet
routes=
for listener in MSA:%[2]s:no MSA-TLS:%[3]s:yes; do
  IFS=: read -r name port wrapped <<-END
	$listener
	END
  for mechanism in plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256; do
    way=$name-$mechanism
    postconf -M "$way/unix=$way unix - - n - - smtp -o smtp_sasl_mechanism_filter=$mechanism -o smtp_tls_wrappermode=$wrapped"
    routes="$routes {postfix-$way@elsewhere.example=$way:[127.0.0.1]:$port}"
  done
done
postconf -e 'smtpd_milters =' 'mynetworks = 127.0.0.0/8' inet_interfaces=loopback-only smtp_sasl_auth_enable=yes smtp_sasl_security_options=noanonymous \
  smtp_sasl_password_maps=inline:'{ {127.0.0.1=joe:%[1]s} }' smtp_tls_security_level=encrypt maillog_file=/var/log/postfix.log "transport_maps=inline:{ $routes }"
: >/var/log/postfix.log
postfix start
for to in $(postconf -h transport_maps | grep -o 'postfix-[^=]*'); do
  printf 'Subject: hello\n\ntext\n' | sendmail -f joe@example.com "$to"
done
n=0
until [ "$(grep -c 'to=<postfix-.*status=' /var/log/postfix.log)" -ge 12 ] || [ $n -ge 200 ]; do n=$((n+1)); sleep 0.1; done
cat /var/log/postfix.log
postfix stop`, plainPassword, s.port("MSA"), s.port("MSA-TLS"))
	out := s.runWith("", "docker", "run", "--rm", "--network", "host", "--entrypoint", "/bin/sh", "gatepost-test/postfix:"+tag, "-c", script)
	for _, listener := range []string{"MSA", "MSA-TLS"} {
		for _, mechanism := range []string{"plain", "login", "cram-md5", "digest-md5", "scram-sha-1", "scram-sha-256"} {
			if to := "postfix-" + listener + "-" + mechanism + "@elsewhere.example"; !regexp.MustCompile(`to=<` + to + `>.* status=sent`).MatchString(out) {
				t.Errorf("%s: postfix says\n%s", to, out)
			} else {
				s.arrives(to)
			}
		}
	}
}

// TestHydra: however fast somebody guesses, five a minute are looked at.
func TestHydra(t *testing.T) {
	t.Parallel()
	s := realSite(t)
	const guesses = 600
	var list strings.Builder
	for i := range guesses {
		fmt.Fprintf(&list, "guess%d\n", i)
	}
	fmt.Fprintln(&list, plainPassword)
	s.write("passwords", list.String())
	start := time.Now()
	out, err := s.try("", "hydra", "-I", "-q", "-t", "16", "-l", "joe", "-P", s.path("passwords"), "-s", s.port("MSA-TLS"), "-S", "127.0.0.1", "smtp")
	minutes := int(time.Since(start)/time.Minute) + 1
	if err != nil && !strings.Contains(out, "0 valid password") {
		t.Errorf("hydra: %v", err)
	}
	if strings.Contains(out, "login: joe") {
		t.Errorf("hydra has found the password:\n%s", out)
	}
	checks, throttled := s.metric("gatepost_relay_auth_checks_total"), s.metric(`gatepost_relay_auth_total{mechanism="LOGIN",result="throttled"}`)
	if checks == 0 || checks > 5*minutes || throttled < guesses-5*minutes-100 {
		t.Errorf("in %d minutes there were %d checks, and %d of %d guesses were refused without one; hydra says\n%.2000s", minutes, checks, throttled, guesses, out)
	}
}

// TestTestssl: testssl.sh has nothing worse to say than that the certificate is signed
// by itself.
func TestTestssl(t *testing.T) {
	t.Parallel()
	s := realSite(t)
	for listener, args := range map[string][]string{"MSA": {"-t", "smtp"}, "MSA-TLS": nil} {
		t.Run(listener, func(t *testing.T) {
			t.Parallel()
			report := filepath.Join(t.TempDir(), "report.json")
			cmd := exec.CommandContext(t.Context(), "testssl", append(append([]string{"--quiet", "--color", "0", "--warnings", "batch", "--ip", "one",
				"-p", "-s", "-f", "-P", "-S", "-U", "--jsonfile", report}, args...), s.at(listener))...)
			out, err := cmd.CombinedOutput()
			data, readErr := os.ReadFile(report)
			if readErr != nil {
				t.Fatalf("testssl: %v, %v\n%s", err, readErr, out)
			}
			var findings []struct{ ID, Severity, Finding string }
			if err := json.Unmarshal(data, &findings); err != nil {
				t.Fatalf("%v in\n%s", err, data)
			}
			seen := map[string]string{}
			for _, f := range findings {
				seen[f.ID] = f.Finding
				selfSigned := f.ID == "cert_chain_of_trust" || f.ID == "cert_revocation"
				switch f.Severity {
				case "MEDIUM", "HIGH", "CRITICAL", "FATAL":
					if !selfSigned {
						t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
					}
				}
			}
			for _, want := range []string{"TLS1", "TLS1_2", "TLS1_3", "heartbleed", "ROBOT", "secure_renego", "LUCKY13"} {
				if seen[want] == "" {
					t.Errorf("testssl has not looked at %s; it says\n%s", want, out)
				}
			}
			if !strings.HasPrefix(seen["TLS1_3"], "offered") || !strings.HasPrefix(seen["TLS1"], "not offered") {
				t.Errorf("TLS 1.3 is %q, TLS 1.0 %q", seen["TLS1_3"], seen["TLS1"])
			}
		})
	}
}
