// Package dnsfake is a Domain Name System made of facts that are written down: a
// Zone, and a Fake that answers from it. Policy tests run on it, and so do our
// own; package dnstest serves the same Zone over the network.
package dnsfake

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"

	"gatepost/internal/dns"
)

// Zone is all that there is in the DNS: names, without final dots, and their
// records. A name that is not listed, and below which nothing is listed, does
// not exist. The JSON form is the "dns" field of the recorded policies in
// integration/testdata/oracle. Names are found without regard to case.
type Zone map[string]Records

// Records are what a name has. Check finds what cannot be an answer; on
// others that do not parse a Fake panics.
type Records struct {
	A     []string `json:"A,omitempty"`
	AAAA  []string `json:"AAAA,omitempty"`
	MX    []MX     `json:"MX,omitempty"`
	PTR   []string `json:"PTR,omitempty"`
	TXT   []string `json:"TXT,omitempty"`
	TLSA  []string `json:"TLSA,omitempty"` // as in zone files: "3 1 1 0123ab..."
	CNAME string   `json:"CNAME,omitempty"`
	// Authentic has a validating server say that what there is of the name is signed.
	Authentic bool `json:"authentic,omitempty"`
	// Fail is the code that questions for the name get, "SERVFAIL" or "REFUSED";
	// "MX:SERVFAIL" for questions of that type alone; several with commas between.
	Fail string `json:"fail,omitempty"`
}

// MX is one mail exchanger; in JSON a list of preference and host.
type MX struct {
	Preference uint16
	Host       string // "" is the null MX (RFC 7505)
}

// UnmarshalJSON reads [10, "mx.example.com"].
func (m *MX) UnmarshalJSON(data []byte) error {
	pair := [2]any{&m.Preference, &m.Host}
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil {
		return err
	}
	if len(list) != len(pair) {
		return fmt.Errorf("dnsfake: MX %s: want [preference, host]", data)
	}
	for i, field := range list {
		if err := json.Unmarshal(field, pair[i]); err != nil {
			return err
		}
	}
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (m MX) MarshalJSON() ([]byte, error) { return json.Marshal([]any{m.Preference, m.Host}) }

// fails gives the code that a question of the type ("MX") gets instead of an answer, or "".
func (r Records) fails(qtype string) string {
	for one := range strings.SplitSeq(r.Fail, ",") {
		t, code, typed := strings.Cut(one, ":")
		if !typed {
			return one
		}
		if strings.EqualFold(t, qtype) {
			return code
		}
	}
	return ""
}

// Check finds addresses that are none, or of the wrong family.
func (z Zone) Check() error {
	for name, r := range z {
		for _, a := range r.A {
			if addr, err := netip.ParseAddr(a); err != nil || !addr.Is4() {
				return fmt.Errorf("%s: A %q, expected an IPv4 address", name, a)
			}
		}
		for _, a := range r.AAAA {
			if addr, err := netip.ParseAddr(a); err != nil || !addr.Is6() {
				return fmt.Errorf("%s: AAAA %q, expected an IPv6 address", name, a)
			}
		}
		for _, text := range r.TLSA {
			if _, err := ParseTLSA(text); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// ParseTLSA reads a TLSA record as zone files have it.
func ParseTLSA(text string) (r dns.TLSA, err error) {
	var data string
	_, err = fmt.Sscanf(text, "%d %d %d %s", &r.Usage, &r.Selector, &r.Matching, &data)
	if err == nil {
		r.Data, err = hex.DecodeString(data)
	}
	if err != nil {
		return r, fmt.Errorf("TLSA %q, expected three numbers and hexadecimal digits", text)
	}
	return r, nil
}

// Index is a Zone ready to be asked. Make it with NewIndex.
type Index struct {
	names map[string]Records // lower case
	above map[string]bool    // names that exist because something is listed below them
}

// NewIndex makes an Index of the zone. Later changes of the zone are not seen.
func NewIndex(zone Zone) Index {
	x := Index{map[string]Records{}, map[string]bool{}}
	for name, records := range zone {
		name = Plain(name)
		x.names[name] = records
		for {
			_, parent, ok := strings.Cut(name, ".")
			if !ok {
				break
			}
			x.above[parent] = true
			name = parent
		}
	}
	return x
}

// Plain folds ASCII letters and cuts the final dot.
func Plain(name string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + ('a' - 'A')
		}
		return c
	}, strings.TrimSuffix(name, "."))
}

const maxAliases = 16 // CNAMEs followed, as in package dns

// Outcome is where a question leads.
type Outcome struct {
	Aliases   []string // the targets of the CNAMEs, in order
	Records   Records  // of the last name
	Exists    bool     // the last name exists
	Fail      string   // code instead of an answer
	Loop      bool     // too many CNAMEs
	Authentic bool     // all names on the way are
}

// Follow goes along the CNAMEs from the name to the records of a type ("MX").
func (x Index) Follow(name, qtype string) Outcome {
	o := Outcome{Authentic: true}
	for {
		r, listed := x.names[Plain(name)]
		o.Records, o.Exists = r, listed || x.above[Plain(name)]
		o.Authentic = o.Authentic && r.Authentic
		if o.Fail = r.fails(qtype); o.Fail != "" || r.CNAME == "" {
			return o
		}
		if len(o.Aliases) == maxAliases {
			o.Loop = true
			return o
		}
		o.Aliases = append(o.Aliases, r.CNAME)
		name = r.CNAME
	}
}
