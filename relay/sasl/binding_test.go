package sasl_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"slices"
	"testing"

	"github.com/xdg-go/scram"

	"gatepost/relay/sasl"
)

// handshake is both ends of a TLS connection, and the server's certificate.
func handshake(t *testing.T, version uint16) (client, server tls.ConnectionState, leaf *x509.Certificate) {
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
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	ours := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MaxVersion: version,
		SessionTicketsDisabled: true})
	theirs := tls.Client(b, &tls.Config{InsecureSkipVerify: true})
	failed := make(chan error, 1)
	go func() { failed <- ours.Handshake() }()
	if err := theirs.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	return theirs.ConnectionState(), ours.ConnectionState(), leaf
}

func bound(t *testing.T, b scram.ChannelBinding, err error) client {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	c, err := scram.SHA256.NewClient("joe", "secret of joe", "")
	if err != nil {
		t.Fatal(err)
	}
	return scramTalk(c.NewConversationWithChannelBinding(b))
}

func TestChannelBinding(t *testing.T) {
	s := newServer(t, sasl.Config{}, ownFile(t))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		theirs, ours, leaf := handshake(t, version)
		other, _, _ := handshake(t, version)
		c := &sasl.Conn{Client: somewhere, TLS: &ours, Certificate: leaf}
		try := func(name, mechanism string, c *sasl.Conn, answer client, want error) {
			t.Helper()
			if who, err := login(s, mechanism, c, answer); err != want || (who == "joe") != (want == nil) {
				t.Errorf("%s %s: user %q, error %v, want %v", tls.VersionName(version), name, who, err, want)
			}
		}
		exporter, err := scram.NewTLSExporterBinding(&theirs)
		try("exporter", sasl.SCRAMSHA256Plus, c, bound(t, exporter, err), nil)
		try("exporter, other mechanism", sasl.SCRAMSHA256, c, bound(t, exporter, err), sasl.ErrMalformed)
		elsewhere, err := scram.NewTLSExporterBinding(&other)
		try("exporter of another connection", sasl.SCRAMSHA256Plus, c, bound(t, elsewhere, err), sasl.ErrFailed)
		endPoint, err := scram.NewTLSServerEndpointBinding(&theirs)
		try("end point", sasl.SCRAMSHA256Plus, c, bound(t, endPoint, err), nil)
		try("end point unknown", sasl.SCRAMSHA256Plus, &sasl.Conn{Client: somewhere, TLS: &ours}, bound(t, endPoint, err), sasl.ErrFailed)
		elsewhere, err = scram.NewTLSServerEndpointBinding(&other)
		try("end point elsewhere", sasl.SCRAMSHA256Plus, c, bound(t, elsewhere, err), sasl.ErrFailed)
		try("tls-unique", sasl.SCRAMSHA256Plus, c, bound(t, scram.NewTLSUniqueBinding([]byte("x")), nil), sasl.ErrFailed)
		try("none", sasl.SCRAMSHA256Plus, c, scramClient(t, scram.SHA256, "joe", "secret of joe"), sasl.ErrMalformed)
	}
}

// TestDowngrade: a client that was shown no -PLUS, though it was offered, was shown
// another list than ours.
func TestDowngrade(t *testing.T) {
	_, ours, _ := handshake(t, tls.VersionTLS13)
	could := func() client {
		c, err := scram.SHA256.NewClient("joe", "secret of joe", "")
		if err != nil {
			t.Fatal(err)
		}
		return scramTalk(c.NewConversationAdvertisingChannelBinding())
	}
	c := &sasl.Conn{Client: somewhere, TLS: &ours}
	with := newServer(t, sasl.Config{Mechanisms: []string{sasl.SCRAMSHA256Plus, sasl.SCRAMSHA256}}, ownFile(t))
	if who, err := login(with, sasl.SCRAMSHA256, c, could()); who != "" || err != sasl.ErrFailed {
		t.Errorf("with -PLUS: user %q, error %v", who, err)
	}
	without := newServer(t, sasl.Config{Mechanisms: []string{sasl.SCRAMSHA256}}, ownFile(t))
	if who, err := login(without, sasl.SCRAMSHA256, c, could()); who != "joe" || err != nil {
		t.Errorf("without -PLUS: user %q, error %v", who, err)
	}
	if who, err := login(with, sasl.SCRAMSHA256, &sasl.Conn{Client: somewhere}, could()); who != "joe" || err != nil {
		t.Errorf("without TLS: user %q, error %v", who, err)
	}
	if got := with.Offered(&sasl.Conn{}); slices.Contains(got, sasl.SCRAMSHA256Plus) {
		t.Errorf("offers %q without TLS", got)
	}
	if _, err := with.Begin(t.Context(), sasl.SCRAMSHA256Plus, &sasl.Conn{}); err != sasl.ErrEncryption {
		t.Errorf("-PLUS without TLS: error %v", err)
	}
}
