//go:build integration

package sasl_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatepost/relay/sasl"
	"gatepost/relay/sasl/sasldb"
)

// front speaks as much SMTP as AUTH needs.
type front struct {
	t    *testing.T
	sasl *sasl.Server
	cert tls.Certificate
	port string
	who  chan string // "MECHANISM user" of each login
}

func newFront(t *testing.T, s *sasl.Server) *front {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour), NotBefore: time.Now().Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	f := &front{t: t, sasl: s, cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, who: make(chan string, 10)}
	_, f.port, _ = net.SplitHostPort(ln.Addr().String())
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go f.serve(c)
		}
	}()
	return f
}

func (f *front) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	conn := &sasl.Conn{Client: netip.MustParseAddr("127.0.0.1"), Local: netip.MustParseAddr("127.0.0.1"), PlainOK: true}
	r := bufio.NewReader(c)
	say := func(s string) { fmt.Fprintf(c, "%s\r\n", s) }
	say("220 " + host + " ESMTP")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			return
		}
		switch strings.ToUpper(words[0]) {
		case "EHLO":
			say("250-" + host)
			if conn.TLS == nil {
				say("250-STARTTLS")
			}
			say("250 AUTH " + strings.Join(f.sasl.Offered(conn), " "))
		case "STARTTLS":
			say("220 go")
			secured := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{f.cert}})
			if err := secured.Handshake(); err != nil {
				return
			}
			state := secured.ConnectionState()
			leaf, _ := x509.ParseCertificate(f.cert.Certificate[0])
			conn.TLS, conn.Certificate = &state, leaf
			c, r = secured, bufio.NewReader(secured)
		case "AUTH":
			f.auth(conn, r, say, words[1:])
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 fine")
		}
	}
}

func (f *front) auth(conn *sasl.Conn, r *bufio.Reader, say func(string), args []string) {
	x, err := f.sasl.Begin(context.Background(), args[0], conn)
	if err != nil {
		say("504 " + err.Error())
		return
	}
	var response []byte
	given := len(args) > 1
	if given {
		response, _ = base64.StdEncoding.DecodeString(strings.TrimPrefix(args[1], "="))
	}
	for {
		challenge, done, err := x.Next(context.Background(), response, given)
		if err != nil {
			say("535 " + err.Error())
			return
		}
		if done && len(challenge) == 0 {
			break
		}
		say("334 " + base64.StdEncoding.EncodeToString(challenge))
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		response, err = base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if done && err == nil && len(response) == 0 {
			break
		}
		if done || err != nil {
			say("501 what?")
			return
		}
		given = true
	}
	f.who <- x.Mechanism() + " " + x.User()
	say("235 welcome")
}

// expect runs a client and tells whether it is satisfied and who has logged in.
func (f *front) expect(t *testing.T, want string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", name, err)
	}
	select {
	case who := <-f.who:
		if who != want || err != nil {
			t.Errorf("%s %q: %q has logged in, want %q; error %v\n%s", name, args, who, want, err, out)
		}
	default:
		if want != "" || err == nil {
			t.Errorf("%s %q: nobody has logged in, want %q; error %v\n%s", name, args, want, err, out)
		}
	}
}

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if unpacked := filepath.Join(os.Getenv("GATEPOST_PEERS"), "usr/bin", name); err != nil {
		path, err = exec.LookPath(unpacked)
	}
	if err != nil {
		t.Fatalf("%v: install it with apt-get, or see integration/peers.sh", err)
	}
	return path
}

