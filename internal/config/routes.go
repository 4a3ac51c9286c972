package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"gatepost/internal/smtp"
)

// Routes is what [relay] says of the ways out.
type Routes struct {
	SmartHost       SmartHost // where mail goes that has no other way; not Set: to the mail exchangers of its domain
	Mailertable     Table     // FEATURE(mailertable); not Named: none
	RelayMailerPort uint16    // of the mailer relay, and of the smart host, where none is named
	InetProtocols   []string  // "ipv4", "ipv6"
}

// SmartHost is a smart host (SMART_HOST).
type SmartHost struct {
	Mailer string // "" when none is named
	Hosts  string // as written
	Hops   []smtp.NextHop
}

// Set tells whether there is one.
func (h SmartHost) Set() bool { return len(h.Hops) > 0 }

// String is how it was written.
func (h SmartHost) String() string {
	if h.Mailer == "" {
		return h.Hosts
	}
	return h.Mailer + ":" + h.Hosts
}

// smartHostAt tells whether a listening address of this host, HOST:PORT, takes connections
// to the smart host.
func (c *Config) smartHostAt(listen string) bool {
	return slices.ContainsFunc(c.Relay.SmartHost.Hops, func(h smtp.NextHop) bool {
		if h.Port == 0 {
			h.Port = 25
			if m := c.Relay.SmartHost.Mailer; m == "" || m == "relay" {
				h.Port = c.Relay.RelayMailerPort
			}
		}
		return hopIsAt(h, listen)
	})
}

func hopIsAt(h smtp.NextHop, listen string) bool {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port != strconv.Itoa(int(h.Port)) {
		return false
	}
	at, _ := netip.ParseAddr(host)
	to, _ := netip.ParseAddr(h.Host)
	local := to.IsLoopback() || strings.EqualFold(h.Host, "localhost")
	return strings.EqualFold(host, h.Host) || local && (host == "" || at.IsUnspecified())
}

func defaultRoutes() Routes {
	return Routes{RelayMailerPort: 25, InetProtocols: []string{"ipv4", "ipv6"}}
}

func routeKeys() []key {
	return []key{
		{"smart_host", readSmartHost},
		{"mailertable", func(c *Config, v value) { readTable(&c.Relay.Mailertable, v, "/etc/mail/mailertable") }},
		{"relay_mailer_port", func(c *Config, v value) {
			if n, ok := v.integer(1, 65535); ok {
				c.Relay.RelayMailerPort = uint16(n)
			}
		}},
		{"inet_protocols", readProtocols},
	}
}

// readSmartHost reads [MAILER:]HOST, with several hosts and a port as
// smtp.ParseNextHops has them.
func readSmartHost(c *Config, v value) {
	const example = "[smtp.isp.example]:587"
	s, ok := v.text(example)
	if !ok {
		return
	}
	h := SmartHost{Hosts: strings.TrimSpace(s)}
	mailer, rest, found := smtp.CutMailer(h.Hosts)
	first, _, _ := strings.Cut(rest, ":")
	_, noPort := strconv.ParseUint(first, 10, 16) // of a host with one label
	_, noAddr := netip.ParseAddr(h.Hosts)         // of IPv6, without brackets
	switch {
	case found && slices.Contains(smtpMailers(), mailer):
		h.Mailer, h.Hosts = mailer, rest
	case found && noPort != nil && noAddr != nil:
		v.wrong("expected one of the mailers %s before the host, or none", strings.Join(smtpMailers(), ", "))
		return
	}
	var err error
	if h.Hops, err = smtp.ParseNextHops(h.Hosts); err != nil {
		v.wrong("expected a host, and a port after a colon, such as %q or \"192.0.2.25\": %v", example, err)
		return
	}
	c.Relay.SmartHost = h
}

// smtpMailers are the mailers of MAILER(smtp).
func smtpMailers() []string { return []string{"relay", "smtp", "esmtp", "smtp8", "dsmtp"} }

func readProtocols(c *Config, v value) {
	if v.v == "all" {
		c.Relay.InetProtocols = defaultRoutes().InetProtocols
		return
	}
	list, ok := v.list("ipv4")
	if !ok {
		return
	}
	c.Relay.InetProtocols = nil
	for _, e := range list {
		if s, ok := e.oneOf("ipv4", "ipv6"); ok {
			c.Relay.InetProtocols = append(c.Relay.InetProtocols, s)
		}
	}
}

// checkRoutes checks what no single key about routes can tell.
func (r *reader) checkRoutes(c *Config) {
	l := &c.Relay
	if l.LocalMail.Kind == LocalSmartHost && !l.SmartHost.Set() {
		r.fault("relay.local_mail", "relay.local_mail is \"smart_host\" and there is none, expected smart_host = \"[mail.example.com]\" or another local_mail")
	}
	if slices.ContainsFunc(l.Listen, c.smartHostAt) {
		r.fault("relay.smart_host", "relay.smart_host is %q, where relay.listen has us ourselves: mail would go round in circles", l.SmartHost)
	}
}
