package config

import (
	"net/netip"
	"net/url"
	"strings"
)

// Logins is what [relay] says of logging in to other servers.
type Logins struct {
	AuthInfo       Map      // sendmail's table authinfo; zero: entries AuthInfo: of the access table
	AuthInfoLine   int      // where gatepost.toml names it; 0: nowhere
	AuthAllowClear []string // servers that may be logged in to without TLS: names in lower case, addresses, networks
}

// OAuth2 is a table [[oauth2]]: a server that gives access tokens (RFC 6749), which
// entries of authinfo name as "T:oauth2:NAME".
type OAuth2 struct {
	Name             string
	TokenURL         string
	Grant            string // "client_credentials" or "refresh_token"
	ClientID         string
	ClientSecretFile string
	RefreshTokenFile string   // of the grant refresh_token; written when the server gives a new one
	Scope            []string // of the grant client_credentials
	Basic            bool     // auth_method is client_secret_basic, not client_secret_post
	Line             int
}

// The grants of OAuth2.
const (
	grantClient  = "client_credentials"
	grantRefresh = "refresh_token"
)

func loginKeys() []key {
	return []key{
		{"authinfo", readAuthInfo},
		{"auth_allow_clear", readAllowClear},
	}
}

// readAuthInfo takes a text or a database: a server would have to be trusted with the
// passwords, and a list of tables has none of sendmail's order.
func readAuthInfo(c *Config, v value) {
	m, ok := readMap(v, "/etc/mail/authinfo")
	if !ok {
		return
	}
	switch m.Kind {
	case kindText, kindDB, kindCDB, kindLMDB:
		c.Relay.AuthInfo, c.Relay.AuthInfoLine = m, v.r.doc.line(v.path)
	default:
		v.wrong("expected a file such as \"/etc/mail/authinfo\" or \"/etc/mail/authinfo.db\"")
	}
}

func readAllowClear(c *Config, v value) {
	const example = "smtp.lan"
	list, ok := v.list(example)
	if !ok {
		return
	}
	for _, e := range list {
		s, ok := e.text(example)
		if !ok {
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(s, "."))
		_, notAddr := netip.ParseAddr(s)
		switch {
		case strings.Contains(s, "/") || notAddr == nil:
			p, ok := network(e, s)
			if !ok {
				continue
			}
			name = p.String()
		case !hostName(name):
			e.wrong("expected a server's name such as %q, an address or a network", example)
			continue
		}
		c.Relay.AuthAllowClear = append(c.Relay.AuthAllowClear, name)
	}
}

// ClearAllowed tells whether a server may be logged in to without TLS, by its name or its
// address; either may be empty.
func (l *Logins) ClearAllowed(host string, addr netip.Addr) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, allowed := range l.AuthAllowClear {
		if p, err := netip.ParsePrefix(allowed); err == nil {
			if addr.IsValid() && p.Contains(addr.Unmap().WithZone("")) {
				return true
			}
		} else if allowed == host {
			return true
		}
	}
	return false
}

// readOAuth2 reads the tables [[oauth2]].
func readOAuth2(c *Config, v value) {
	l, ok := v.v.([]any)
	if !ok || len(l) == 0 {
		v.wrong("expected tables, each beginning with [[oauth2]]")
		return
	}
	names := map[string]bool{}
	for _, e := range v.elements(l) {
		o := OAuth2{Line: v.r.doc.line(e.path)}
		v.r.table(c, e, oauth2Keys(&o))
		v.r.checkOAuth2(e.path, &o)
		if names[o.Name] && o.Name != "" {
			v.r.fault(e.path, "%s has the name %q, which another one has", e.path, o.Name)
		}
		names[o.Name] = true
		c.OAuth2 = append(c.OAuth2, o)
	}
}

func oauth2Keys(o *OAuth2) []key {
	text := func(name, example string, at *string) key {
		return key{name, func(_ *Config, v value) { *at, _ = v.text(example) }}
	}
	file := func(name, example string, at *string) key {
		return key{name, func(_ *Config, v value) { *at, _ = v.file(example) }}
	}
	return []key{
		{"name", func(_ *Config, v value) {
			if o.Name, _ = v.text("gmail"); strings.ContainsAny(o.Name, "\" \t") {
				v.wrong("expected a name without blanks and quotation marks, such as \"gmail\"")
			}
		}},
		{"token_url", readTokenURL(o)},
		{"grant", func(_ *Config, v value) { o.Grant, _ = v.oneOf(grantClient, grantRefresh) }},
		text("client_id", "0123-abcd", &o.ClientID),
		file("client_secret_file", "/etc/gatepost/oauth2.secret", &o.ClientSecretFile),
		file("refresh_token_file", "/var/lib/gatepost/oauth2.refresh", &o.RefreshTokenFile),
		{"scope", func(_ *Config, v value) {
			list, _ := v.list("https://mail.google.com/")
			for _, e := range list {
				s, _ := e.text("https://mail.google.com/")
				o.Scope = append(o.Scope, strings.Fields(s)...)
			}
		}},
		{"auth_method", func(_ *Config, v value) {
			s, _ := v.oneOf("client_secret_post", "client_secret_basic")
			o.Basic = s == "client_secret_basic"
		}},
	}
}

// readTokenURL takes https only: what goes there is a secret. A helper on this host may
// do without.
func readTokenURL(o *OAuth2) func(*Config, value) {
	const example = "https://oauth2.googleapis.com/token"
	return func(_ *Config, v value) {
		s, ok := v.text(example)
		if !ok {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.User != nil {
			v.wrong("expected a URL such as %q", example)
			return
		}
		addr, _ := netip.ParseAddr(u.Hostname())
		if u.Scheme != "https" && (u.Scheme != "http" || !addr.IsLoopback()) {
			v.wrong("expected a URL that begins with https://: secrets are sent there")
			return
		}
		o.TokenURL = s
	}
}

func (r *reader) checkOAuth2(path string, o *OAuth2) {
	need := []struct{ name, value, example string }{
		{"name", o.Name, "gmail"}, {"token_url", o.TokenURL, "https://oauth2.googleapis.com/token"},
		{"grant", o.Grant, grantRefresh}, {"client_id", o.ClientID, "0123-abcd"},
	}
	switch o.Grant {
	case grantClient:
		need = append(need, struct{ name, value, example string }{"client_secret_file", o.ClientSecretFile, "/etc/gatepost/oauth2.secret"})
		if o.RefreshTokenFile != "" {
			r.fault(path+".refresh_token_file", "%s.refresh_token_file means nothing with grant = %q", path, grantClient)
		}
	case grantRefresh:
		need = append(need, struct{ name, value, example string }{"refresh_token_file", o.RefreshTokenFile, "/var/lib/gatepost/oauth2.refresh"})
		if len(o.Scope) > 0 { // RFC 6749, section 6: that of the refresh token
			r.fault(path+".scope", "%s.scope means nothing with grant = %q: the refresh token was given for one", path, grantRefresh)
		}
	}
	for _, n := range need {
		if _, said := r.doc.lines[path+"."+n.name]; n.value == "" && !said {
			r.fault(path, "%s has no %s, expected %s = %q", path, n.name, n.name, n.example)
		}
	}
}
