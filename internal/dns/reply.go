package dns

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	mdns "github.com/miekg/dns"
)

// maxAliases bounds the CNAMEs followed for one question, in one answer or several.
const maxAliases = 16

var (
	errLoop     = errors.New("CNAME loop, or too many CNAMEs")
	errBroken   = errors.New("broken message")
	errReferral = errors.New("a referral: the server does not resolve for us")
)

// finding is what one reply says about a name.
type finding struct {
	owner     string // where the CNAMEs lead, with the final dot
	aliases   int    // CNAMEs followed to get there
	ttl       uint32 // seconds; the least of what was used
	settled   bool   // the reply has the end of the chain; else owner is to be asked for
	absent    bool   // there is no such name (owner), of any type
	authentic bool   // see Answer
	ans       Answer // the records; none if there are none
}

// rcodeError is a reply that is no answer: SERVFAIL, REFUSED and the like.
type rcodeError int

func (e rcodeError) Error() string {
	if s, ok := mdns.RcodeToString[int(e)]; ok {
		return s
	}
	return fmt.Sprintf("RCODE%d", int(e))
}

// unpack decodes a reply that has passed answers. The codec returns what it
// could read of a message that ends too early; half an answer would pass for
// "no such data", so the counts are compared.
func unpack(m *mdns.Msg, reply []byte) error {
	*m = mdns.Msg{}
	if err := m.Unpack(reply); err != nil {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	if len(m.Question) != 1 ||
		len(m.Answer) != int(binary.BigEndian.Uint16(reply[6:])) ||
		len(m.Ns) != int(binary.BigEndian.Uint16(reply[8:])) {
		return fmt.Errorf("%w: it ends too early", errBroken)
	}
	return nil
}

// read takes the answer out of a reply, following CNAMEs inside it. An error
// means that the reply is no answer and that another server may do better.
func read(m *mdns.Msg, t Type) (finding, error) {
	if m.Rcode != mdns.RcodeSuccess && m.Rcode != mdns.RcodeNameError {
		return finding{}, rcodeError(m.Rcode)
	}
	f := finding{owner: m.Question[0].Name, ttl: seconds(maxTTL)}
	if err := f.follow(m.Answer, t); err != nil {
		return finding{}, err
	}
	if m.Rcode == mdns.RcodeNameError {
		// It is the last name of the chain that does not exist (RFC 2308, 2.1).
		f.settled, f.absent, f.ans = true, true, Answer{}
		f.noteAbsence(m.Ns)
		return f, nil
	}
	if !f.ans.Empty() {
		f.settled = true
		return f, nil
	}
	return f, f.readNoData(m.Ns)
}

// follow goes from the question's name along the CNAMEs to the records asked for.
func (f *finding) follow(answer []mdns.RR, t Type) error {
	for {
		if err := f.collect(answer, t); err != nil || !f.ans.Empty() {
			return err
		}
		alias := findCNAME(answer, f.owner)
		if alias == nil {
			return nil
		}
		if f.aliases++; f.aliases > maxAliases {
			return errLoop
		}
		f.owner = alias.Target
		f.ttl = min(f.ttl, ttlOf(alias))
	}
}

func findCNAME(answer []mdns.RR, owner string) *mdns.CNAME {
	for _, rr := range answer {
		if c, ok := rr.(*mdns.CNAME); ok && c.Hdr.Class == mdns.ClassINET && c.Target != "" && sameName(c.Hdr.Name, owner) {
			return c
		}
	}
	return nil
}

// collect takes all records of the owner and type.
func (f *finding) collect(answer []mdns.RR, t Type) error {
	for _, rr := range answer {
		h := rr.Header()
		if h.Rrtype != uint16(t) || h.Class != mdns.ClassINET || !sameName(h.Name, f.owner) {
			continue
		}
		if !f.add(rr) {
			return fmt.Errorf("%w: bad %v record", errBroken, t)
		}
		f.ttl = min(f.ttl, ttlOf(rr))
	}
	return nil
}

// add takes one record; false means that its data are unusable.
func (f *finding) add(rr mdns.RR) bool {
	if rr.Header().Rdlength == 0 {
		return false
	}
	switch rr := rr.(type) {
	case *mdns.A:
		return f.addAddr(rr.A.To4())
	case *mdns.AAAA:
		return f.addAddr(rr.AAAA)
	case *mdns.MX:
		f.ans.MX = append(f.ans.MX, MX{Preference: rr.Preference, Host: relative(rr.Mx)})
	case *mdns.PTR:
		f.ans.Names = append(f.ans.Names, relative(rr.Ptr))
	case *mdns.TXT:
		f.ans.Texts = append(f.ans.Texts, unescaped(strings.Join(rr.Txt, "")))
	case *mdns.TLSA:
		data, err := hex.DecodeString(rr.Certificate)
		f.ans.TLSA = append(f.ans.TLSA, TLSA{rr.Usage, rr.Selector, rr.MatchingType, data})
		return err == nil
	default:
		return false
	}
	return true
}

// unescaped gives the bytes of a text that the codec has in the form of zone files,
// with \" and \DDD (RFC 1035, 5.1).
func unescaped(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' && i+1 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:min(i+4, len(s))], 10, 8); err == nil && i+3 < len(s) {
				c = byte(n)
				i += 3
			} else {
				i++
				c = s[i]
			}
		}
		b = append(b, c)
	}
	return string(b)
}

func (f *finding) addAddr(ip net.IP) bool {
	addr, ok := netip.AddrFromSlice(ip)
	if ok {
		f.ans.Addrs = append(f.ans.Addrs, addr)
	}
	return ok
}

// readNoData judges a NOERROR reply without records of the type. An SOA makes
// it "no such data" (RFC 2308, 2.2); name servers without an SOA make it a
// referral, which is no answer at all. A CNAME whose target the reply does not
// speak of is left unsettled.
func (f *finding) readNoData(authority []mdns.RR) error {
	if f.noteAbsence(authority) {
		f.settled = true
		return nil
	}
	if f.aliases > 0 {
		return nil
	}
	for _, rr := range authority {
		if rr.Header().Rrtype == mdns.TypeNS {
			return errReferral
		}
	}
	f.settled = true
	return nil
}

// noteAbsence sets how long absence may be remembered: the lesser of the TTL
// and the MINIMUM of the SOA of a zone that the owner is in (RFC 2308, 5).
func (f *finding) noteAbsence(authority []mdns.RR) bool {
	for _, rr := range authority {
		soa, ok := rr.(*mdns.SOA)
		if !ok || soa.Hdr.Class != mdns.ClassINET || !mdns.IsSubDomain(soa.Hdr.Name, f.owner) {
			continue
		}
		f.ttl = min(f.ttl, ttlOf(soa), positive(soa.Minttl), seconds(maxAbsentTTL))
		return true
	}
	f.ttl = min(f.ttl, seconds(noSOATTL))
	return false
}

func ttlOf(rr mdns.RR) uint32 { return positive(rr.Header().Ttl) }

// positive reads a TTL with the top bit set as zero (RFC 2181, 8).
func positive(ttl uint32) uint32 {
	if ttl > 1<<31-1 {
		return 0
	}
	return ttl
}
