package session

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"strconv"
	"strings"
	"time"

	"gatepost/internal/front"
	"gatepost/policy"
)

const handshakeWait = 30 * time.Second

// Values of {verify}: how far a client's certificate can be believed.
const (
	verifyOK   = "OK"
	verifyNo   = "NO"   // the client has none
	verifyNot  = "NOT"  // it was not asked for one
	verifyFail = "FAIL" // it is not good
	verifyNone = "NONE" // there is no TLS
)

// secure is what is said of a connection's TLS, in the words of OpenSSL, which are
// sendmail's. The zero secure is none.
type secure struct {
	version string // {tls_version}
	cipher  string // {cipher}
	bits    int    // {cipher_bits}
}

func (x *secure) on() bool { return x.version != "" }

// text is what Received says of it.
func (x *secure) text(verify string) string {
	return "(version=" + x.version + " cipher=" + x.cipher + " bits=" + strconv.Itoa(x.bits) + " verify=" + verify + ")"
}

// opensslCiphers are the names that OpenSSL has for the cipher suites of TLS 1.2 and
// before that can be had here. Those of TLS 1.3 have one name.
var opensslCiphers = map[uint16]string{
	tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA:                 "DES-CBC3-SHA",
	tls.TLS_RSA_WITH_AES_128_CBC_SHA:                  "AES128-SHA",
	tls.TLS_RSA_WITH_AES_256_CBC_SHA:                  "AES256-SHA",
	tls.TLS_RSA_WITH_AES_128_CBC_SHA256:               "AES128-SHA256",
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256:               "AES128-GCM-SHA256",
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384:               "AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:          "ECDHE-ECDSA-AES128-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:          "ECDHE-ECDSA-AES256-SHA",
	tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA:           "ECDHE-RSA-DES-CBC3-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:            "ECDHE-RSA-AES128-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:            "ECDHE-RSA-AES256-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256:       "ECDHE-ECDSA-AES128-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256:         "ECDHE-RSA-AES128-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       "ECDHE-ECDSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
	tls.TLS_RSA_WITH_RC4_128_SHA:                      "RC4-SHA",
	tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA:                "ECDHE-RSA-RC4-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA:              "ECDHE-ECDSA-RC4-SHA",
}

// secureText puts what a handshake agreed on in words.
func secureText(c *tls.ConnectionState) secure {
	x := secure{version: map[uint16]string{
		tls.VersionTLS10: "TLSv1", tls.VersionTLS11: "TLSv1.1", tls.VersionTLS12: "TLSv1.2", tls.VersionTLS13: "TLSv1.3",
	}[c.Version]}
	if x.version == "" {
		x.version = tls.VersionName(c.Version)
	}
	standard := tls.CipherSuiteName(c.CipherSuite)
	if x.cipher = opensslCiphers[c.CipherSuite]; x.cipher == "" {
		x.cipher = standard
	}
	switch {
	case strings.Contains(standard, "AES_256"), strings.Contains(standard, "CHACHA20"):
		x.bits = 256
	case strings.Contains(standard, "3DES"):
		x.bits = 112 // what they are worth
	default:
		x.bits = 128
	}
	return x
}

// clientCert tells what the client's certificate is worth, and whose it is. As in
// sendmail the names of one that is not good are told too.
func clientCert(c *tls.ConnectionState, cas *x509.CertPool) policy.TLS {
	if len(c.PeerCertificates) == 0 {
		return policy.TLS{Verify: verifyNo}
	}
	leaf := c.PeerCertificates[0]
	t := policy.TLS{Verify: verifyFail}
	t.CertSubject, t.CertIssuer = certNames(leaf)
	if cas == nil {
		return t // with a nil pool those of the system would be believed
	}
	between := x509.NewCertPool()
	for _, cert := range c.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: cas, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err == nil {
		t.Verify = verifyOK
	}
	return t
}

