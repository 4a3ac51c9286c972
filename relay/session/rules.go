package session

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/relay/sasl"
)

var errNoCertificate = errors.New("no certificate")

// Rules are those of one listener. The zero Rules are an MTA's that knows no TLS
// and no AUTH. What counts and bounds clients is common to all listeners of a
// Server.
type Rules struct {
	Name string // {daemon_name}, for the log: "MTA", "MSA", ...

	// Local says that the listener is a UNIX socket for this host's own programs: to the
	// policy its clients are what sendmail -bs is, this host without a network address.
	// They are told apart by user, as the kernel knows them; PROXY and XCLIENT do not
	// exist there.
	Local bool

	// TLS, if set, is what STARTTLS is done with, by version 1.2 or later if it does
	// not say. A certificate that is replaced while the server runs comes from its
	// GetCertificate, which is also called with an empty hello, to see whether there
	// is a certificate: without one STARTTLS is not announced.
	TLS      *tls.Config
	Implicit bool // TLS from the first byte (RFC 8314)

	// ClientCAs, if set, has clients asked for a certificate, and returns the
	// authorities that may have signed it; it is called at each connection. Whoever
	// has none, or one that is not good, is served all the same: see policy.TLS.
	ClientCAs func() *x509.CertPool

	RequireTLS  bool // before anything but EHLO, HELO, NOOP, RSET, STARTTLS and QUIT
	RequireAuth bool // before MAIL

	// Auth, if set, is who clients can log in with. To it an identity, for EXTERNAL, is
	// the CertSubject of a client certificate that is good, as in sendmail.
	Auth *sasl.Server

	// PlainOK lets clients send passwords in the clear, by PLAIN and LOGIN without TLS.
	PlainOK bool

	// Allowed, if set, tells who may be a client; others get 554 and are closed.
	Allowed func(client netip.Addr) bool

	// Sender, if set, is the sender of all messages, whatever MAIL says: an address
	// without <>. The policy judges this one.
	Sender string

	Quota *Quota // nil: none

	// SenderOf, if set, tells whether a user who has logged in may send as sender,
	// which is the address in the form in which it is sent on, "" for the null one. It
	// must not block.
	SenderOf func(user, sender string) bool
}

// ready returns a copy that is good to serve with, or what is wrong with r.
func (r *Rules) ready() (*Rules, error) {
	if r == nil {
		return &Rules{}, nil
	}
	c := *r
	switch {
	case c.TLS == nil && (c.Implicit || c.RequireTLS):
		return nil, c.fault("TLS is demanded and there is no TLS")
	case c.Auth == nil && c.RequireAuth:
		return nil, c.fault("AUTH is demanded and there is no AUTH")
	case c.Local && (c.TLS != nil || c.Auth != nil || c.Allowed != nil):
		return nil, c.fault("it is local, and TLS, AUTH and networks are not")
	case !validForced(c.Sender):
		return nil, c.fault(fmt.Sprintf("%q is no sender address", c.Sender))
	}
	if c.TLS != nil {
		c.TLS = c.TLS.Clone()
		if c.TLS.MinVersion == 0 {
			c.TLS.MinVersion = tls.VersionTLS12
		}
		if c.ClientCAs != nil {
			// Package tls would break the handshake over a certificate that is not good.
			c.TLS.ClientAuth = tls.RequestClientCert
		}
		noteCertificate(c.TLS)
	}
	return &c, nil
}

// noteCertificate has each connection know the certificate that it has shown.
func noteCertificate(c *tls.Config) {
	get, all := c.GetCertificate, c.Certificates
	if get == nil {
		get = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return choose(all, h) }
	}
	c.Certificates = nil // or it is not asked for each
	c.GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := get(h)
		if cert == nil && err == nil {
			cert, err = choose(all, h)
		}
		if b, ok := h.Conn.(*below); ok {
			b.shown = cert
		}
		return cert, err
	}
}

// choose returns the first certificate that a client can do with, else the first.
func choose(all []tls.Certificate, h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	for i := range all {
		if h.SupportsCertificate(&all[i]) == nil {
			return &all[i], nil
		}
	}
	if len(all) == 0 {
		return nil, errNoCertificate
	}
	return &all[0], nil
}

func (r *Rules) fault(what string) error {
	return errors.New("session: rules of listener " + r.Name + ": " + what)
}

// validForced tells whether a sender can be forced: none, or one that any next hop
// takes.
func validForced(sender string) bool {
	if sender == "" {
		return true
	}
	p := smtp.ParsePath("<" + sender + ">")
	path, refuse := reversePath(p)
	return p.Fault().IsZero() && refuse.IsZero() && path == sender && plain(sender, false) && strings.Contains(sender, "@")
}

// certificate tells why there is no certificate to offer TLS with; nil: there is one.
func (r *Rules) certificate() error {
	if r.TLS == nil {
		return errNoCertificate
	}
	cert, err := r.TLS.GetCertificate(&tls.ClientHelloInfo{})
	if cert == nil && err == nil {
		return errNoCertificate
	}
	return err
}

// fence turns a client away that this listener is not for; false if the session is
// over. Before the TLS of a listener that has nothing else, nothing can be said.
func (s *session) fence() bool {
	if s.rules.Allowed == nil || s.rules.Allowed(s.facts.Conn.Addr) {
		return true
	}
	s.server.fenced.Add(1)
	s.server.said.Complain("smtp: connection closed: not from a network of this listener", "listener", s.rules.Name, "client", s.facts.Conn.Addr)
	if !s.rules.Implicit || s.secure.on() {
		s.say(554, "", s.server.cfg.HostName+" ESMTP not accepting messages")
		s.linger = true
	}
	s.over = true
	return false
}
