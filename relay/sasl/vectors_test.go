package sasl

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/xdg-go/scram"
)

// one knows a single user.
type one struct {
	user    string
	secrets Secrets
}

func (o one) Lookup(_ context.Context, user, _ string) (Secrets, bool, error) {
	return o.secrets, user == o.user, nil
}

func (o one) Usual() Usual { return Usual{Passwords: o.secrets.Password != ""} }

func vectorServer(t *testing.T, user string, secrets Secrets) *Server {
	t.Helper()
	secrets.Name = user
	s, err := NewServer(Config{HostName: "mail.example.com", Mechanisms: Mechanisms(), Accounts: []Accounts{one{user, secrets}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func begin(t *testing.T, s *Server, mechanism string) *Exchange {
	t.Helper()
	x, err := s.Begin(t.Context(), mechanism, &Conn{Client: netip.MustParseAddr("192.0.2.1"), TLS: &tls.ConnectionState{}})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestRFC2195 is the example of its section 2, by the password and by the key of it.
func TestRFC2195(t *testing.T) {
	key := NewCRAMKey("tanstaaftanstaaf")
	for name, secrets := range map[string]Secrets{"password": {Password: "tanstaaftanstaaf"}, "key": {CRAM: &key}} {
		for response, want := range map[string]error{"tim b913a602c7eda7a495b4e6e7334d3890": nil, "tim b913a602c7eda7a495b4e6e7334d3891": ErrFailed, "tom b913a602c7eda7a495b4e6e7334d3890": ErrFailed} {
			x := begin(t, vectorServer(t, "tim", secrets), CRAMMD5)
			if _, _, err := x.Next(t.Context(), nil, false); err != nil {
				t.Fatal(err)
			}
			x.dialogue.(*cramMD5).challenge = []byte("<1896.697170952@postoffice.reston.mci.net>")
			if _, done, err := x.Next(t.Context(), []byte(response), true); err != want || done != (want == nil) {
				t.Errorf("%s, %q: done %v, error %v; want %v", name, response, done, err, want)
			}
		}
	}
}

// TestCRAMKeyLong: a key longer than a block of the hash is hashed first (RFC 2202, case 6).
func TestCRAMKeyLong(t *testing.T) {
	long := make([]byte, 80)
	for i := range long {
		long[i] = 0xaa
	}
	if got := hex.EncodeToString(NewCRAMKey(string(long)).sum([]byte("Test Using Larger Than Block-Size Key - Hash Key First"))); got != "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd" {
		t.Errorf("got %s", got)
	}
}

// TestRFC2831 has the examples of its section 4, which are of other services.
func TestRFC2831(t *testing.T) {
	for _, c := range []struct{ response, nonce, given, rspauth string }{
		{`charset=utf-8,username="chris",realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",nc=00000001,cnonce="OA6MHXh6VqTrRk",digest-uri="imap/elwood.innosoft.com",response=d388dad90d4bbd760a152321f2143af7,qop=auth`,
			"OA6MG9tEQGm2hh", "d388dad90d4bbd760a152321f2143af7", "ea40f60335c427b5527b84dbabcdfffd"},
		{`username="chris",realm="elwood.innosoft.com",nonce="OA9BSXrbuRhWay",nc=00000001,cnonce="OA9BSuZWMSpW8m",digest-uri="acap/elwood.innosoft.com",response=6084c6db3fede7352c551284490fd0fc,qop=auth`,
			"OA9BSXrbuRhWay", "6084c6db3fede7352c551284490fd0fc", "2f0b3d7c3c2e486600ef710726aa2eae"},
	} {
		r, err := parseDigestResponse(c.response)
		if err != nil {
			t.Fatal(err)
		}
		for _, secrets := range []Secrets{{Password: "secret"}, {Digest: map[string][16]byte{r.realm: NewDigestKey("chris", r.realm, "secret")}}} {
			key, ok := digestKey(secrets, r)
			want, rspauth := r.hashes(key, c.nonce)
			if !ok || hex.EncodeToString(want) != c.given || hex.EncodeToString(r.given) != c.given || rspauth != c.rspauth {
				t.Errorf("%s: want %x, rspauth %s", c.response, want, rspauth)
			}
		}
	}
}

// TestSCRAMVectors are the examples of RFC 5802, section 5, and RFC 7677, section 3.
func TestSCRAMVectors(t *testing.T) {
	for _, c := range []struct{ mechanism, salt, nonce, first, challenge, final, answer string }{
		{SCRAMSHA1, "QSXCR+Q6sek8bf92", "3rfcNHYJY1ZVvWVs7j", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
			"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
			"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
		{SCRAMSHA256, "W22ZaJ0SNY7soEsUEjb6gQ==", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
			"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
			"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
	} {
		t.Run(c.mechanism, func(t *testing.T) {
			salt, _ := base64.StdEncoding.DecodeString(c.salt)
			var secrets Secrets
			for to, h := range map[**Verifier]scram.HashGeneratorFcn{&secrets.SCRAMSHA1: scram.SHA1, &secrets.SCRAMSHA256: scram.SHA256} {
				v, err := derive(h, "pencil", salt, 4096)
				if err != nil {
					t.Fatal(err)
				}
				*to = v
			}
			s := vectorServer(t, "user", secrets)
			s.random = func() string { return c.nonce }
			x := begin(t, s, c.mechanism)
			if challenge, done, err := x.Next(t.Context(), []byte(c.first), true); string(challenge) != c.challenge || done || err != nil {
				t.Fatalf("challenge %q, done %v, error %v", challenge, done, err)
			}
			if answer, done, err := x.Next(t.Context(), []byte(c.final), true); string(answer) != c.answer || !done || err != nil || x.User() != "user" {
				t.Fatalf("answer %q, done %v, error %v", answer, done, err)
			}
			if _, _, err := x.Next(t.Context(), nil, true); err != ErrMalformed {
				t.Errorf("after the end: error %v", err)
			}
		})
	}
}

// TestRFC4616 has the examples of its section 4.
func TestRFC4616(t *testing.T) {
	s := vectorServer(t, "tim", Secrets{Password: "tanstaaftanstaaf"})
	for response, want := range map[string]error{"\x00tim\x00tanstaaftanstaaf": nil, "Ursel\x00Kurt\x00xipj3plmq": ErrFailed} {
		if _, done, err := begin(t, s, Plain).Next(t.Context(), []byte(response), true); err != want || done != (want == nil) {
			t.Errorf("%q: done %v, error %v", response, done, err)
		}
	}
}

// TestNoPassword: an account without a password does not have the empty one.
func TestNoPassword(t *testing.T) {
	if samePassword("", "") || samePassword("", "x") || samePassword("x", "") || !samePassword("x", "x") {
		t.Error("an empty password is one")
	}
}