// realFile has been made by saslpasswd2 just now.
func realFile(t *testing.T) *sasldb.Accounts {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sasldb2")
	for user, password := range map[string]string{"old": "secret of old", "quo\"te": `a,"b\c`, "comma": `a,"b\c`} {
		cmd := exec.CommandContext(t.Context(), tool(t, "saslpasswd2"), "-p", "-c", "-f", path, "-u", host, user)
		cmd.Stdin = strings.NewReader(password)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	a, err := sasldb.Open(path, []string{host}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestGsasl(t *testing.T) {
	gsasl := tool(t, "gsasl")
	f := newFront(t, newServer(t, sasl.Config{}, ownFile(t), realFile(t)))
	run := func(want, mechanism, user, password string, more ...string) {
		t.Helper()
		if !slices.Contains(more, "--starttls") {
			more = append(more, "--no-starttls")
		}
		args := append([]string{"--smtp", "--connect=127.0.0.1:" + f.port, "--hostname=" + host, "--realm=" + host, "--x509-ca-file=", "--quality-of-protection=qop-auth",
			"-d", "-m", mechanism, "-a", user, "-p", password}, more...)
		cmd := append([]string{"-c", `exec "$@" </dev/null`, "sh", gsasl}, args...)
		f.expect(t, want, "sh", cmd...)
	}
	for _, mechanism := range passwordMechanisms {
		for _, user := range []string{"joe", "old"} {
			run(mechanism+" "+user, mechanism, user, "secret of "+user)
			run("", mechanism, user, "wrong")
		}
		if mechanism != sasl.DigestMD5 { // there it sends the quotation mark as it is
			run(mechanism+" quo\"te", mechanism, "quo\"te", `a,"b\c`)
		}
		run(mechanism+" comma", mechanism, "comma", `a,"b\c`)
		run("", mechanism, "nobody", "secret of joe")
	}
	run("DIGEST-MD5 joe", sasl.DigestMD5, "joe", "secret of joe", "-z", "joe")
	run("", sasl.DigestMD5, "joe", "secret of joe", "-z", "old")
	run("", sasl.DigestMD5, "joe", "secret of joe", "--realm=other.example")
	run("", sasl.DigestMD5, "joe", "secret of joe", "--service=imap")
	run("SCRAM-SHA-256 joe", sasl.SCRAMSHA256, "joe", "secret of joe", "-z", "joe")
	run("", sasl.SCRAMSHA256, "joe", "secret of joe", "-z", "old")
	for _, mechanism := range []string{sasl.SCRAMSHA1Plus, sasl.SCRAMSHA256Plus} {
		run(mechanism+" joe", mechanism, "joe", "secret of joe", "--starttls")
		run("", mechanism, "joe", "wrong", "--starttls")
	}
	run("SCRAM-SHA-256 joe", sasl.SCRAMSHA256, "joe", "secret of joe", "--starttls", "--no-cb")
}

func TestSwaks(t *testing.T) {
	swaks := tool(t, "swaks")
	f := newFront(t, newServer(t, sasl.Config{}, ownFile(t), realFile(t)))
	for _, mechanism := range []string{sasl.Plain, sasl.Login, sasl.CRAMMD5, sasl.DigestMD5} {
		for user, password := range map[string]string{"joe": "secret of joe", "old": "wrong"} {
			want := ""
			if user == "joe" {
				want = mechanism + " joe"
			}
			args := []string{"--server", "127.0.0.1", "--port", f.port, "--auth", mechanism, "--auth-user", user, "--auth-password", password, "--quit-after", "AUTH"}
			if mechanism == sasl.DigestMD5 {
				args = append(args, "--auth-extra", "realm="+host+",digest-uri=smtp/"+host)
			}
			f.expect(t, want, swaks, args...)
		}
	}
}

func TestSmtplib(t *testing.T) {
	python := tool(t, "python3")
	f := newFront(t, newServer(t, sasl.Config{Mechanisms: []string{sasl.Plain, sasl.Login, sasl.CRAMMD5}}, ownFile(t), realFile(t)))
	script := filepath.Join(t.TempDir(), "login.py")
	if err := os.WriteFile(script, []byte(`import smtplib, ssl, sys
port, mechanism, user, password, initial = sys.argv[1:]
s = smtplib.SMTP("127.0.0.1", int(port), timeout=20)
s.starttls(context=ssl._create_unverified_context())
s.ehlo()
s.user, s.password = user, password
s.auth(mechanism, getattr(s, "auth_" + mechanism.lower().replace("-", "_")), initial_response_ok=initial == "yes")
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mechanism := range []string{sasl.Plain, sasl.Login, sasl.CRAMMD5} {
		for _, initial := range []string{"yes", "no"} {
			f.expect(t, mechanism+" joe", python, script, f.port, mechanism, "joe", "secret of joe", initial)
			f.expect(t, mechanism+" old", python, script, f.port, mechanism, "old", "secret of old", initial)
			f.expect(t, "", python, script, f.port, mechanism, "old", "wrong", initial)
		}
	}
}
