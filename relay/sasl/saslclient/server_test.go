package saslclient_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gatepost/maps/bdb"
	"gatepost/relay/sasl"
	"gatepost/relay/sasl/saslclient"
	"gatepost/relay/sasl/sasldb"
	"gatepost/relay/sasl/users"
)

const host = "mail.example.com"

// The accounts in a file of verifiers, and those in a sasldb, with their passwords.
var verified = map[string]string{"joe": "secret of joe", "comma": `a,b=c "d\e`, "Jörg": "naïve pässwörd", "prep": "I\u00adX \u2168"}
var stored = map[string]string{"old": "secret of old", "quo\"te": `a,"b\c`, "eq=,": "=,", "späť": "Łódź", "latin": "naïve"}

func newServer(t testing.TB) *sasl.Server {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	for name, password := range verified {
		prepared, err := sasl.PreparePassword(password)
		if err != nil {
			t.Fatal(err)
		}
		o := users.Options{Iterations: sasl.MinIterations, SHA1: true, MD5: true, Realms: []string{host}}
		if err := users.Add(context.Background(), path, name, prepared, o); err != nil {
			t.Fatal(err)
		}
	}
	own, err := users.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var records []bdb.Record
	for name, password := range stored {
		records = append(records, bdb.Record{Key: []byte(name + "\x00" + host + "\x00userPassword"), Value: []byte(password)})
	}
	var file bytes.Buffer
	if err := bdb.Write(&file, bdb.Hash, records, bdb.Options{}); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "sasldb2")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cyrus, err := sasldb.Open(path, []string{host}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sasl.NewServer(sasl.Config{HostName: host, Mechanisms: sasl.Mechanisms(), Accounts: []sasl.Accounts{own, cyrus},
		Throttle: sasl.Throttle{Source: 10000, Network: 10000, Account: 10000}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ends is both ends of a TLS connection.
func ends(t testing.TB, version uint16) (client *tls.ConnectionState, server *sasl.Conn) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ours := tls.Client(a, &tls.Config{InsecureSkipVerify: true})
	theirs := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: version, SessionTicketsDisabled: true})
	failed := make(chan error, 1)
	go func() { failed <- theirs.Handshake() }()
	if err := errors.Join(ours.Handshake(), <-failed); err != nil {
		t.Fatal(err)
	}
	mine, its := ours.ConnectionState(), theirs.ConnectionState()
	return &mine, &sasl.Conn{Client: netip.MustParseAddr("192.0.2.1"), TLS: &its, Certificate: leaf, Identity: "joe", PlainOK: true}
}

// login runs a dialogue as two SMTP programs do, and returns who the server has let in.
func login(s *sasl.Server, conn *sasl.Conn, m saslclient.Mechanism) (string, error) {
	ctx := context.Background()
	x, err := s.Begin(ctx, m.Name(), conn)
	if err != nil {
		return "", err
	}
	response, given, err := m.Start(ctx)
	if err != nil {
		return "", fmt.Errorf("client: %w", err)
	}
	for range 5 {
		challenge, done, err := x.Next(ctx, response, given)
		if err != nil {
			return "", err
		}
		if !done || len(challenge) > 0 {
			if response, err = m.Next(ctx, challenge); err != nil {
				return "", fmt.Errorf("client: %w", err)
			}
		}
		if done {
			if len(challenge) > 0 && len(response) > 0 {
				return "", errors.New("the client goes on")
			}
			return x.User(), m.Done()
		}
		given = true
	}
	return "", errors.New("the dialogue does not end")
}

// TestEveryMechanism: each mechanism of our server, with each password that it can have.
func TestEveryMechanism(t *testing.T) {
	s := newServer(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cs, conn := ends(t, version)
		for _, name := range sasl.Mechanisms() {
			if version == tls.VersionTLS12 && !strings.HasSuffix(name, "-PLUS") {
				continue // nothing else depends on it
			}
			for _, accounts := range []map[string]string{verified, stored} {
				for user, password := range accounts {
					if password == verified["prep"] && (name == sasl.CRAMMD5 || name == sasl.DigestMD5) {
						continue // these have no SASLprep: the table has the prepared form then
					}
					c := &saslclient.Credentials{User: user, Password: password, Mechanisms: []string{name}}
					m, err := saslclient.Choose(c, s.Offered(conn), host, cs)
					if err != nil || m.Name() != name {
						t.Fatalf("%s: %v", name, err)
					}
					want := user
					if name == sasl.External {
						want = "joe"
					}
					if who, err := login(s, conn, m); who != want || err != nil {
						t.Errorf("%s %s %s: user %q, error %v", tls.VersionName(version), name, user, who, err)
					}
					c.Password += "x"
					if m, _ = saslclient.Choose(c, s.Offered(conn), host, cs); name == sasl.External {
						continue
					}
					if who, err := login(s, conn, m); who != "" || !errors.Is(err, sasl.ErrFailed) {
						t.Errorf("%s %s with a wrong password: user %q, error %v", name, user, who, err)
					}
				}
			}
		}
	}
}

