package ldap

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	ldapv3 "github.com/go-ldap/ldap/v3"

	"gatepost/maps/internal/credentials"
)

const urlForm = "ldap://host[:port], ldaps://host[:port] or ldapi:///PATH/OF/SOCKET"

// Config says which part of which directory is the table. Where sendmail's K line has a flag, it is
// named. Zero values stand for the defaults.
type Config struct {
	// URL (-H): ldap://host[:port], port 389; ldaps://host[:port], port 636; or
	// ldapi:///PATH/OF/SOCKET, also with the path as host, written with %2F.
	URL      string
	StartTLS bool // turn an ldap:// connection to TLS before anything is sent on it
	TLS      credentials.TLS

	BindDN       string // -d; empty: anonymous
	PasswordFile string // -P; one line, read for each connection

	BaseDN    string // -b
	Scope     string // -s: base, one or sub; sub
	Filter    string // -k: %0 or %s stands for the key, in both cases with its special characters escaped
	Attribute string // -v: whose first value is the result; sendmailMTAMapValue

	// SingleMatch (-1): a key that several entries have is absent. Otherwise the
	// first entry that the server sends has the value. sendmail's own definition of
	// the access table in LDAP has -1.
	SingleMatch bool

	Timeout  time.Duration // of a lookup as a whole; 5 s
	MaxConns int           // connections at a time; 8
}

// String names the table in logs.
func (c Config) String() string { return c.URL + " " + c.BaseDN }

// settings is a Config that has been understood.
type settings struct {
	Config
	network, address, host string
	scope                  int
	filter                 filter
}

func parse(c Config) (settings, error) {
	s := settings{Config: c.withDefaults()}
	err := s.setURL()
	if err == nil {
		err = s.setScope()
	}
	if err == nil {
		s.filter, err = parseFilter(c.Filter)
	}
	if err == nil {
		err = s.check()
	}
	return s, err
}

func (c Config) withDefaults() Config {
	if c.Scope == "" {
		c.Scope = "sub"
	}
	if c.Attribute == "" {
		c.Attribute = "sendmailMTAMapValue"
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.MaxConns == 0 {
		c.MaxConns = 8
	}
	return c
}

func (s *settings) setURL() error {
	if path, ok := strings.CutPrefix(s.URL, "ldapi://"); ok {
		path, err := url.PathUnescape(path)
		if err != nil || !strings.HasPrefix(path, "/") {
			return fmt.Errorf("URL %q: no path of a socket; expected ldapi:///PATH/OF/SOCKET", s.URL)
		}
		s.network, s.address = "unix", path
		return nil
	}
	u, err := url.Parse(s.URL)
	if err != nil || (u.Scheme != "ldap" && u.Scheme != "ldaps") || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/")+u.RawQuery+u.Fragment != "" {
		return fmt.Errorf("URL %q: expected %s, and nothing else", s.URL, urlForm)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ldap": "389", "ldaps": "636"}[u.Scheme]
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("URL %q: no valid port", s.URL)
	}
	s.network, s.host, s.address = "tcp", u.Hostname(), net.JoinHostPort(u.Hostname(), port)
	return nil
}

func (s *settings) setScope() error {
	switch s.Scope {
	case "base":
		s.scope = ldapv3.ScopeBaseObject
	case "one":
		s.scope = ldapv3.ScopeSingleLevel
	case "sub":
		s.scope = ldapv3.ScopeWholeSubtree
	default:
		return fmt.Errorf("scope %q: expected base, one or sub", s.Scope)
	}
	return nil
}

// check finds what is missing or contradicts itself, and files that cannot be used.
func (s *settings) check() error {
	switch {
	case s.BaseDN == "":
		return errors.New("no base DN to search below")
	case s.Timeout < 0 || s.MaxConns < 0:
		return errors.New("a negative limit")
	case s.StartTLS && !strings.HasPrefix(s.URL, "ldap://"):
		return fmt.Errorf("StartTLS with %s: expected ldap://", s.URL)
	case s.TLS != (credentials.TLS{}) && !s.usesTLS():
		return errors.New("certificate files without TLS; expected ldaps:// or StartTLS")
	case (s.BindDN == "") != (s.PasswordFile == ""):
		return errors.New("bind DN and password file: expected both or none")
	case strings.Trim(s.Attribute, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-;") != "":
		return fmt.Errorf("attribute %q: expected the name of one attribute", s.Attribute)
	}
	for name, dn := range map[string]string{"base": s.BaseDN, "bind": s.BindDN} {
		if _, err := ldapv3.ParseDN(dn); err != nil {
			return fmt.Errorf("%s DN %q: %s", name, dn, reason(err))
		}
	}
	if s.PasswordFile != "" {
		if err := credentials.CheckPrivate(s.PasswordFile); err != nil {
			return err
		}
		if _, err := credentials.Password(s.PasswordFile); err != nil {
			return err
		}
	}
	_, err := s.TLS.Config(s.host)
	return err
}

func (s *settings) usesTLS() bool { return s.StartTLS || strings.HasPrefix(s.URL, "ldaps://") }
