package config

import (
	"io"
	"net/netip"
	"strconv"
	"strings"
)

// maxWeight bounds the weight of a list or a result.
const maxWeight = 1000

// maxKey bounds a subscriber's key, in bytes: it is a label (RFC 1035, 2.3.4).
const maxKey = 63

// Result is an answer of a DNS list that counts, or several: those from First to
// Last that have all bits of Mask.
type Result struct {
	First, Last netip.Addr
	Mask        uint32
	Weight      int
	Weighted    bool // written with its own weight
}

// resultForms is what can be written as a result.
const resultForms = `expected an address such as "127.0.0.2", a range "127.0.0.2-11", a network "127.0.0.0/28" or bits "&0.0.0.4", all in 127.0.0.0/8, and a weight at the end if it has its own, "127.0.0.2*3"`

// results reads the results of a list.
func (v value) results() (all []Result) {
	elements, ok := v.list("127.0.0.2")
	if !ok {
		return nil
	}
	for _, e := range elements {
		s, ok := e.text("127.0.0.2")
		if !ok {
			continue
		}
		r, ok := parseResult(s)
		if !ok {
			e.wrong("%s", resultForms)
			continue
		}
		if b := r.Last.As4(); r.First == r.Last && b[1] == 255 && b[2] == 255 {
			e.wrong("expected another address: lists answer errors in 127.255.255.0/24, which never count")
			continue
		}
		all = append(all, r)
	}
	return all
}

// parseResult reads one of resultForms.
func parseResult(s string) (r Result, ok bool) {
	if pattern, weight, found := strings.Cut(s, "*"); found {
		n, err := strconv.Atoi(weight)
		if err != nil || n < -maxWeight || n > maxWeight {
			return r, false
		}
		s, r.Weight, r.Weighted = pattern, n, true
	}
	switch first, last, isRange := strings.Cut(s, "-"); {
	case strings.HasPrefix(s, "&"):
		bits, err := netip.ParseAddr(s[1:])
		if err != nil || !bits.Is4() || bits.IsUnspecified() {
			return r, false
		}
		b := bits.As4()
		r.Mask = uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		r.First, r.Last = netip.AddrFrom4([4]byte{127}), netip.AddrFrom4([4]byte{127, 255, 255, 255})
	case isRange:
		if !strings.Contains(last, ".") {
			last = first[:strings.LastIndexByte(first, '.')+1] + last
		}
		r.First, r.Last = address(first), address(last)
	case strings.Contains(s, "/"):
		p, err := netip.ParsePrefix(s)
		if err != nil || !p.Addr().Is4() || p != p.Masked() || p.Bits() < 8 {
			return r, false
		}
		r.First, r.Last = p.Addr(), lastOf(p)
	default:
		r.First, r.Last = address(strings.TrimSuffix(s, ".")), address(strings.TrimSuffix(s, "."))
	}
	return r, loopback4(r.First) && loopback4(r.Last) && r.First.Compare(r.Last) <= 0
}

func address(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

func loopback4(a netip.Addr) bool { return a.Is4() && a.As4()[0] == 127 }

// lastOf is the last address of an IPv4 network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

// listKey is a subscriber's key. What is wrong with it is said without it.
func (v value) listKey() string {
	s, ok := v.v.(string)
	if !ok || !isListKey(s) {
		v.r.fault(v.path, "%s is no key of a DNS list, expected letters, digits and - in one word of at most %d", v.path, maxKey)
		return ""
	}
	return strings.ToLower(s)
}

// listKeyFile is a key that stands in a file, alone.
func (v value) listKeyFile() string {
	path, ok := v.file("/etc/gatepost/dnsbl.key")
	if !ok {
		return ""
	}
	f, err := openRegular(path)
	if err != nil {
		v.r.fault(v.path, "%s cannot be read: %v", v.path, err)
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4*maxKey))
	key := strings.TrimSpace(string(text))
	if err != nil || !isListKey(key) {
		v.r.fault(v.path, "%s: %s has no key of a DNS list, expected letters, digits and - in one word of at most %d", v.path, path, maxKey)
		return ""
	}
	return strings.ToLower(key)
}

func isListKey(s string) bool { return len(s) <= maxKey && hostName(s) && !strings.Contains(s, ".") }
