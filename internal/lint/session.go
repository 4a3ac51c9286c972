package lint

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"gatepost/internal/dns"
	"gatepost/internal/smtp"
	"gatepost/policy"
)

// client is a stranger's side of a connection.
type client struct {
	addr    netip.Addr
	resolve policy.Resolve
	name    string // the reverse name, verified if resolve says so
	alias   string // the name is a CNAME of this one; "" for none
}

// recipient is a recipient that is for a stranger in the end.
type recipient struct {
	text   string
	routed bool   // through one of our domains, which may be where it ends
	mx     string // this domain of the stranger's names us as its mail exchanger
}

// session is one try.
type session struct {
	client    client
	sender    string
	recipient recipient
}

// facts is the session as the policy sees it. The first connection of a client is one.
func (s *session) facts(helo string) *policy.Facts {
	f := &policy.Facts{Helo: policy.Helo{Given: true, Name: helo}}
	f.Conn = policy.Conn{Addr: s.client.addr, Resolve: s.client.resolve, Ptr: s.client.name, Rate: 1, Open: 1}
	if s.client.resolve == policy.ResolveOK {
		f.Conn.Name = s.client.name
	}
	f.Mail.Sender = smtp.ParsePath("<" + s.sender + ">")
	f.Rcpt.Recipient = smtp.ParsePath("<" + s.recipient.text + ">")
	return f
}

// attacker is the DNS as the stranger arranges it for a session. Every name that
// he asks about exists; no DNS list has him.
type attacker struct {
	host    string   // $j
	lists   []string // zones of DNS lists
	session *session
	facts   *facts // writes down what he answers; nil: nobody does
}

func (a *attacker) Lookup(_ context.Context, name string, t dns.Type) (dns.Answer, error) {
	answer := a.answer(strings.TrimSuffix(name, "."), t)
	if a.facts != nil {
		a.facts.note(strings.TrimSuffix(name, "."), answer)
	}
	return answer, nil
}

func (a *attacker) answer(name string, t dns.Type) dns.Answer {
	answer := dns.Answer{Name: name, Server: "the stranger"}
	for _, zone := range a.lists {
		if strings.HasSuffix(strings.ToLower(name), strings.ToLower("."+zone)) {
			return answer
		}
	}
	if c := &a.session.client; c.alias != "" && strings.EqualFold(name, c.name) {
		answer.Name = c.alias
	}
	switch t {
	case dns.TypeA:
		answer.Addrs = []netip.Addr{netip.AddrFrom4([4]byte{91, 78, 114, 26})}
	case dns.TypeMX:
		answer.MX = []dns.MX{{Preference: 10, Host: "mx." + name}}
		if strings.EqualFold(name, a.session.recipient.mx) {
			answer.MX[0].Host = a.host
		}
	case dns.TypePTR:
		answer.Names = []string{"stranger.example"}
	}
	return answer
}

// facts are answers as "gatepost explain --dns" takes them.
type facts struct {
	names []string            // in the order in which they were asked for
	lines map[string][]string // of each
}

func (f *facts) note(name string, a dns.Answer) {
	if f.lines == nil {
		f.lines = map[string][]string{}
	}
	owner := a.Name
	if !strings.EqualFold(owner, name) {
		f.line(name, "CNAME "+owner)
	}
	f.line(owner)
	for _, addr := range a.Addrs {
		f.line(owner, "A "+addr.String())
	}
	for _, mx := range a.MX {
		f.line(owner, fmt.Sprintf("MX %d %s", mx.Preference, mx.Host))
	}
	for _, ptr := range a.Names {
		f.line(owner, "PTR "+ptr)
	}
}

func (f *facts) line(name string, records ...string) {
	if !slices.Contains(f.names, name) {
		f.names = append(f.names, name)
	}
	for _, r := range records {
		if !slices.Contains(f.lines[name], r) {
			f.lines[name] = append(f.lines[name], r)
		}
	}
}

// list is one line for each record, and one for each name without any.
func (f *facts) list() []string {
	var all []string
	for _, name := range f.names {
		records := f.lines[name]
		if len(records) == 0 {
			records = []string{"NXDOMAIN"}
		}
		for _, r := range records {
			all = append(all, name+" "+r)
		}
	}
	return all
}

// nothing is a DNS in which there is nothing.
type nothing struct{}

func (nothing) Lookup(_ context.Context, name string, _ dns.Type) (dns.Answer, error) {
	return dns.Answer{Name: name, Server: "nobody"}, nil
}

// silent is a DNS that gives no answers.
type silent struct{}

func (silent) Lookup(_ context.Context, name string, t dns.Type) (dns.Answer, error) {
	return dns.Answer{}, &dns.Error{Name: name, Type: t, Server: "nobody", Reason: "no answer"}
}
