// Package route says where mail for an address goes: to local mail, where the mailertable
// says, to the smart host, or to the mail exchangers of its domain, as sendmail's rule set
// parse does. It decides about ways, never about whether somebody may relay.
package route

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"

	"gatepost/internal/dns"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/relay/deliver"
	"gatepost/relay/route/mailertable"
)

// Site is what a Router must know of this host, as it is at the moment of asking.
type Site interface {
	dns.Resolver
	HostName() string
	// IsLocal tells whether a domain, or an address in brackets, is in class w.
	IsLocal(ctx context.Context, domain string) (bool, error)
	// Mailertable is nil when there is none.
	Mailertable() maps.Map
	// Hosts is the hosts file.
	Hosts() *dns.Hosts
}

// Config is what a Router is told.
type Config struct {
	Site Site

	// SmartHost is where mail goes that is neither local nor in the mailertable; the zero
	// value has it go to the mail exchangers of its domain.
	SmartHost SmartHost

	// RelayPort is the port of the mailer relay where none is named; 0 is 25.
	RelayPort uint16

	// IPv4 and IPv6 say which addresses are used; neither is both.
	IPv4, IPv6 bool

	// Listening tells whether this program takes mail at an address of this machine and
	// the port for mail, 25: mail sent there would come back. nil: it never does.
	Listening func(ctx context.Context, addr netip.Addr) bool
}

// SmartHost is a smart host, with its mailer.
type SmartHost struct {
	Mailer string // "" for one that was written without, which is relay
	Host   string // as written
	Hops   []smtp.NextHop
	Source string // where it stands, for Answer.Source
}

// Router finds ways. It is safe for concurrent use.
type Router struct{ config Config }

// New makes a Router.
func New(config Config) *Router {
	if !config.IPv4 && !config.IPv6 {
		config.IPv4, config.IPv6 = true, true
	}
	return &Router{config}
}

// Answer is the way for a recipient: what sendmail -bt tells for /parse, and why.
type Answer struct {
	Mailer string // smtp, esmtp, smtp8, dsmtp or relay; local, lmtp, error or discard
	Host   string // as the table has it; the domain when nothing names another
	User   string // the address that the mail is for: the recipient, unless the table has another

	// Destination is where SMTP and LMTP deliver to (deliver.ParseDestination); "" for other mailers.
	Destination string

	// Strange says that nothing but the recipient's own domain decides where the mail goes:
	// whoever publishes that domain names the servers.
	Strange bool

	Fault smtp.Reply // of mailer error

	Source string   // what decided: "/etc/mail/mailertable:3", "relay.smart_host"; "" when nothing special did
	Rule   string   // the entry: ".lan smtp:[%1.lan]"
	Keys   []string // that were tried in the mailertable
}

// Mailers that the answer has besides those of the mailertable: _SMTP_ of proto.m4.
const (
	mailerSMTP = "esmtp"
)

// Route finds the way for a recipient, an address without angle brackets whose old routes
// have been taken off. The sender has no say in it yet. A deliver.NoRoute says that there
// is no way and why; another error that it cannot be told now.
func (r *Router) Route(ctx context.Context, _, recipient string) (Answer, error) {
	to := smtp.ParseMailbox(recipient, smtp.Syntax{NoUUCP: true, NoPercentHack: true})
	to.Domain = strings.TrimSuffix(to.Domain, ".")
	if to.Domain == "" {
		return Answer{Mailer: mailertable.Local, User: to.Local + "@" + r.config.Site.HostName()}, nil
	}
	if !smtp.ValidDomain(to.Domain) {
		return Answer{}, failed(status(5, 1, 2), "%q is no host name", to.Domain)
	}
	switch local, err := r.config.Site.IsLocal(ctx, to.Domain); {
	case err != nil:
		return Answer{}, fmt.Errorf("whether %s is local cannot be told: %w", to.Domain, err)
	case local:
		return Answer{Mailer: mailertable.Local, User: to.String()}, nil
	}
	if strings.HasPrefix(to.Domain, "[") {
		return r.untabled(ctx, to, "")
	}
	domain, err := asciiDomain(to.Domain)
	if err != nil {
		return Answer{}, err
	}
	a, found, err := r.tabled(ctx, to, domain)
	if found || err != nil {
		return a, err
	}
	rest, err := r.untabled(ctx, to, domain)
	rest.Keys = a.Keys
	return rest, err
}