// TestStrongest: without a list the best that is offered and fits is used.
func TestStrongest(t *testing.T) {
	s := newServer(t)
	cs, conn := ends(t, tls.VersionTLS13)
	offered := s.Offered(conn)
	var got []string
	for len(offered) > 0 {
		m, err := saslclient.Choose(&saslclient.Credentials{User: "joe", Password: "secret of joe"}, offered, host, cs)
		if err != nil {
			break
		}
		got = append(got, m.Name())
		offered = slices.DeleteFunc(offered, func(name string) bool { return name == m.Name() })
	}
	want := []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "CRAM-MD5", "PLAIN", "LOGIN"}
	if !slices.Equal(got, want) || !slices.Equal(offered, []string{"EXTERNAL"}) {
		t.Errorf("chosen %q, left %q", got, offered)
	}
}

// TestDowngrade: a server that offers -PLUS finds out that somebody has taken it away;
// our own choice of another mechanism is none of that.
func TestDowngrade(t *testing.T) {
	s := newServer(t)
	cs, conn := ends(t, tls.VersionTLS13)
	c := &saslclient.Credentials{User: "joe", Password: "secret of joe", Mechanisms: []string{"SCRAM-SHA-256"}}
	m, err := saslclient.Choose(c, []string{"SCRAM-SHA-256"}, host, cs)
	if err != nil {
		t.Fatal(err)
	}
	if who, err := login(s, conn, m); who != "" || err != sasl.ErrFailed {
		t.Errorf("stripped: user %q, error %v", who, err)
	}
	if m, err = saslclient.Choose(c, s.Offered(conn), host, cs); err != nil {
		t.Fatal(err)
	}
	if who, err := login(s, conn, m); who != "joe" || err != nil {
		t.Errorf("listed: user %q, error %v", who, err)
	}
	other, _ := ends(t, tls.VersionTLS13)
	c.Mechanisms = []string{"SCRAM-SHA-256-PLUS"}
	if m, err = saslclient.Choose(c, s.Offered(conn), host, other); err != nil {
		t.Fatal(err)
	}
	if who, err := login(s, conn, m); who != "" || err != sasl.ErrFailed {
		t.Errorf("another connection: user %q, error %v", who, err)
	}
}

func TestChoose(t *testing.T) {
	token := func(context.Context, bool) (string, error) { return "t", nil }
	password := saslclient.Credentials{User: "joe", Password: "x"}
	with := func(c saslclient.Credentials, f func(*saslclient.Credentials)) saslclient.Credentials {
		f(&c)
		return c
	}
	clear := with(password, func(c *saslclient.Credentials) { c.AllowClear = true })
	oauth := saslclient.Credentials{User: "joe", Token: token}
	list := with(password, func(c *saslclient.Credentials) { c.Mechanisms = []string{"login", "PLAIN"} })
	only := with(password, func(c *saslclient.Credentials) { c.Mechanisms = []string{"EXTERNAL"} })
	secured := &tls.ConnectionState{}
	for _, tc := range []struct {
		name    string
		c       saslclient.Credentials
		offered string
		cs      *tls.ConnectionState
		want    string
	}{
		{"in clear", password, "SCRAM-SHA-256 CRAM-MD5 PLAIN", nil, ""},
		{"in clear, token", oauth, "XOAUTH2", nil, ""},
		{"in clear, allowed", clear, "CRAM-MD5 PLAIN", nil, "CRAM-MD5"},
		{"TLS", password, "LOGIN PLAIN", secured, "PLAIN"},
		{"names in lower case", password, "login plain", secured, "PLAIN"},
		{"list's order", list, "CRAM-MD5 PLAIN LOGIN", secured, "LOGIN"},
		{"not in the list", list, "CRAM-MD5", secured, ""},
		{"token", oauth, "LOGIN PLAIN XOAUTH2", secured, "XOAUTH2"},
		{"token, standard", oauth, "XOAUTH2 OAUTHBEARER", secured, "OAUTHBEARER"},
		{"no token", password, "XOAUTH2", secured, ""},
		{"token is no password", oauth, "PLAIN CRAM-MD5", secured, ""},
		{"external", only, "EXTERNAL PLAIN", secured, "EXTERNAL"},
		{"external not listed", password, "EXTERNAL", secured, ""},
		{"external without TLS", with(only, func(c *saslclient.Credentials) { c.AllowClear = true }), "EXTERNAL", nil, ""},
		{"binding without TLS", clear, "SCRAM-SHA-256-PLUS", nil, ""},
		{"unknown", password, "GSSAPI NTLM", secured, ""},
		{"nothing", password, "", secured, ""},
	} {
		m, err := saslclient.Choose(&tc.c, strings.Fields(tc.offered), host, tc.cs)
		switch {
		case tc.want == "" && (!errors.Is(err, saslclient.ErrNoMechanism) || m != nil):
			t.Errorf("%s: mechanism %v, error %v", tc.name, m, err)
		case tc.want != "" && (err != nil || m.Name() != tc.want):
			t.Errorf("%s: mechanism %v, error %v, want %s", tc.name, m, err, tc.want)
		}
	}
}
