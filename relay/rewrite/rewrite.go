// Package rewrite gives senders and header addresses the form in which they are to be
// seen outside, as sendmail's masquerading does (cf/README, "MASQUERADING AND RELAYING";
// rule sets MasqHdr and MasqEnv), and has smart hosts that insist see the account as the
// sender. Of a message only address bytes are replaced: what no rule asks to change stays
// as it is, byte by byte, and so does the body.
package rewrite

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// Mailer says by whose rule sets addresses are written.
type Mailer uint8

// The mailers, under their names in sendmail.
const (
	Relay Mailer = iota // mailer relay: the smart host
	SMTP                // mailers smtp, esmtp and their like
	Local               // mailer local: maildirs
	LMTP                // mailer local with FEATURE(local_lmtp)
)

func mailerNames() []string { return []string{"relay", "smtp", "local", "lmtp"} }

func (m Mailer) String() string {
	if names := mailerNames(); int(m) < len(names) {
		return names[m]
	}
	return fmt.Sprintf("Mailer(%d)", uint8(m))
}

// ParseMailer is the mailer with a name; esmtp, smtp8 and dsmtp are as smtp.
func ParseMailer(name string) (Mailer, error) {
	switch name {
	case "esmtp", "smtp8", "dsmtp":
		return SMTP, nil
	}
	if i := slices.Index(mailerNames(), name); i >= 0 {
		return Mailer(i), nil
	}
	return 0, fmt.Errorf("no mailer %q, expected one of %s", name, strings.Join(mailerNames(), ", "))
}

// isLocal tells whether the rule sets of mailer local are meant.
func (m Mailer) isLocal() bool { return m == Local || m == LMTP }

// Place says where an address stands.
type Place uint8

// The places, which sendmail's test mode knows as HS, HR, ES and ER.
const (
	HeaderSender Place = iota
	HeaderRecipient
	EnvelopeSender
	EnvelopeRecipient
)

func (p Place) String() string {
	switch p {
	case HeaderSender:
		return "header sender"
	case HeaderRecipient:
		return "header recipient"
	case EnvelopeSender:
		return "envelope sender"
	case EnvelopeRecipient:
		return "envelope recipient"
	}
	return fmt.Sprintf("Place(%d)", uint8(p))
}

// Config is what a Rewriter is made of. Maps are snapshots, or servers.
type Config struct {
	HostName     string // $j
	MasqueradeAs string // MASQUERADE_AS, $M; "": no masquerading

	Local           []maps.Map // class w
	Domains         []maps.Map // MASQUERADE_DOMAIN, class M
	Exceptions      []maps.Map // MASQUERADE_EXCEPTION, class N
	Exposed         []maps.Map // EXPOSED_USER, class E
	Generics        maps.Map   // FEATURE(genericstable); nil without
	GenericsDomains []maps.Map // GENERICS_DOMAIN, class G

	Features Features
	Accounts Accounts
	Syntax   smtp.Syntax
}

// Features are sendmail's FEATURE()s about rewriting.
type Features struct {
	MasqueradeEnvelope     bool
	MasqueradeEntireDomain bool
	LimitedMasquerade      bool
	AllMasquerade          bool
	LocalNoMasquerade      bool
	GenericsEntireDomain   bool
	AlwaysAddDomain        bool
	AddDomain              string // argument of always_add_domain; "": the host's name, or what masquerades it
}

// Rewriter rewrites addresses by one state of the configuration and the tables. It is
// safe for concurrent use.
type Rewriter struct {
	c      Config
	domain string // $m
}

// New makes a Rewriter.
func New(c Config) *Rewriter {
	c.MasqueradeAs = strings.TrimRight(c.MasqueradeAs, ".")
	_, domain, _ := strings.Cut(c.HostName, ".")
	return &Rewriter{c: c, domain: domain}
}

// Active tells whether anything is configured. What is not active changes nothing: it
// does not even give unqualified addresses a domain.
func (r *Rewriter) Active() bool {
	return r != nil && (r.c.MasqueradeAs != "" || r.c.Generics != nil || r.c.Features.AlwaysAddDomain || r.c.Accounts.any())
}

// masquerades tells whether addresses are rewritten, whoever the next hop is.
func (r *Rewriter) masquerades() bool {
	return r.c.MasqueradeAs != "" || r.c.Generics != nil || r.c.Features.AlwaysAddDomain
}

// Accounts are those as which mail is sent to next hops that insist.
func (r *Rewriter) Accounts() Accounts { return r.c.Accounts }

// Result is what becomes of an address.
type Result struct {
	Address string // as sendmail writes it
	Changed bool   // a rule asks for it; if not, the bytes stay as they were
	Rule    string // the option that decided; "" when none had anything to say
	Source  string // the entry that decided: "/etc/mail/genericstable:3"; "" when it was none
}

// Address tells what becomes of an address without angle brackets and comments. Those
// that are no address, and the null one, stay as they are. The error means that a table
// could not be asked.
func (r *Rewriter) Address(ctx context.Context, by Mailer, p Place, text string) (Result, error) {
	if text == "" || len(text) > smtp.MaxPath || !r.masquerades() || by.isLocal() && p == EnvelopeRecipient {
		return Result{Address: text}, nil
	}
	q := &query{r: r, ctx: ctx}
	m, ok := q.parse(text)
	if !ok {
		return Result{Address: text}, nil
	}
	a := q.canonify(m)
	q.apply(&a, by, p)
	if q.err != nil {
		return Result{Address: text}, q.err
	}
	out := Result{Address: q.final(a), Changed: q.changed, Rule: q.rule, Source: q.source}
	if q.err != nil || len(out.Address) > smtp.MaxPath {
		return Result{Address: text}, q.err
	}
	out.Changed = out.Changed && out.Address != text
	return out, nil
}

// apply has the rule sets of a mailer work on an address.
func (q *query) apply(a *address, m Mailer, p Place) {
	f := &q.r.c.Features
	toAll := p == HeaderRecipient && f.AllMasquerade
	switch {
	case m.isLocal() && (m != LMTP || p != EnvelopeSender):
		if f.AlwaysAddDomain {
			q.addDomain(a)
		}
		if f.LocalNoMasquerade {
			return
		}
	case p == EnvelopeSender || p == HeaderSender || m != Relay:
		q.uucp(a)
		fallthrough
	default:
		q.qualify(a)
	}
	switch {
	case p == HeaderSender || toAll:
		q.masquerade(a)
	case p == EnvelopeSender && f.MasqueradeEnvelope:
		q.masquerade(a)
	}
}
