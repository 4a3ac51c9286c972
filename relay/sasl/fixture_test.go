package sasl_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"gatepost/maps/bdb"
	"gatepost/relay/sasl"
	"gatepost/relay/sasl/sasldb"
	"gatepost/relay/sasl/users"
)

const host = "mail.example.com"

var somewhere = netip.MustParseAddr("192.0.2.1")

// secure is a connection with TLS, as far as PLAIN wants to know.
func secure() *sasl.Conn {
	return &sasl.Conn{Client: somewhere, TLS: &tls.ConnectionState{}}
}

// ownFile has joe with all secrets, at few iterations, and ann with SCRAM-SHA-256 only.
func ownFile(t testing.TB) *users.Accounts {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	all := users.Options{Iterations: sasl.MinIterations, SHA1: true, MD5: true, Realms: []string{host}}
	for name, o := range map[string]users.Options{"joe": all, "ann": {Iterations: sasl.MinIterations}} {
		if err := users.Add(context.Background(), path, name, "secret of "+name, o); err != nil {
			t.Fatal(err)
		}
	}
	a, err := users.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// cyrusFile has old and, in another realm, far.
func cyrusFile(t testing.TB) *sasldb.Accounts {
	t.Helper()
	a, err := sasldb.Open(writeDB(t, "old\x00"+host+"\x00userPassword", "secret of old",
		"old\x00"+host+"\x00cmusaslsecretPLAIN", "\x00\x01", "far\x00far.example\x00userPassword", "secret of far"), []string{host}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func writeDB(t testing.TB, pairs ...string) string {
	t.Helper()
	var records []bdb.Record
	for i := 0; i < len(pairs); i += 2 {
		records = append(records, bdb.Record{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	var file bytes.Buffer
	if err := bdb.Write(&file, bdb.Hash, records, bdb.Options{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "sasldb2")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newServer offers all mechanisms unless cfg says otherwise, and lets anybody fail often.
func newServer(t testing.TB, cfg sasl.Config, accounts ...sasl.Accounts) *sasl.Server {
	t.Helper()
	cfg.HostName, cfg.Accounts = host, accounts
	if cfg.Mechanisms == nil {
		cfg.Mechanisms = sasl.Mechanisms()
	}
	if cfg.Throttle == (sasl.Throttle{}) {
		cfg.Throttle = sasl.Throttle{Source: 10000, Network: 10000, Account: 10000}
	}
	s, err := sasl.NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// client answers challenges; the first call gets none.
type client func(challenge string) string

// login runs a dialogue as the SMTP server does, and returns who it is.
func login(s *sasl.Server, mechanism string, c *sasl.Conn, answer client) (string, error) {
	ctx := context.Background()
	x, err := s.Begin(ctx, mechanism, c)
	if err != nil {
		return "", err
	}
	first := answer("")
	challenge, done, err := x.Next(ctx, []byte(first), first != "")
	for steps := 0; err == nil && !done; steps++ {
		if steps == 5 {
			return "", errors.New("the dialogue does not end")
		}
		challenge, done, err = x.Next(ctx, []byte(answer(string(challenge))), true)
	}
	if err != nil {
		if x.User() != "" {
			return x.User(), fmt.Errorf("a user in spite of %w", err)
		}
		return "", err
	}
	if len(challenge) > 0 && answer(string(challenge)) != "" {
		return "", errors.New("the client does not believe the server")
	}
	return x.User(), nil
}

// clientFor is a client of the mechanism.
func clientFor(t testing.TB, mechanism, user, password string) client {
	switch mechanism {
	case sasl.Plain:
		return func(string) string { return "\x00" + user + "\x00" + password }
	case sasl.Login:
		return func(challenge string) string {
			return map[string]string{"Username:": user, "Password:": password}[challenge]
		}
	case sasl.CRAMMD5:
		return func(challenge string) string {
			if challenge == "" {
				return ""
			}
			mac := hmac.New(md5.New, []byte(password))
			mac.Write([]byte(challenge))
			return fmt.Sprintf("%s %x", user, mac.Sum(nil))
		}
	case sasl.DigestMD5:
		return digestClient(user, password, nil)
	case sasl.SCRAMSHA1:
		return scramClient(t, scram.SHA1, user, password)
	case sasl.SCRAMSHA256:
		return scramClient(t, scram.SHA256, user, password)
	}
	t.Fatalf("no client for %s", mechanism)
	return nil
}

func scramClient(t testing.TB, h scram.HashGeneratorFcn, user, password string) client {
	c, err := h.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	return scramTalk(c.NewConversation())
}

func scramTalk(talk *scram.ClientConversation) client {
	return func(challenge string) string {
		out, err := talk.Step(challenge)
		if err != nil {
			return "the client fails: " + err.Error()
		}
		return out
	}
}

// digestClient answers as RFC 2831 has it; change may alter the directives. The response
// is right for what they are then, unless change makes one.
func digestClient(user, password string, change func(directives map[string]string)) client {
	var rspauth string
	return func(challenge string) string {
		if challenge == "" {
			return ""
		}
		if strings.HasPrefix(challenge, "rspauth=") {
			if challenge != "rspauth="+rspauth {
				return "wrong rspauth"
			}
			return ""
		}
		_, nonce, _ := strings.Cut(challenge, `nonce="`)
		nonce, _, _ = strings.Cut(nonce, `"`)
		d := map[string]string{"username": quoted(user), "realm": quoted(host), "nonce": quoted(nonce), "nc": "00000001",
			"cnonce": `"cn"`, "digest-uri": quoted("smtp/" + host), "qop": "auth", "charset": "utf-8"}
		if change != nil {
			change(d)
		}
		value := func(name string) string { return strings.Trim(d[name], `"`) }
		sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
		a1 := md5.Sum([]byte(user + ":" + value("realm") + ":" + password))
		session := string(a1[:]) + ":" + value("nonce") + ":" + value("cnonce")
		if authzid := value("authzid"); authzid != "" {
			session += ":" + authzid
		}
		response := func(a2 string) string {
			return sum(strings.Join([]string{sum(session), value("nonce"), value("nc"), value("cnonce"), "auth", sum(a2)}, ":"))
		}
		rspauth = response(":" + value("digest-uri"))
		if d["response"] == "" {
			d["response"] = response("AUTHENTICATE:" + value("digest-uri"))
		}
		var b strings.Builder
		for name, value := range d {
			fmt.Fprintf(&b, "%s=%s,", name, value)
		}
		return b.String()
	}
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }
