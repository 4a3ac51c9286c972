package deliver

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"net"
	"testing"

	"gatepost/internal/certtest"
	"gatepost/relay/sasl/saslclient"
	"gatepost/relay/tlspolicy"
)

// TestTogether: the client with policies and mechanisms as they are, at a server with a
// certificate.
func TestTogether(t *testing.T) {
	ca := certtest.New(t, certtest.Name(t, "/CN=authority"))
	cert := ca.Issue(certtest.Name(t, "/CN=server"), []string{"mx.example"})
	digest := sha256.Sum256(cert.Certificate[0])
	wrong := sha256.Sum256(nil)
	clear := script{"> 220 there", "< EHLO relay.example.com", "> 250-there", "> 250-AUTH PLAIN LOGIN", "> 250 PIPELINING"}
	done := script{"< MAIL FROM:<alice@example.com>", bob, "< DATA", "> 250 ok", "> 250 ok", "> 354 go", "*", "> 250 2.0.0 taken"}
	good := join(offers, upgrade, again, begin, taken)
	stops := join(offers, upgrade, script{"hang"})
	login := script{"< AUTH PLAIN AGpvZQBwYXNz", "> 235 ok"}
	joe := &saslclient.Credentials{User: "joe", Password: "pass"}
	byToken := &saslclient.Credentials{User: "joe", Mechanisms: []string{"XOAUTH2"}, Token: func(_ context.Context, rejected bool) (string, error) {
		if rejected {
			return "new", nil
		}
		return "old", nil
	}}
	refused := func(why string) string {
		return "Deferred 4.7.5 the server is not who it should be: its " + why + " (down)"
	}
	const sent = "Sent 2.0.0 250 2.0.0 taken"
	for name, c := range map[string]struct {
		policy  tlspolicy.Policy
		creds   *saslclient.Credentials
		talk    script
		want    string
		secured string
	}{
		"verify":                {tlspolicy.Policy{Level: tlspolicy.Verify, Roots: ca.Pool()}, nil, good, sent, "TLSv1.3, verified"},
		"verify, another CA":    {tlspolicy.Policy{Level: tlspolicy.Verify}, nil, stops, refused("certificate is of no authority that is known here"), ""},
		"verify, another name":  {tlspolicy.Policy{Level: tlspolicy.Verify, Roots: ca.Pool(), Names: []string{"other.example"}}, nil, stops, refused(`certificate is for another name: it is for "mx.example", expected other.example`), ""},
		"fingerprint":           {tlspolicy.Policy{Level: tlspolicy.Fingerprint, Fingerprints: [][]byte{digest[:]}}, nil, good, sent, "TLSv1.3, fingerprint"},
		"DANE":                  {tlspolicy.Policy{Level: tlspolicy.DANE, TLSA: []tlspolicy.TLSA{{Usage: 3, Matching: 1, Data: digest[:]}}}, nil, good, sent, "TLSv1.3, DANE"},
		"DANE, another":         {tlspolicy.Policy{Level: tlspolicy.DANE, TLSA: []tlspolicy.TLSA{{Usage: 3, Matching: 1, Data: wrong[:]}}}, nil, stops, refused("certificate is none that its TLSA records vouch for"), ""},
		"login":                 {tlspolicy.Policy{Level: tlspolicy.Verify, Roots: ca.Pool()}, joe, join(offers, upgrade, clear[1:], login, done), sent, "TLSv1.3, verified"},
		"login, another CA":     {tlspolicy.Policy{Level: tlspolicy.Verify}, joe, stops, refused("certificate is of no authority that is known here"), ""},
		"login, no TLS offered": {tlspolicy.Policy{}, joe, join(clear, script{"hang"}), "Deferred 4.7.4 cannot log in: the server offers no mechanism that may be used: the connection is not encrypted (down)", ""},
		"login, clear allowed":  {tlspolicy.Policy{}, &saslclient.Credentials{User: "joe", Password: "pass", AllowClear: true}, join(clear, login, done), sent, ""},
		"token, renewed": {tlspolicy.Policy{Level: tlspolicy.Encrypt}, byToken, join(offers, upgrade, script{"< EHLO relay.example.com", "> 250-there", "> 250-AUTH XOAUTH2", "> 250 PIPELINING",
			"< AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgb2xkAQE=", "> 334 eyJzdGF0dXMiOiI0MDAifQ==", "< ", "> 535 5.7.8 no",
			"< AUTH XOAUTH2 dXNlcj1qb2UBYXV0aD1CZWFyZXIgbmV3AQE=", "> 235 ok"}, done), sent, "TLSv1.3, encrypted"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveAt(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}}, c.talk)
			x := s.transport(func(k *Config) {
				secureBy(c.policy)(k)
				net0{addrs: map[string][]string{"mx.example": {"127.0.0.1"}}}.configure(k)
				k.Login = func(context.Context, Peer) (*saslclient.Credentials, error) { return c.creds, nil }
			})
			_, port, err := net.SplitHostPort(s.addr)
			if err != nil {
				t.Fatal(err)
			}
			m := message("bob@example.net")
			got := x.Deliver(t.Context(), "[mx.example]:"+port, m, all(m))
			if shown := show(got); shown != c.want || got[0].Secured != c.secured {
				t.Errorf("got  %s | %s\nwant %s | %s", shown, got[0].Secured, c.want, c.secured)
			}
		})
	}
}
