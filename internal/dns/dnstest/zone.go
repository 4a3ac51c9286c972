// Package dnstest has stand-ins for the Domain Name System, made from a Zone:
// Fake answers in the process, Serve is a real server on the loopback address
// that can be told to misbehave. Both say the same about the same Zone.
package dnstest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Zone is all that there is in the DNS: names, without final dots, and their
// records. A name that is not listed, and below which nothing is listed, does
// not exist. The JSON form is the "dns" field of the recorded policies in
// integration/testdata/oracle. Names are found without regard to case.
type Zone map[string]Records

// Records are what a name has. Addresses that do not parse make Fake and Serve panic.
type Records struct {
	A     []string `json:"A,omitempty"`
	AAAA  []string `json:"AAAA,omitempty"`
	MX    []MX     `json:"MX,omitempty"`
	PTR   []string `json:"PTR,omitempty"`
	TXT   []string `json:"TXT,omitempty"`
	CNAME string   `json:"CNAME,omitempty"`
	// Fail is the code that questions for the name get, "SERVFAIL" or "REFUSED";
	// "MX:SERVFAIL" for questions of that type alone.
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
		return fmt.Errorf("dnstest: MX %s: want [preference, host]", data)
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
	if t, code, ok := strings.Cut(r.Fail, ":"); ok {
		if strings.EqualFold(t, qtype) {
			return code
		}
		return ""
	}
	return r.Fail
}

// index is a Zone ready to be asked.
type index struct {
	names map[string]Records // lower case
	above map[string]bool    // names that exist because something is listed below them
}

func newIndex(zone Zone) index {
	x := index{map[string]Records{}, map[string]bool{}}
	for name, records := range zone {
		name = plain(name)
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

// plain folds ASCII letters and cuts the final dot.
func plain(name string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + ('a' - 'A')
		}
		return c
	}, strings.TrimSuffix(name, "."))
}

const maxAliases = 16 // CNAMEs followed, as in package dns

// outcome is where a question leads.
type outcome struct {
	aliases []string // the targets of the CNAMEs, in order
	records Records  // of the last name
	exists  bool     // the last name exists
	fail    string   // code instead of an answer
	loop    bool     // too many CNAMEs
}

// follow goes along the CNAMEs from the name to the records.
func (x index) follow(name, qtype string) outcome {
	var o outcome
	for {
		r, listed := x.names[plain(name)]
		o.records, o.exists = r, listed || x.above[plain(name)]
		if o.fail = r.fails(qtype); o.fail != "" || r.CNAME == "" {
			return o
		}
		if len(o.aliases) == maxAliases {
			o.loop = true
			return o
		}
		o.aliases = append(o.aliases, r.CNAME)
		name = r.CNAME
	}
}
