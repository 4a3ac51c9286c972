package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"
)

// secureConfig adds every kind of listener to siteConfig.
const secureConfig = `
[[listener]]
name = "MSA"
kind = "submission"
listen = "127.0.0.1:0"
[[listener]]
name = "MSA-TLS"
kind = "smtps"
listen = "127.0.0.1:0"
[[listener]]
name = "devices"
kind = "device"
listen = "127.0.0.1:0"
networks = ["192.0.2.64/26"]
sender = "scanner@example.com"
quota = 2
tls = "may"
min_tls = "1.0"
`

// secureSite is a site with a certificate and every kind of listener; more goes under
// [relay]. Logins by any mechanism may relay.
func secureSite(t *testing.T, more string) *site {
	t.Helper()
	s := newSite(t)
	s.write("users", "")
	s.certificate("mx.example.com")
	s.secure(more)
	return s
}

// secure writes the configuration of secureSite.
func (s *site) secure(more string) {
	text := strings.NewReplacer(
		"[relay]\n", "[relay]\nserver_cert = \"cert\"\nserver_key = \"key\"\nusers = \"users\"\n"+more+"\n",
		"[features]\n", "[features]\ntrust_auth_mech = [\"PLAIN\", \"LOGIN\", \"SCRAM-SHA-1\", \"SCRAM-SHA-256\", \"DIGEST-MD5\", \"CRAM-MD5\", \"EXTERNAL\"]\n",
	).Replace(siteConfig)
	s.write("gatepost.toml", text+secureConfig)
}

// certificate makes a certificate and its key for a name.
func (s *site) certificate(name string) {
	s.t.Helper()
	cert, key := newCertificate(s.t, name)
	s.put("cert", cert)
	s.put("key", key)
}

func newCertificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, from, from, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return inPEM("CERTIFICATE", der), inPEM("PRIVATE KEY", keyDER)
}

// trusting is a client's TLS that takes the site's certificate.
func (s *site) trusting() *tls.Config {
	return &tls.Config{ServerName: "mx.example.com", InsecureSkipVerify: true} // tests compare the certificate itself
}

// connect is a connection to a listener; with an address, of a load balancer that tells
// of a client there. TLS has begun where the listener has nothing else.
func (s *site) connect(listener, from string) *client {
	s.t.Helper()
	nc, err := net.Dial("tcp", s.at(listener))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	c := &client{t: s.t, Conn: nc, in: bufio.NewReader(nc)}
	if from != "" {
		if _, err := c.Write([]byte("PROXY TCP4 " + from + " 127.0.0.1 1 25\r\n")); err != nil {
			s.t.Fatal(err)
		}
	}
	if listener == "MSA-TLS" {
		c.begin(s.trusting())
	}
	return c
}

// open is a session at a listener, with TLS if it has that, up to EHLO; and the answer
// to it.
func (s *site) open(listener, from string) (*client, string) {
	s.t.Helper()
	c := s.connect(listener, from)
	c.expect("220 ", "")
	answer := c.ehlo()
	if strings.Contains(answer, "STARTTLS") {
		c.expect("220 ", "STARTTLS")
		c.begin(s.trusting())
		answer = c.ehlo()
	}
	return c, answer
}

// begin begins TLS, and returns the certificate that it is shown.
func (c *client) begin(config *tls.Config) *x509.Certificate {
	c.t.Helper()
	secured := tls.Client(c.Conn, config)
	secured.SetDeadline(time.Now().Add(10 * time.Second))
	if err := secured.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.in = secured, bufio.NewReader(secured)
	return secured.ConnectionState().PeerCertificates[0]
}

// ehlo returns the lines of the answer to EHLO.
func (c *client) ehlo() string {
	c.t.Helper()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write([]byte("EHLO client.example\r\n")); err != nil {
		c.t.Fatal(err)
	}
	var all strings.Builder
	for {
		line, err := c.in.ReadString('\n')
		all.WriteString(line)
		if err != nil || len(line) < 4 || line[3] != '-' {
			return all.String()
		}
	}
}
