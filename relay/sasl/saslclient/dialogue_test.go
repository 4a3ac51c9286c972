package saslclient_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gatepost/relay/sasl/saslclient"
)

// begin chooses a mechanism in a connection with TLS.
func begin(t testing.TB, c saslclient.Credentials, name, host string) saslclient.Mechanism {
	t.Helper()
	c.Mechanisms = []string{name}
	m, err := saslclient.Choose(&c, []string{name}, host, &tls.ConnectionState{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// answers gives each challenge to the mechanism; the first answer is the initial response.
func answers(t testing.TB, m saslclient.Mechanism, challenges ...string) (all []string, err error) {
	t.Helper()
	first, has, err := m.Start(context.Background())
	if has {
		all = append(all, string(first))
	}
	for _, c := range challenges {
		if err != nil {
			break
		}
		var next []byte
		if next, err = m.Next(context.Background(), []byte(c)); err == nil {
			all = append(all, string(next))
		}
	}
	return all, err
}

// TestVectors are the examples of the RFCs.
func TestVectors(t *testing.T) {
	token := func(context.Context, bool) (string, error) { return "vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==", nil }
	for _, tc := range []struct {
		source, name, host, nonce string
		c                         saslclient.Credentials
		challenges, want          []string
	}{
		{"RFC 4616, 4", "PLAIN", "x", "", saslclient.Credentials{User: "tim", Password: "tanstaaftanstaaf"}, nil, []string{"\x00tim\x00tanstaaftanstaaf"}},
		{"RFC 4616, 4", "PLAIN", "x", "", saslclient.Credentials{User: "Kurt", Authorize: "Ursel", Password: "xipj3plmq"}, nil, []string{"Ursel\x00Kurt\x00xipj3plmq"}},
		{"RFC 2195, 3", "CRAM-MD5", "x", "", saslclient.Credentials{User: "tim", Password: "tanstaaftanstaaf"},
			[]string{"<1896.697170952@postoffice.reston.mci.net>"}, []string{"tim b913a602c7eda7a495b4e6e7334d3890"}},
		{"RFC 2831, 4", "DIGEST-MD5", "elwood.innosoft.com", "OA6MHXh6VqTrRk", saslclient.Credentials{User: "chris", Password: "secret"},
			[]string{`realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8`, "rspauth=ea40f60335c427b5527b84dbabcdfffd"},
			[]string{`charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",nc=00000001,cnonce="OA6MHXh6VqTrRk",digest-uri="imap/elwood.innosoft.com",response=d388dad90d4bbd760a152321f2143af7,qop=auth`, ""}},
		{"RFC 5802, 5", "SCRAM-SHA-1", "x", "fyko+d2lbbFgONRv9qkxdawL", saslclient.Credentials{User: "user", Password: "pencil"},
			[]string{"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
			[]string{"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", ""}},
		{"RFC 7677, 3", "SCRAM-SHA-256", "x", "rOprNGfwEbeRWgbNEkqO", saslclient.Credentials{User: "user", Password: "pencil"},
			[]string{"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
			[]string{"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", ""}},
		{"RFC 7628, 4.1", "OAUTHBEARER", "server.example.com", "", saslclient.Credentials{User: "user@example.com", Token: token}, nil,
			[]string{"n,a=user@example.com,\x01host=server.example.com\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==\x01\x01"}},
		{"Google", "XOAUTH2", "x", "", saslclient.Credentials{User: "someuser@example.com", Token: token}, nil,
			[]string{"user=someuser@example.com\x01auth=Bearer vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg==\x01\x01"}},
		{"questions in any words", "LOGIN", "x", "", saslclient.Credentials{User: "joe", Password: "x y"},
			[]string{"Benutzername, bitte", ""}, []string{"joe", "x y"}},
		{"EXTERNAL", "EXTERNAL", "x", "", saslclient.Credentials{User: "joe", Authorize: "ann"}, []string{""}, []string{"ann", "ann"}},
	} {
		m := begin(t, tc.c, tc.name, tc.host)
		saslclient.SetNonce(m, tc.nonce)
		if tc.name == "DIGEST-MD5" { // its examples are of other services
			saslclient.SetURI(m, "imap/"+tc.host)
		}
		got, err := answers(t, m, tc.challenges...)
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tc.want) || err != nil {
			t.Errorf("%s %s:\n%q\n%q, error %v", tc.source, tc.name, got, tc.want, err)
		}
		if err := m.Done(); err != nil {
			t.Errorf("%s %s: %v", tc.source, tc.name, err)
		}
	}
}

// TestHostile: what a server must not say ends the login, and no error has the password.
func TestHostile(t *testing.T) {
	const secret = "pencil-secret"
	c := saslclient.Credentials{User: "user", Password: secret, Realm: ""}
	nonce := "NONCE"
	good := `realm="a",nonce="n",qop="auth",algorithm=md5-sess,charset=utf-8`
	for _, tc := range []struct {
		name, mechanism string
		challenges      []string
	}{
		{"no nonce of its own", "SCRAM-SHA-256", []string{"r=NONCE,s=QSXCR+Q6sek8bf92,i=4096"}},
		{"another nonce", "SCRAM-SHA-256", []string{"r=OTHER,s=QSXCR+Q6sek8bf92,i=4096"}},
		{"few iterations", "SCRAM-SHA-256", []string{"r=NONCEx,s=QSXCR+Q6sek8bf92,i=1"}},
		{"a year of iterations", "SCRAM-SHA-256", []string{"r=NONCEx,s=QSXCR+Q6sek8bf92,i=2147483647"}},
		{"too many iterations", "SCRAM-SHA-1", []string{"r=NONCEx,s=QSXCR+Q6sek8bf92,i=1000001"}},
		{"no iterations", "SCRAM-SHA-1", []string{"r=NONCEx,s=QSXCR+Q6sek8bf92"}},
		{"an extension", "SCRAM-SHA-1", []string{"m=x,r=NONCEx,s=QSXCR+Q6sek8bf92,i=4096"}},
		{"endless", "SCRAM-SHA-1", []string{"r=NONCEx,s=QSXCR+Q6sek8bf92,i=4096," + strings.Repeat("x", 9000)}},
		{"false proof", "SCRAM-SHA-256", []string{"r=NONCEx,s=QSXCR+Q6sek8bf92,i=4096", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="}},
		{"empty proof", "SCRAM-SHA-256", []string{"r=NONCEx,s=QSXCR+Q6sek8bf92,i=4096", "v="}},
		{"error", "SCRAM-SHA-256", []string{"r=NONCEx,s=QSXCR+Q6sek8bf92,i=4096", "e=invalid-proof"}},
		{"no nonce", "DIGEST-MD5", []string{`realm="a",qop="auth",algorithm=md5-sess`}},
		{"two nonces", "DIGEST-MD5", []string{good + `,nonce="m"`}},
		{"algorithm", "DIGEST-MD5", []string{`nonce="n",algorithm=md5`}},
		{"no algorithm", "DIGEST-MD5", []string{`nonce="n"`}},
		{"quality", "DIGEST-MD5", []string{`nonce="n",algorithm=md5-sess,qop="auth-conf,auth-int"`}},
		{"charset", "DIGEST-MD5", []string{`nonce="n",algorithm=md5-sess,charset=latin1`}},
		{"control character", "DIGEST-MD5", []string{"nonce=\"n\r\nx\",algorithm=md5-sess"}},
		{"too long", "DIGEST-MD5", []string{good + `,x="` + strings.Repeat("x", 3000) + `"`}},
		{"false rspauth", "DIGEST-MD5", []string{good, "rspauth=00000000000000000000000000000000"}},
		{"empty rspauth", "DIGEST-MD5", []string{good, ""}},
		{"empty challenge", "CRAM-MD5", []string{""}},
		{"two challenges", "CRAM-MD5", []string{"<1@a>", "<2@a>"}},
		{"third question", "LOGIN", []string{"a", "b", "c"}},
		{"question", "PLAIN", []string{"password?"}},
	} {
		m := begin(t, c, tc.mechanism, "mail.example.com")
		saslclient.SetNonce(m, nonce)
		_, err := answers(t, m, tc.challenges...)
		if !errors.Is(err, saslclient.ErrServer) {
			t.Errorf("%s %s: error %v", tc.mechanism, tc.name, err)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || len(err.Error()) > 300) {
			t.Errorf("%s %s: error of %d bytes: %v", tc.mechanism, tc.name, len(err.Error()), err)
		}
		switch m.Name() {
		case "SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5":
			if err := m.Done(); !errors.Is(err, saslclient.ErrServer) {
				t.Errorf("%s %s: done: %v", tc.mechanism, tc.name, err)
			}
		}
	}
}

func TestDigestRealm(t *testing.T) {
	for _, tc := range []struct{ realm, offered, want string }{
		{"", `realm="a",realm="b",`, `realm="a"`},
		{"b", `realm="a",realm="b",`, `realm="b"`},
		{"b", "", `realm="b"`},
		{"", "", ""},
		{"c", `realm="a",realm="b",`, "error"},
	} {
		m := begin(t, saslclient.Credentials{User: "u", Password: "p", Realm: tc.realm}, "DIGEST-MD5", "h")
		got, err := answers(t, m, tc.offered+`nonce="n",qop="auth",algorithm=md5-sess,charset=utf-8`)
		if (err != nil) != (tc.want == "error") || err == nil && (!strings.Contains(got[0], tc.want) || tc.want == "" && strings.Contains(got[0], "realm")) {
			t.Errorf("%+v: %q, error %v", tc, got, err)
		}
	}
}

// TestTokenRefused: the server's JSON is answered, and success after it is not believed.
func TestTokenRefused(t *testing.T) {
	c := saslclient.Credentials{User: "u", Token: func(context.Context, bool) (string, error) { return "t", nil }}
	for name, want := range map[string]string{"XOAUTH2": "", "OAUTHBEARER": "\x01"} {
		m := begin(t, c, name, "h")
		got, err := answers(t, m, `{"status":"401","schemes":"bearer"}`)
		if err != nil || len(got) != 2 || got[1] != want {
			t.Errorf("%s: %q, error %v", name, got, err)
		}
		if m.Done() == nil {
			t.Errorf("%s: logged in with a token that was refused", name)
		}
		if _, err := m.Next(t.Context(), nil); err == nil {
			t.Errorf("%s: a second challenge is answered", name)
		}
	}
	for _, token := range []string{"", "a\x01b", "a b", "a\r\nb", "=", strings.Repeat("x", 10_000)} {
		c.Token = func(context.Context, bool) (string, error) { return token, nil }
		if _, err := answers(t, begin(t, c, "XOAUTH2", "h")); !errors.Is(err, saslclient.ErrToken) {
			t.Errorf("token %.20q: error %v", token, err)
		}
	}
}

// TestNoSecretShown: credentials print without their password, however they are printed.
func TestNoSecretShown(t *testing.T) {
	c := saslclient.Credentials{User: "joe", Authorize: "ann", Password: "hidden", Source: "f:3"}
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("x", "c", &c, "d", c, "m", map[string]any{"c": &c, "d": c})
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "c", &c)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", []saslclient.Credentials{c})
		fmt.Fprintf(&out, verb+"\n", struct{ C saslclient.Credentials }{c})
	}
	j, err := json.Marshal(&c)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(j)
	if s := out.String(); strings.Contains(s, "hidden") || strings.Contains(s, fmt.Sprintf("%x", "hidden")) || strings.Count(s, "joe") < 10 {
		t.Errorf("printed %s", s)
	}
}

// FuzzNext has a server say anything, a line for each challenge: no panic, no endless
// dialogue, no success without proof, and no word of the password.
func FuzzNext(f *testing.F) {
	for i, name := range saslclient.Known() {
		_ = name
		for _, s := range []string{"", "Username:\nPassword:\nmore", "<1.2@h>", `realm="a",realm="b",nonce="n",qop="auth,auth-int",algorithm=md5-sess,charset=utf-8` + "\nrspauth=0",
			"r=NONCEx,s=QSXCR+Q6sek8bf92,i=4096\nv=AAAA", "r=NONCEx,s=,i=4096\ne=x", `{"status":"401"}` + "\n"} {
			f.Add(uint8(i), []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, lines []byte) {
		names := saslclient.Known()
		name := names[int(which)%len(names)]
		const secret = "p\u00e4ss,=\"word"
		c := saslclient.Credentials{User: "u,=\"\\ü", Password: secret, Token: func(context.Context, bool) (string, error) { return "TOKEN", nil }}
		m, err := saslclient.Choose(&saslclient.Credentials{User: c.User, Password: c.Password, Token: c.Token, Mechanisms: []string{name}}, []string{name}, "mail.example.com", &tls.ConnectionState{})
		if err != nil {
			return // -PLUS
		}
		saslclient.SetNonce(m, "NONCE")
		saslclient.SetMost(m, 5000)
		if _, _, err := m.Start(context.Background()); err != nil {
			t.Fatal(err)
		}
		for i, line := range bytes.Split(lines, []byte("\n")) {
			response, err := m.Next(context.Background(), line)
			if err != nil {
				if strings.Contains(err.Error(), secret) || len(err.Error()) > 400 {
					t.Fatalf("%s: error %v", name, err)
				}
				break
			}
			if i > 3 || len(response) > 8192 || (name[0] == 'S' || name[0] == 'D') && bytes.Contains(response, []byte(secret)) {
				t.Fatalf("%s: answer %d is %q", name, i, response)
			}
		}
		if (strings.HasPrefix(name, "SCRAM") || name == "DIGEST-MD5") && m.Done() == nil {
			t.Fatalf("%s: proven by %q", name, lines)
		}
	})
}
