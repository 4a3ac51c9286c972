//go:build integration

package ldap

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatepost/maps/internal/credentials"
	"gatepost/maps/internal/credentials/credentialstest"
)

// The classes and attributes of sendmail's schema that a table needs, under numbers of our own.
const schema = `
attributetype ( 1.3.6.1.4.1.99999.1.1 NAME 'sendmailMTACluster' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( 1.3.6.1.4.1.99999.1.2 NAME 'sendmailMTAHost' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( 1.3.6.1.4.1.99999.1.3 NAME 'sendmailMTAMapName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.99999.1.4 NAME 'sendmailMTAKey' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.99999.1.5 NAME 'sendmailMTAMapValue' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.3.6.1.4.1.99999.2.1 NAME 'sendmailMTAMapObject' SUP top STRUCTURAL MUST ( sendmailMTAMapName $ sendmailMTAKey )
	MAY ( sendmailMTACluster $ sendmailMTAHost $ sendmailMTAMapValue $ description ) )
`

// Who may see what: the table everyone, ou=private the user alone.
const database = `
include /etc/ldap/schema/core.schema
include %[1]s/sendmail.schema
pidfile %[1]s/pid
%[2]s
database ldif
suffix "dc=example,dc=com"
rootdn "cn=root,dc=example,dc=com"
rootpw rootsecret
directory %[1]s/data
access to attrs=userPassword by anonymous auth
access to dn.subtree="ou=private,dc=example,dc=com" by dn.exact="cn=gatepost,dc=example,dc=com" read
access to * by * read
`

const organisation = `
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=access,dc=example,dc=com
objectClass: organizationalUnit
ou: access

dn: ou=private,dc=example,dc=com
objectClass: organizationalUnit
ou: private

dn: cn=gatepost,dc=example,dc=com
objectClass: person
cn: gatepost
sn: gatepost
userPassword: s3cr3t

dn: ou=far,dc=example,dc=com
objectClass: referral
objectClass: extensibleObject
ou: far
ref: ldap://127.0.0.1:1/ou=far,dc=example,dc=com
`

// A server is a real slapd with its files in a directory of the test.
type server struct {
	t      *testing.T
	dir    string
	port   int
	scheme string // of the port: ldap or ldaps
	cmd    *exec.Cmd
	ending chan error
	n      int
}

func start(t *testing.T, options string) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: t.TempDir(), scheme: "ldap", port: l.Addr().(*net.TCPAddr).Port}
	l.Close()
	s.write("sendmail.schema", schema)
	s.write("slapd.conf", fmt.Sprintf(database, s.dir, options))
	if err := os.Mkdir(filepath.Join(s.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.command("/usr/sbin/slapadd", "-f", filepath.Join(s.dir, "slapd.conf"), "-l", s.write("organisation", organisation))
	s.run()
	t.Cleanup(s.kill)
	return s
}

func (s *server) write(name, text string) string {
	s.t.Helper()
	name = filepath.Join(s.dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

func (s *server) command(name string, args ...string) {
	s.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

func (s *server) socket() string { return filepath.Join(s.dir, "ldapi") }

func (s *server) run() {
	s.t.Helper()
	s.cmd = exec.Command("/usr/sbin/slapd", "-d", "0", "-f", filepath.Join(s.dir, "slapd.conf"),
		"-h", "ldapi://"+url.QueryEscape(s.socket())+" "+s.scheme+"://127.0.0.1:"+strconv.Itoa(s.port))
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ending = make(chan error, 1)
	go func(cmd *exec.Cmd) { s.ending <- cmd.Wait() }(s.cmd)
	for range 200 {
		if c, err := net.Dial("unix", s.socket()); err == nil {
			c.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Fatal("slapd does not start")
}

func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.ending
	s.ending <- nil
	os.Remove(s.socket())
}

// entry is an entry of a table in LDIF; what may be anything is in base64.
func (s *server) entry(under, key string, values ...string) string {
	s.n++
	text := fmt.Sprintf("\ndn: description=%d,ou=%s,dc=example,dc=com\nobjectClass: sendmailMTAMapObject\n"+
		"description: %d\nsendmailMTAMapName: access\nsendmailMTACluster: mx\nsendmailMTAKey:: %s\n", s.n, under, s.n, base64.StdEncoding.EncodeToString([]byte(key)))
	for _, v := range values {
		text += "sendmailMTAMapValue:: " + base64.StdEncoding.EncodeToString([]byte(v)) + "\n"
	}
	return text
}

func (s *server) change(ldif string) {
	s.t.Helper()
	s.command("ldapmodify", "-a", "-x", "-H", "ldapi://"+url.QueryEscape(s.socket()), "-D", "cn=root,dc=example,dc=com", "-w", "rootsecret",
		"-f", s.write("change.ldif", ldif))
}

func (s *server) config() Config {
	return Config{URL: fmt.Sprintf("ldap://127.0.0.1:%d", s.port), BaseDN: "ou=access,dc=example,dc=com", Filter: SendmailFilter("access", "mx", "")}
}

func lookup(t *testing.T, c *Client, key, want string, found bool) {
	t.Helper()
	got, ok, err := c.Lookup(context.Background(), key)
	if err != nil || ok != found || got != want {
		t.Errorf("Lookup(%q) = %q, %v, %v, want %q, %v", key, got, ok, err, want, found)
	}
}

func fails(t *testing.T, c *Client, key, say string) {
	t.Helper()
	got, ok, err := c.Lookup(context.Background(), key)
	if err == nil || ok || got != "" || !strings.Contains(err.Error(), say) {
		t.Errorf("Lookup(%q) = %q, %v, %v, want an error that says %q", key, got, ok, err, say)
	}
}

func TestRealTable(t *testing.T) {
	s := start(t, "")
	s.change(s.entry("access", "From:spam.example", "REJECT") + s.entry("access", "Connect:192.0.2.1", "550 5.7.1 schön") +
		s.entry("access", "nothing") + s.entry("access", "twice", "a") + s.entry("access", "twice", "b"))
	for _, url := range []string{s.config().URL, "ldapi://" + s.socket(), "ldapi://" + url.QueryEscape(s.socket())} {
		cfg := s.config()
		cfg.URL = url
		c := client(t, cfg)
		lookup(t, c, "From:spam.example", "REJECT", true)
		lookup(t, c, "Connect:192.0.2.1", "550 5.7.1 schön", true)
		lookup(t, c, "nothing", "", false)
		lookup(t, c, "absent", "", false)
		lookup(t, c, "", "", false)
	}
	cfg := s.config()
	cfg.SingleMatch = true
	lookup(t, client(t, cfg), "twice", "", false)
	if got, found, err := client(t, s.config()).Lookup(context.Background(), "twice"); (got != "a" && got != "b") || !found || err != nil {
		t.Errorf("first of two: %q, %v, %v", got, found, err)
	}
	other := s.config()
	other.Filter = SendmailFilter("access", "other", "host")
	lookup(t, client(t, other), "From:spam.example", "", false)
	scope := s.config()
	scope.Scope = "base"
	lookup(t, client(t, scope), "From:spam.example", "", false)
	c := client(t, s.config())
	lookup(t, c, "late", "", false)
	s.change(s.entry("access", "late", "OK"))
	lookup(t, c, "late", "OK", true)
}

// Keys with characters that mean something in a filter ask for themselves alone.
func TestRealSpecialKeys(t *testing.T) {
	s := start(t, "")
	keys := []string{"*", "(", ")", `\`, "a*b", "a(b)c", `a\2ab`, "%0", "%s", "%%", "a\x00b", "*)(sendmailMTAKey=*", "ü@example", "a=b,c+d;e<f>g#h", "!&|~", "x:=y"}
	ldif := s.entry("access", "decoy", "WRONG") + s.entry("access", "axb", "WRONG")
	for i, key := range keys {
		ldif += s.entry("access", key, fmt.Sprintf("value %d", i))
	}
	s.change(ldif)
	for _, placeholder := range []string{"%0", "%s"} {
		cfg := s.config()
		cfg.Filter = strings.ReplaceAll(cfg.Filter, "%0", placeholder)
		c := client(t, cfg)
		for i, key := range keys {
			lookup(t, c, key, fmt.Sprintf("value %d", i), true)
		}
		for _, key := range []string{"d*", "decoy)", "(decoy", "**", "\x00", "\xff\xfe", "d\xc3", "*)(|(sendmailMTAKey=decoy", "a?b", `\2a`, "%1", strings.Repeat("x", 5000)} {
			lookup(t, c, key, "", false)
		}
	}
}

func TestRealErrors(t *testing.T) {
	s := start(t, "sizelimit 2\n")
	ldif := ""
	for range 5 {
		ldif += s.entry("access", "many", "a") + s.entry("access", "none")
	}
	s.change(ldif + s.entry("private", "secret", "OK"))
	with := func(change func(*Config)) *Client {
		cfg := s.config()
		change(&cfg)
		return client(t, cfg)
	}
	fails(t, with(func(c *Config) { c.BaseDN = "ou=nowhere,dc=example,dc=com" }), "a", "No Such Object (32)")
	fails(t, with(func(c *Config) { c.BaseDN = "dc=elsewhere" }), "a", "(32)")
	fails(t, with(func(c *Config) { c.BaseDN = "ou=far,dc=example,dc=com" }), "a", "Referral (10)")
	fails(t, with(func(c *Config) { c.BaseDN = "dc=example,dc=com" }), "absent", "referrals are not followed")
	lookup(t, client(t, s.config()), "many", "a", true)
	fails(t, client(t, s.config()), "none", "(4)")

	private := func(c *Config) { c.BaseDN = "ou=private,dc=example,dc=com" }
	lookup(t, with(private), "secret", "", false) // a directory does not tell what it hides
	bound := func(user, password string) *Client {
		return with(func(c *Config) {
			private(c)
			c.BindDN, c.PasswordFile = user, s.write("password", password+"\n")
		})
	}
	lookup(t, bound("cn=gatepost,dc=example,dc=com", "s3cr3t"), "secret", "OK", true)
	fails(t, bound("cn=gatepost,dc=example,dc=com", "wrong"), "secret", "Invalid Credentials (49)")
	fails(t, bound("cn=nobody,dc=example,dc=com", "s3cr3t"), "secret", "(49)")

	long := client(t, s.config())
	s.change(s.entry("access", "long", strings.Repeat("x", 70000)))
	fails(t, long, "long", "longer than 64 KiB")
	lookup(t, long, "many", "a", true)
}

func TestRealTLS(t *testing.T) {
	made, other := credentialstest.Make(t), credentialstest.Make(t)
	s := start(t, fmt.Sprintf("TLSCACertificateFile %s\nTLSCertificateFile %s\nTLSCertificateKeyFile %s\nsecurity tls=1\n", made.CAFile, made.CertFile, made.KeyFile))
	with := func(host string, starts bool, tls credentials.TLS) *Client {
		cfg := s.config()
		cfg.URL, cfg.StartTLS, cfg.TLS = fmt.Sprintf("ldap://%s:%d", host, s.port), starts, tls
		return client(t, cfg)
	}
	lookup(t, with("localhost", true, credentials.TLS{CAFile: made.CAFile}), "absent", "", false)
	lookup(t, with("127.0.0.1", true, made), "absent", "", false)
	fails(t, with("localhost", false, credentials.TLS{}), "absent", "(13)")
	fails(t, with("localhost", true, credentials.TLS{}), "absent", "TLS: ")
	fails(t, with("localhost", true, credentials.TLS{CAFile: other.CAFile}), "absent", "TLS: ")
	fails(t, with("127.0.0.2", true, credentials.TLS{CAFile: made.CAFile}), "absent", "")
}

func TestRealLdaps(t *testing.T) {
	made := credentialstest.Make(t)
	s := start(t, fmt.Sprintf("TLSCACertificateFile %s\nTLSCertificateFile %s\nTLSCertificateKeyFile %s\n", made.CAFile, made.CertFile, made.KeyFile))
	s.change(s.entry("access", "a", "OK"))
	s.kill()
	s.scheme = "ldaps"
	s.run()
	cfg := s.config()
	cfg.URL, cfg.TLS = fmt.Sprintf("ldaps://localhost:%d", s.port), credentials.TLS{CAFile: made.CAFile}
	lookup(t, client(t, cfg), "a", "OK", true)
	cfg.TLS = credentials.TLS{}
	fails(t, client(t, cfg), "a", "unknown authority")
}

func TestRealRestart(t *testing.T) {
	s := start(t, "")
	s.change(s.entry("access", "a", "OK"))
	c := client(t, s.config())
	lookup(t, c, "a", "OK", true)
	s.kill()
	fails(t, c, "a", "connection refused")
	s.run()
	lookup(t, c, "a", "OK", true)
	s.kill()
	s.run()
	lookup(t, c, "a", "OK", true)
	for range 3 { // a server that is told to end, as a package upgrade does
		s.command("kill", "-TERM", strconv.Itoa(s.cmd.Process.Pid))
		<-s.ending
		s.ending <- nil
		s.run()
		lookup(t, c, "a", "OK", true)
	}
}

// slapd that is stopped keeps its connections and answers nothing.
func TestRealServerHangs(t *testing.T) {
	s := start(t, "")
	cfg := s.config()
	cfg.Timeout = time.Second
	c := client(t, cfg)
	lookup(t, c, "a", "", false)
	s.command("kill", "-STOP", strconv.Itoa(s.cmd.Process.Pid))
	fails(t, c, "a", "no answer in time")
	s.command("kill", "-CONT", strconv.Itoa(s.cmd.Process.Pid))
	lookup(t, c, "a", "", false)
}

// A server that closes idle connections, as many do.
func TestRealIdleTimeout(t *testing.T) {
	s := start(t, "idletimeout 1\n")
	s.change(s.entry("access", "a", "OK"))
	c := client(t, s.config())
	for range 3 {
		lookup(t, c, "a", "OK", true)
		time.Sleep(2500 * time.Millisecond)
	}
}

func TestRealMany(t *testing.T) {
	s := start(t, "")
	ldif := ""
	for i := range 100 {
		ldif += s.entry("access", fmt.Sprintf("host%d.example", i), strconv.Itoa(i))
	}
	s.change(ldif)
	c := client(t, s.config())
	done := make(chan struct{})
	for w := range 20 {
		go func() {
			for i := range 50 {
				n := (w*50 + i) % 110
				lookup(t, c, fmt.Sprintf("host%d.example", n), map[bool]string{true: strconv.Itoa(n)}[n < 100], n < 100)
			}
			done <- struct{}{}
		}()
	}
	for range 20 {
		<-done
	}
	if n := len(c.idle); n == 0 || n > 8 {
		t.Errorf("%d connections are kept, want 1 to 8", n)
	}
}
