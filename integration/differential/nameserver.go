package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"

	"gatepost/internal/dns/dnsfake"
)

const (
	nameTTL    = 300
	maxAliases = 16
)

// nameServer answers from the DNS facts of the policy that is being recorded.
type nameServer struct{ facts atomic.Pointer[facts] }

// facts are a Zone by lower-case names, with the names above them.
type facts struct {
	names map[string]dnsfake.Records
	above map[string]bool
}

func newFacts(zone dnsfake.Zone) *facts {
	f := &facts{map[string]dnsfake.Records{}, map[string]bool{}}
	for name, r := range zone {
		name = plainName(name)
		f.names[name] = r
		for {
			_, parent, more := strings.Cut(name, ".")
			if !more {
				break
			}
			f.above[parent] = true
			name = parent
		}
	}
	return f
}

func plainName(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// listen serves UDP and TCP on an address of the form host:port, to the end of the program.
func (n *nameServer) listen(addr string) error {
	n.facts.Store(newFacts(nil))
	packets, err := net.ListenPacket("udp", addr)
	if err != nil {
		return fmt.Errorf("name server: %w", err)
	}
	streams, err := net.Listen("tcp", addr)
	if err != nil {
		packets.Close()
		return fmt.Errorf("name server: %w", err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: n}, {Listener: streams, Handler: n}} {
		go func() { _ = s.ActivateAndServe() }() // ends with the program
	}
	return nil
}

// ServeDNS answers one question.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	m := n.facts.Load().reply(query)
	if _, stream := w.RemoteAddr().(*net.TCPAddr); !stream {
		size := dns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m) // a client that is gone does not mind
}

func (f *facts) reply(query *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(query)
	m.RecursionAvailable = true
	if len(query.Question) != 1 {
		m.Rcode = dns.RcodeFormatError
		return m
	}
	owner, qtype := query.Question[0].Name, query.Question[0].Qtype
	for range maxAliases {
		r, listed := f.names[plainName(owner)]
		if code := failure(r, qtype); code != dns.RcodeSuccess {
			m.Rcode, m.Answer = code, nil
			return m
		}
		if r.CNAME == "" {
			found := records(r, owner, qtype)
			m.Answer = append(m.Answer, found...)
			if !listed && !f.above[plainName(owner)] {
				m.Rcode = dns.RcodeNameError
			}
			if len(found) == 0 {
				m.Ns = []dns.RR{rootSOA()}
			}
			return m
		}
		target := dns.Fqdn(r.CNAME)
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: rrHeader(owner, dns.TypeCNAME), Target: target})
		owner = target
	}
	return m
}

// failure is the code that the facts want for the type instead of an answer:
// "SERVFAIL" for all types, "MX:SERVFAIL" for one, with commas between several.
func failure(r dnsfake.Records, qtype uint16) int {
	for _, f := range strings.Split(r.Fail, ",") {
		name, code, typed := strings.Cut(f, ":")
		if !typed {
			code = name
		} else if name != dns.TypeToString[qtype] {
			continue
		}
		return dns.StringToRcode[code] // no code: success
	}
	return dns.RcodeSuccess
}

func records(r dnsfake.Records, owner string, qtype uint16) (list []dns.RR) {
	h := rrHeader(owner, qtype)
	switch qtype {
	case dns.TypeA:
		for _, s := range r.A {
			list = append(list, &dns.A{Hdr: h, A: netip.MustParseAddr(s).AsSlice()})
		}
	case dns.TypeAAAA:
		for _, s := range r.AAAA {
			list = append(list, &dns.AAAA{Hdr: h, AAAA: netip.MustParseAddr(s).AsSlice()})
		}
	case dns.TypeMX:
		for _, mx := range r.MX {
			list = append(list, &dns.MX{Hdr: h, Preference: mx.Preference, Mx: dns.Fqdn(mx.Host)})
		}
	case dns.TypePTR:
		for _, name := range r.PTR {
			list = append(list, &dns.PTR{Hdr: h, Ptr: dns.Fqdn(name)})
		}
	case dns.TypeTXT:
		for _, text := range r.TXT {
			list = append(list, &dns.TXT{Hdr: h, Txt: []string{text}})
		}
	}
	return list
}

func rrHeader(owner string, t uint16) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: t, Class: dns.ClassINET, Ttl: nameTTL}
}

func rootSOA() dns.RR {
	return &dns.SOA{
		Hdr: rrHeader(".", dns.TypeSOA), Ns: "ns.invalid.", Mbox: "hostmaster.invalid.", Serial: 1,
		Refresh: nameTTL, Retry: nameTTL, Expire: nameTTL, Minttl: nameTTL,
	}
}
