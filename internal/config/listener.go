package config

import (
	"crypto/tls"
	"net/netip"
	"strings"
)

// Listener is a table [[listener]]: addresses that gatepost-relay takes mail at, and
// what holds there. sendmail's word for it is DAEMON_OPTIONS.
type Listener struct {
	Name   string // {daemon_name}; systemd's FileDescriptorName
	Kind   ListenerKind
	Listen []string // HOST:PORT, as Relay.Listen
	TLS    TLSUse
	MinTLS uint16 // crypto/tls's number of the oldest version; 0 is Relay.TLSMin

	Auth        bool // AUTH is offered
	RequireAuth bool // before MAIL
	PlainAuth   bool // passwords may cross the wire as they are

	Networks []netip.Prefix // clients that may connect; none: all
	Sender   string         // the envelope sender of all mail, whatever the client says; "" leaves it
	Quota    int            // messages an hour of a client; 0: any number
	Line     int
}

// ListenerKind is what a listener is for; it sets what its table does not say.
type ListenerKind string

// The kinds of listeners.
const (
	ListenMTA        ListenerKind = "mta"        // other mail servers, port 25
	ListenSubmission ListenerKind = "submission" // users' programs, port 587 (RFC 6409)
	ListenSMTPS      ListenerKind = "smtps"      // the same with TLS from the first byte, port 465 (RFC 8314)
	ListenDevice     ListenerKind = "device"     // printers and scanners that can do neither TLS nor AUTH
)

// TLSUse says whether a listener has TLS.
type TLSUse string

// The uses of TLS.
const (
	TLSNone     TLSUse = "none"
	TLSMay      TLSUse = "may"      // STARTTLS is offered
	TLSRequired TLSUse = "required" // no mail, and no AUTH, before STARTTLS
	TLSImplicit TLSUse = "implicit" // from the first byte
)

// maxQuota bounds quota; defaultQuota is that of devices.
const (
	maxQuota     = 1_000_000
	defaultQuota = 100
)

// listenerName is the name of relay.listen: sendmail's own for port 25.
const listenerName = "MTA"

// AllListeners are all listeners of the relay, that of relay.listen first.
func (c *Config) AllListeners() []Listener {
	if len(c.Relay.Listen) == 0 {
		return c.Listeners
	}
	return append([]Listener{c.PlainListener()}, c.Listeners...)
}

// PlainListener is that of relay.listen: of kind mta, with STARTTLS if there is a
// certificate, without AUTH.
func (c *Config) PlainListener() Listener {
	return Listener{Name: listenerName, Kind: ListenMTA, Listen: c.Relay.Listen, TLS: c.defaultTLS(ListenMTA)}
}

// defaultTLS is what a kind of listener does about TLS if it is not told.
func (c *Config) defaultTLS(kind ListenerKind) TLSUse {
	switch {
	case kind == ListenSubmission:
		return TLSRequired
	case kind == ListenSMTPS:
		return TLSImplicit
	case kind == ListenMTA && c.Relay.ServerCert != "":
		return TLSMay
	}
	return TLSNone
}

// readListeners reads the tables [[listener]]. The kind sets what a table does not
// say; about TLS checkListeners does, when the whole file is known.
func readListeners(c *Config, v value) {
	l, ok := v.v.([]any)
	if !ok || len(l) == 0 {
		v.wrong("expected tables, each beginning with [[listener]]")
		return
	}
	for _, e := range v.elements(l) {
		m, _ := e.v.(map[string]any)
		kind, _ := m["kind"].(string)
		one := Listener{Kind: ListenerKind(kind), Line: v.r.doc.line(e.path)}
		one.Auth = one.Kind == ListenSubmission || one.Kind == ListenSMTPS
		one.RequireAuth = one.Auth
		if one.Kind == ListenDevice {
			one.Quota = defaultQuota
		}
		v.r.table(c, e, listenerKeys(&one))
		for _, need := range []struct{ name, example string }{
			{"name", `"MSA"`}, {"kind", `"submission"`}, {"listen", `[":587"]`},
		} {
			if _, said := m[need.name]; !said && m != nil {
				v.r.fault(e.path, "%s has no %s, expected %s = %s", e.path, need.name, need.name, need.example)
			}
		}
		c.Listeners = append(c.Listeners, one)
	}
}

func listenerKeys(l *Listener) []key {
	flag := func(name string, at *bool) key {
		return key{name, func(_ *Config, v value) { *at, _ = v.boolean() }}
	}
	return []key{
		{"name", func(_ *Config, v value) { l.Name = v.listenerName() }},
		{"kind", func(_ *Config, v value) {
			s, _ := v.oneOf(string(ListenMTA), string(ListenSubmission), string(ListenSMTPS), string(ListenDevice))
			l.Kind = ListenerKind(s)
		}},
		{"listen", func(_ *Config, v value) { l.Listen = v.listenAddresses(":587") }},
		{"tls", func(_ *Config, v value) {
			s, _ := v.oneOf(string(TLSNone), string(TLSMay), string(TLSRequired), string(TLSImplicit))
			l.TLS = TLSUse(s)
		}},
		{"min_tls", func(_ *Config, v value) { l.MinTLS = v.tlsVersion("1.0", "1.1", "1.2", "1.3") }},
		flag("auth", &l.Auth),
		flag("require_auth", &l.RequireAuth),
		flag("allow_plaintext_auth", &l.PlainAuth),
		{"networks", func(_ *Config, v value) { l.Networks = v.networks() }},
		{"sender", func(_ *Config, v value) { l.Sender = v.mailbox("scanner@example.com") }},
		{"quota", func(_ *Config, v value) { l.Quota, _ = v.integer(1, maxQuota) }},
	}
}

// listenerName is a name that {daemon_name} and systemd can have.
func (v value) listenerName() string {
	s, ok := v.text("MSA")
	if ok && (len(s) > 32 || strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.'
	})) {
		v.wrong("expected at most 32 letters, digits, dots, - and _")
	}
	return s
}

// listenAddresses is HOST:PORT or a list of them.
func (v value) listenAddresses(example string) []string {
	list, ok := v.list(example)
	if !ok {
		return nil
	}
	var out []string
	for _, e := range list {
		s, ok := e.text(example)
		if !ok {
			continue
		}
		if err := CheckListenAddress(s); err != nil {
			e.wrong("%s", err)
		}
		out = append(out, s)
	}
	return out
}

// networks is a network or a list of them.
func (v value) networks() []netip.Prefix {
	const example = "10.0.0.0/8"
	list, ok := v.list(example)
	if !ok {
		return nil
	}
	var out []netip.Prefix
	for _, e := range list {
		if s, ok := e.text(example); ok {
			if p, ok := network(e, s); ok {
				out = append(out, p)
			}
		}
	}
	return out
}

// mailbox is an address with a domain, in its plainest form.
func (v value) mailbox(example string) string {
	s, ok := v.text(example)
	at := strings.LastIndexByte(s, '@')
	if ok && (at < 1 || len(s) > 254 || !hostName(s[at+1:]) || strings.ContainsFunc(s[:at], func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>[]:;@\,"%!`, c)
	})) {
		v.wrong("expected an address such as %q", example)
	}
	return s
}

// tlsVersion is one of the versions of TLS as crypto/tls numbers them.
func (v value) tlsVersion(words ...string) uint16 {
	s, _ := v.oneOf(words...)
	return map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[s]
}
