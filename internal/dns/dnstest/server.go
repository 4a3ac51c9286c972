// Package dnstest serves a dnsfake.Zone by a real server on the loopback
// address, which can be told to misbehave.
package dnstest

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns/dnsfake"
)

// Exchange is one question to the server and what will be sent back. A Hook may change it.
type Exchange struct {
	Network string       // "udp" or "tcp"
	Client  string       // address and port that the question came from
	Query   *mdns.Msg    // as received
	Reply   *mdns.Msg    // sent when all hooks have run; nil: the server stays silent
	Send    func([]byte) // sends bytes at once, as they are
}

// Name is the name asked for, in lower case, without final dot.
func (e *Exchange) Name() string { return dnsfake.Plain(e.Query.Question[0].Name) }

// Type is the type asked for, as in "MX".
func (e *Exchange) Type() string { return mdns.TypeToString[e.Query.Question[0].Qtype] }

// Serve runs a resolving server for the zone on the loopback address, by UDP
// and TCP, until the test ends, and returns its host:port. Each question goes
// through the hooks in their order.
func Serve(t testing.TB, zone dnsfake.Zone, hooks ...Hook) (addr string) {
	t.Helper()
	packets, listener := listen(t)
	x := dnsfake.NewIndex(zone)
	for _, s := range []*mdns.Server{
		{PacketConn: packets, Handler: handler{x, "udp", hooks}},
		{Listener: listener, Handler: handler{x, "tcp", hooks}, IdleTimeout: func() time.Duration { return idle }},
	} {
		started := make(chan struct{})
		ended := make(chan error, 1)
		s.NotifyStartedFunc = func() { close(started) }
		go func() { ended <- s.ActivateAndServe() }()
		select {
		case <-started:
		case err := <-ended:
			t.Fatalf("dnstest: server on %s: %v", packets.LocalAddr(), err)
		}
		t.Cleanup(func() {
			if err := s.Shutdown(); err != nil {
				t.Errorf("dnstest: stopping the server: %v", err)
			}
			<-ended
		})
	}
	return packets.LocalAddr().String()
}

// listen takes a port that is free for both protocols.
func listen(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var failed error
	for range 20 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("dnstest: %v", err)
		}
		listener, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, listener
		}
		failed = err
		packets.Close()
	}
	t.Fatalf("dnstest: no port free for UDP and TCP: %v", failed)
	return nil, nil
}

type handler struct {
	index   dnsfake.Index
	network string
	hooks   []Hook
}

// ServeDNS implements the library's Handler. What cannot be sent the client has not waited for.
func (h handler) ServeDNS(w mdns.ResponseWriter, query *mdns.Msg) {
	e := &Exchange{Network: h.network, Client: w.RemoteAddr().String(), Query: query, Reply: reply(h.index, query)}
	e.Send = func(b []byte) { _, _ = w.Write(b) }
	for _, hook := range h.hooks {
		hook(e)
	}
	if e.Reply == nil {
		return
	}
	size := mdns.MaxMsgSize
	if h.network == "udp" {
		size = mdns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
	}
	if !e.Reply.Truncated {
		e.Reply.Truncate(size)
	}
	_ = w.WriteMsg(e.Reply)
}

// reply is the true answer to a query.
func reply(x dnsfake.Index, query *mdns.Msg) *mdns.Msg {
	m := new(mdns.Msg)
	m.SetReply(query)
	m.RecursionAvailable = true
	q := query.Question[0]
	o := x.Follow(strings.TrimSuffix(q.Name, "."), mdns.TypeToString[q.Qtype])
	if o.Fail != "" {
		m.Rcode = mdns.StringToRcode[o.Fail]
		if m.Rcode == mdns.RcodeSuccess {
			panic(fmt.Sprintf("dnstest: no such code: %q", o.Fail))
		}
		return m
	}
	m.AuthenticatedData = query.AuthenticatedData && o.Authentic
	owner := q.Name
	for _, target := range o.Aliases {
		m.Answer = append(m.Answer, &mdns.CNAME{Hdr: header(owner, mdns.TypeCNAME), Target: mdns.Fqdn(target)})
		owner = mdns.Fqdn(target)
	}
	if o.Loop {
		return m
	}
	found := rrs(o.Records, owner, q.Qtype)
	m.Answer = append(m.Answer, found...)
	if len(found) == 0 {
		m.Ns = []mdns.RR{soa()}
	}
	if !o.Exists {
		m.Rcode = mdns.RcodeNameError
	}
	return m
}

func header(owner string, t uint16) mdns.RR_Header {
	return mdns.RR_Header{Name: owner, Rrtype: t, Class: mdns.ClassINET, Ttl: uint32(TTL / time.Second)}
}

// soa is the start of the one zone there is, the root.
func soa() mdns.RR {
	seconds := uint32(TTL / time.Second)
	return &mdns.SOA{
		Hdr: header(".", mdns.TypeSOA), Ns: "ns.invalid.", Mbox: "hostmaster.invalid.", Serial: 1,
		Refresh: seconds, Retry: seconds, Expire: seconds, Minttl: seconds,
	}
}

func rrs(r dnsfake.Records, owner string, t uint16) (list []mdns.RR) {
	h := header(owner, t)
	switch t {
	case mdns.TypeA:
		for _, s := range r.A {
			list = append(list, &mdns.A{Hdr: h, A: netip.MustParseAddr(s).AsSlice()})
		}
	case mdns.TypeAAAA:
		for _, s := range r.AAAA {
			list = append(list, &mdns.AAAA{Hdr: h, AAAA: netip.MustParseAddr(s).AsSlice()})
		}
	case mdns.TypeMX:
		for _, mx := range r.MX {
			list = append(list, &mdns.MX{Hdr: h, Preference: mx.Preference, Mx: mdns.Fqdn(mx.Host)})
		}
	case mdns.TypePTR:
		for _, name := range r.PTR {
			list = append(list, &mdns.PTR{Hdr: h, Ptr: mdns.Fqdn(name)})
		}
	case mdns.TypeTXT:
		for _, text := range r.TXT {
			list = append(list, &mdns.TXT{Hdr: h, Txt: chunks(text)})
		}
	case mdns.TypeTLSA:
		for _, text := range r.TLSA {
			one, err := dnsfake.ParseTLSA(text)
			if err != nil {
				panic(err)
			}
			list = append(list, &mdns.TLSA{Hdr: h, Usage: one.Usage, Selector: one.Selector, MatchingType: one.Matching, Certificate: hex.EncodeToString(one.Data)})
		}
	}
	return list
}

// chunks cuts a text into the strings of a TXT record, 255 bytes each at most.
func chunks(text string) []string {
	var list []string
	for len(text) > 255 {
		list = append(list, text[:255])
		text = text[255:]
	}
	return append(list, text)
}
