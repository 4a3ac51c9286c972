package deliver

import (
	"net/netip"
	"strconv"
	"strings"

	"gatepost/internal/smtp"
)

// Hop is one host that mail may be handed to.
type Hop struct {
	Host string // a name, or an address without brackets
	MX   bool   // its MX records say which hosts
	Port uint16 // 0: the transport's default
}

// Exchangers are the hosts that take mail for a domain, in the order of trying.
type Exchangers struct {
	Hosts     []string
	Authentic bool // DNSSEC vouches for them
}

// Addresses are those of a host, in the order of trying; none: there is no such host.
type Addresses struct {
	Addrs     []netip.Addr
	Authentic bool // DNSSEC vouches for them
}

// NoRoute is the error of a lookup that has an answer of its own to give.
type NoRoute struct {
	Outcome Outcome
	Status  smtp.EnhancedCode
	Text    string
}

func (e NoRoute) Error() string { return e.Text }

// FormatDestination writes hops with commas between: "example.org", "[mx.example.org]:587".
func FormatDestination(hops []Hop) string {
	words := make([]string, len(hops))
	for i, h := range hops {
		words[i] = h.Host
		if !h.MX {
			words[i] = "[" + h.Host + "]"
		}
		if h.Port != 0 {
			words[i] += ":" + strconv.Itoa(int(h.Port))
		}
	}
	return strings.Join(words, ",")
}

// ParseDestination reads what FormatDestination writes.
func ParseDestination(destination string) ([]Hop, error) {
	var hops []Hop
	for word := range strings.SplitSeq(destination, ",") {
		a, err := parseAddress(word, 0)
		if err != nil {
			return nil, err
		}
		h := Hop{Host: a.host, MX: !strings.HasPrefix(word, "[") && a.host != "", Port: a.port}
		if a.host == "" {
			h.Host = a.addr.String()
		}
		hops = append(hops, h)
	}
	return hops, nil
}
