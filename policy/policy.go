// Package policy decides who may relay: Facts in, Decision out. It reproduces
// the anti-spam rule sets of sendmail (check_relay, check_mail, check_rcpt) with
// their FEATUREs, and writes down every question it asked on the way. It knows
// no protocol, no file and no socket.
//
// Rules are short functions in the order of sendmail's rule sets; plan.go has
// that order as data. Rules reach tables and the DNS only through an inquiry,
// which records the question, the answer and where it came from.
//
// Source: sendmail 8.17 cf/m4/proto.m4 and cf/README.
package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gatepost/internal/dns"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy/dnsbl"
)

// Config is all that a Policy is made of. Its tables are snapshots: a Policy
// never changes.
type Config struct {
	HostName       string     // $j, this host's full name
	Domain         string     // $m, its domain part
	Access         maps.Map   // FEATURE(access_db); nil without it
	RelayDomains   []maps.Map // class R
	LocalHostNames []maps.Map // class w: the file, and the names that always belong to it
	OwnDomains     []maps.Map // class m
	VirtualHosts   []maps.Map // domains that the UnixWare check takes for ours; none without
	Trusted        maps.Map   // clients that may relay, as on UnixWare; nil without
	Spammers       maps.Map   // senders that are refused, as on UnixWare; nil without
	Features       Features
	Messages       Messages
	Resolver       dns.Resolver
	Hosts          *dns.Hosts // /etc/hosts; may be nil
	Lists          *dnsbl.Set // what is known of the DNS lists; nil: all of them can be believed
}

// Policy answers the questions of a mail session. It is immutable and may be
// used by any number of sessions at once.
type Policy struct {
	host, domain string
	access       maps.Map
	relayDomains class // R
	localNames   class // w
	ownDomains   class // m
	virtualHosts class
	trusted      maps.Map
	spammers     maps.Map
	features     Features
	rejected     errorText // confREJECT_MSG
	blocked      errorText // confRCPTREJ_MSG
	denied       errorText // confRELAY_MSG
	syntax       smtp.Syntax
	routing      string // sendmail's class O: characters of a local part that route
	resolver     dns.Resolver
	hosts        *dns.Hosts
	dnsLists     []*dnsList
	scored       errorText // dnsbl_message
	plan         [stages][]check
	inquiries    sync.Pool
}

// New checks the configuration and builds the policy.
func New(c Config) (*Policy, error) {
	switch {
	case c.HostName == "":
		return nil, errors.New("policy: no host name")
	case c.Resolver == nil:
		return nil, errors.New("policy: no resolver")
	}
	p := &Policy{
		host:         strings.TrimSuffix(c.HostName, "."),
		domain:       strings.TrimSuffix(c.Domain, "."),
		access:       c.Access,
		relayDomains: class{"relay_domains", c.RelayDomains},
		localNames:   class{"local_host_names", c.LocalHostNames},
		ownDomains:   class{"own domain", c.OwnDomains},
		virtualHosts: class{"virtual_hosts", c.VirtualHosts},
		trusted:      c.Trusted,
		spammers:     c.Spammers,
		features:     c.Features,
		syntax: smtp.Syntax{
			NoUUCP:        c.Features.NoUUCP != SpecialRoute,
			NoPercentHack: c.Features.NoPercentHack != SpecialRoute,
		},
		routing:  "@",
		resolver: c.Resolver,
		hosts:    c.Hosts,
	}
	if !p.syntax.NoPercentHack {
		p.routing += "%"
	}
	if !p.syntax.NoUUCP {
		p.routing += "!"
	}
	if p.features.CheckRcpt == CheckRcptUnixWare {
		// loose_relay_check is about domains that are relayed; what the six steps
		// permit is all ours, and routes through it are always followed.
		p.features.LooseRelayCheck = false
	}
	if p.features.BlockBadHelo {
		p.relayDomains.words = append(slices.Clone(p.relayDomains.words), maps.NewClass("block_bad_helo", []string{"127.0.0.1", "IPv6:0:0:0:0:0:0:0:1", "IPv6:::1"}))
		p.localNames.words = append(slices.Clone(p.localNames.words), maps.NewClass("block_bad_helo", []string{"[127.0.0.1]", "[IPv6:0:0:0:0:0:0:0:1]", "[IPv6:::1]"}))
	}
	if err := p.useMessages(&c.Messages); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if err := p.useDNSLists(c.Lists); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	var err error
	if p.plan, err = newPlan(p); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return p, nil
}

// CountsClients tells whether the policy looks at how many connections a client
// has made.
func (p *Policy) CountsClients() bool { return p.features.RateControl.On || p.features.ConnControl.On }

// IsLocal tells whether a domain is one of this host's own (class w). An error
// means that a table could not be asked.
func (p *Policy) IsLocal(ctx context.Context, domain string) (bool, error) {
	_, found, err := p.localNames.find(ctx, domain)
	return found, err
}

// Decide answers what is to happen at a stage. It has no error result: a lookup
// that could not be made becomes a verdict, in inquiry.run.
func (p *Policy) Decide(ctx context.Context, at Stage, f *Facts) Decision {
	q := p.newInquiry(at, f)
	defer q.endLists()
	verdict := Verdict{Action: Accept}
	for i := range p.plan[at] {
		out := q.check(ctx, &p.plan[at][i])
		if out.verdict.Action != Undecided {
			verdict = out.verdict
		}
		if out.ends == endStage {
			break
		}
	}
	return Decision{Stage: at, Verdict: verdict, Steps: q.steps, Recipient: q.understood(), inquiry: q}
}

// understood is Decision.Recipient.
func (q *inquiry) understood() smtp.Mailbox {
	switch {
	case q.recipient == nil:
		return smtp.Mailbox{}
	case q.recipient.domain == "":
		return smtp.Mailbox{Local: q.recipient.local, Domain: q.policy.host}
	}
	return smtp.Mailbox{Local: q.recipient.local, Domain: q.recipient.domain}
}