// startTLS is STARTTLS. What the client has sent behind it, and what it sends instead
// of TLS, never becomes a command: it may come from somebody in between.
func (s *session) startTLS(arg string) {
	switch {
	case s.secure.on():
		s.wrong(503, "5.5.0", "TLS already active")
		return
	case arg != "":
		s.wrong(501, "5.5.2", "Syntax error (no parameters allowed)")
		return
	case s.rules.certificate() != nil:
		s.wrong(454, "4.3.3", "TLS not available")
		return
	case s.wire.waits():
		s.server.foreign.Add(1)
		s.server.said.Complain("smtp: connection closed: commands behind STARTTLS", "client", s.facts.Conn.Addr)
		s.say(554, "5.5.0", "Nothing may follow STARTTLS before its reply, closing connection")
		s.over, s.linger = true, true
		return
	}
	s.say(220, "2.0.0", "Ready to start TLS")
	s.endTransaction()
	s.extended, s.helo = false, front.Outcome{}
	s.facts.Helo, s.facts.Auth = policy.Helo{}, policy.Auth{}
	s.handshake()
}

// handshake begins TLS; false if the session is over.
func (s *session) handshake() bool {
	c, err := s.wire.secure(s.rules.TLS, time.Now().Add(handshakeWait), s.server.doors.Draining)
	if err != nil { // nothing can be said any more
		s.over = true
		s.server.noTLS.Add(1)
		s.server.log.Info("smtp: TLS handshake failed", "listener", s.rules.Name, "client", s.facts.Conn.Addr, "error", err)
		return false
	}
	s.server.secured.Add(1)
	state := c.ConnectionState()
	s.secure = secureText(&state)
	if s.rules.ClientCAs == nil {
		s.facts.TLS = policy.TLS{Verify: verifyNot}
	} else {
		s.facts.TLS = clientCert(&state, s.rules.ClientCAs())
	}
	s.server.log.Debug("smtp: TLS", "listener", s.rules.Name, "client", s.facts.Conn.Addr, "tls_version", s.secure.version,
		"cipher", s.secure.cipher, "verify", s.facts.TLS.Verify, "cert_subject", s.facts.TLS.CertSubject, "cert_issuer", s.facts.TLS.CertIssuer)
	return true
}

// secure begins TLS, within a time.
func (w *wire) secure(config *tls.Config, by time.Time, draining func() bool) (*tls.Conn, error) {
	if err := w.flush(); err != nil {
		return nil, err
	}
	conn := &below{Conn: w.raw}
	if b := w.buffered(); len(b) > 0 { // it came together with a PROXY header
		conn.first = append(conn.first, b...)
	}
	w.r, w.w = 0, 0
	w.wait(by)
	_ = w.raw.SetWriteDeadline(by)
	c := tls.Server(conn, config)
	w.state.Store(wireIdle)
	if draining() {
		return nil, errEnded
	}
	err := c.Handshake()
	if !w.state.CompareAndSwap(wireIdle, wireBusy) {
		return nil, errEnded
	}
	if err != nil {
		return nil, err
	}
	w.conn = c
	return c, nil
}

// secured tells whether TLS has begun.
func (w *wire) secured() bool { return w.conn != w.raw }

// closeTLS says that nothing more comes.
func (w *wire) closeTLS() {
	_ = w.conn.SetWriteDeadline(time.Now().Add(lingerWait))
	if c, ok := w.conn.(*tls.Conn); ok {
		_ = c.CloseWrite()
	}
}

// waits tells, without waiting, whether something has come that has not been used.
func (w *wire) waits() bool {
	if w.secured() && len(w.buffered()) == 0 { // TLS may have taken more than it has passed on
		_ = w.raw.SetReadDeadline(past)
		_ = w.read()
	}
	return len(w.buffered()) > 0 || inputWaits(w.raw)
}

// below is the connection that TLS stands upon.
type below struct {
	net.Conn
	first []byte           // what has been read of it already
	shown *tls.Certificate // ours, of this handshake; nil: none was needed
}

func (c *below) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	if c.first = c.first[n:]; len(c.first) == 0 {
		c.first = nil
	}
	return n, nil
}

// leaf is the certificate that was shown; nil: none.
func (c *below) leaf() *x509.Certificate {
	if c.shown == nil {
		return nil
	}
	if c.shown.Leaf == nil && len(c.shown.Certificate) > 0 {
		cert, err := x509.ParseCertificate(c.shown.Certificate[0])
		if err != nil {
			return nil
		}
		return cert
	}
	return c.shown.Leaf
}