// tabled asks the mailertable.
func (r *Router) tabled(ctx context.Context, to smtp.Mailbox, domain string) (a Answer, found bool, err error) {
	table := r.config.Site.Mailertable()
	if table == nil {
		return Answer{}, false, nil
	}
	m, keys, err := mailertable.Find(ctx, table, domain)
	if m == nil || err != nil {
		return Answer{Keys: keys}, false, err
	}
	a = Answer{
		Mailer: m.Mailer, Host: m.Host, User: to.String(), Keys: keys,
		Fault: m.Reply, Source: m.Entry.Source.String(), Rule: m.Key + " " + m.Entry.Value,
	}
	switch {
	case m.User != "" && m.Mailer == mailertable.Local:
		a.User = m.User + "@" + r.config.Site.HostName()
	case m.User != "":
		a.User = m.User
	}
	switch {
	case m.Mailer == mailertable.LMTP && m.Socket != "":
		a.Destination = "unix:" + m.Socket
	case m.Hops != nil:
		a.Destination = r.destination(m.Mailer, m.Hops)
	case m.Mailer == mailertable.Local, m.Mailer == mailertable.Error, m.Mailer == mailertable.Discard:
	default:
		a.Host = domain
		a.Destination = toDomain(domain, r.port(m.Mailer))
	}
	a.Strange = m.Key == "." && strings.Contains(a.Host, domain)
	return a, true, nil
}

// untabled is the way to the smart host, or to the domain itself; domain is "" for an
// address literal.
func (r *Router) untabled(ctx context.Context, to smtp.Mailbox, domain string) (Answer, error) {
	a := Answer{Mailer: mailerSMTP, Host: to.Domain, User: to.String()}
	smart := &r.config.SmartHost
	self, err := r.smartHostIsSelf(ctx)
	switch {
	case err != nil:
		return Answer{}, err
	case smart.Hops != nil && !self:
		way := r.ToSmartHost()
		way.User = a.User
		return way, nil
	case domain == "":
		a.Strange = true
		a.Destination, err = r.toLiteral(ctx, to.Domain)
		return a, err
	}
	a.Host, a.Destination, a.Strange = domain, toDomain(domain, 0), true
	return a, nil
}

// ToSmartHost is the way to the smart host, for no recipient yet. There must be one.
func (r *Router) ToSmartHost() Answer {
	smart := &r.config.SmartHost
	a := Answer{Mailer: mailertable.Relay, Host: smart.Host, Source: smart.Source, Rule: "smart_host " + smart.Host}
	if smart.Mailer != "" {
		a.Mailer, a.Rule = smart.Mailer, "smart_host "+smart.Mailer+":"+smart.Host
	}
	a.Destination = r.destination(a.Mailer, smart.Hops)
	return a
}

// smartHostIsSelf tells whether the smart host is this host: then there is none
// (MailerToTriple: delete local host). So a cluster can share one configuration.
func (r *Router) smartHostIsSelf(ctx context.Context) (bool, error) {
	smart := &r.config.SmartHost
	if len(smart.Hops) != 1 || smart.Mailer != "" || !smart.Hops[0].MX {
		return false, nil
	}
	self, err := r.config.Site.IsLocal(ctx, smart.Hops[0].Host)
	if err != nil {
		err = fmt.Errorf("whether the smart host is this host cannot be told: %w", err)
	}
	return self, err
}

// port is that of a mailer where no port is named; 0 is the usual one.
func (r *Router) port(mailer string) uint16 {
	if mailer == mailertable.Relay && r.config.RelayPort != deliverPort {
		return r.config.RelayPort
	}
	return 0
}

func (r *Router) destination(mailer string, hops []smtp.NextHop) string {
	out := make([]deliver.Hop, len(hops))
	for i, h := range hops {
		out[i] = deliver.Hop{Host: h.Host, MX: h.MX, Port: h.Port}
		if h.Port == 0 {
			out[i].Port = r.port(mailer)
		}
	}
	return deliver.FormatDestination(out)
}

// toDomain is the destination of the mail exchangers of a domain.
func toDomain(domain string, port uint16) string {
	return deliver.FormatDestination([]deliver.Hop{{Host: domain, MX: true, Port: port}})
}

// asciiDomain is a domain as the DNS has it (RFC 5890).
func asciiDomain(domain string) (string, error) {
	ascii := strings.ToLower(domain)
	if strings.ContainsFunc(domain, func(c rune) bool { return c >= 0x80 }) {
		var err error
		if ascii, err = idna.Lookup.ToASCII(domain); err != nil {
			return "", failed(status(5, 1, 2), "%q is no host name", domain)
		}
	}
	if hops, err := smtp.ParseNextHops(ascii); err != nil || len(hops) != 1 || !hops[0].MX || hops[0].Port != 0 {
		return "", failed(status(5, 1, 2), "%q is no host name", domain)
	}
	return ascii, nil
}

// toLiteral is the destination of a literal, [192.0.2.1]. Strangers' mail does not go to
// where we listen ourselves.
func (r *Router) toLiteral(ctx context.Context, literal string) (string, error) {
	hops, err := smtp.ParseNextHops(literal)
	if err != nil || len(hops) != 1 {
		return "", failed(status(5, 1, 2), "%s is no address", literal)
	}
	if addr, err := netip.ParseAddr(hops[0].Host); err == nil && r.isSelf(ctx, addr) {
		return "", failed(statusLoop(), "mail for %s loops back to this host", literal)
	}
	return r.destination(mailerSMTP, hops), nil
}
