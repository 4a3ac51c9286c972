package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"gatepost/internal/dns/dnsfake"
)

// Policy is one line of recorded decisions; integration/testdata/oracle has the
// same form, as "gatepost test" reads it.
type Policy struct {
	ID          string       `json:"policy_id"`
	Title       string       `json:"title,omitempty"`
	HostName    string       `json:"host_name"`
	Features    []Feature    `json:"features"`
	TrustAuth   []string     `json:"trust_auth_mechanisms"`
	LocalHosts  []string     `json:"local_host_names"`
	LocalAlways []string     `json:"local_names_always"`
	Relay       []string     `json:"relay_domains"`
	OwnDomains  []string     `json:"class_m_domains"`
	Access      string       `json:"access"`
	AccessFails string       `json:"access_fails_for_keys_matching,omitempty"`
	DNS         dnsfake.Zone `json:"dns"`
	Tags        []string     `json:"tags"`
	Sessions    []Session    `json:"sessions"`
}

// Feature is a FEATURE of sendmail.mc. The arguments of access_db are its flags
// only; the map is the default one.
type Feature struct {
	Name      string   `json:"name"`
	Arguments []string `json:"arguments"`
}

// Session is one connection with one transaction.
type Session struct {
	Client      Client   `json:"client"`
	Helo        string   `json:"helo"`
	Auth        *Auth    `json:"auth,omitempty"`
	TLS         *TLS     `json:"tls,omitempty"`
	Rate        int      `json:"client_rate,omitempty"`
	Connections int      `json:"client_connections,omitempty"`
	MailFrom    string   `json:"mail_from"` // with angle brackets
	RcptTo      []string `json:"rcpt_to"`   // with angle brackets
	Expected    Expected `json:"expected"`
	OverSMTP    bool     `json:"only_seen_over_smtp,omitempty"`
}

// Client is what sendmail knows of the client; all but Address follow from the DNS.
type Client struct {
	Address string `json:"address"`
	Addr    string `json:"client_addr"` // as sendmail writes it: IPv6:2001:db8:0:0:0:0:0:1
	Name    string `json:"client_name"`
	Ptr     string `json:"client_ptr"`
	Resolve string `json:"client_resolve"` // OK, FAIL, FORGED or TEMP
}

// Auth is the outcome of AUTH.
type Auth struct {
	Type   string `json:"auth_type"`
	Authen string `json:"auth_authen"`
}

// TLS is the outcome of STARTTLS.
type TLS struct {
	Verify  string `json:"verify"`
	Subject string `json:"cert_subject"`
	Issuer  string `json:"cert_issuer"`
}

// Expected are sendmail's verdicts. A connection that is refused has no Mail and
// no Rcpt, a refused MAIL has no Rcpt.
type Expected struct {
	Connect    *Verdict  `json:"connect"`
	Mail       *Verdict  `json:"mail"`
	Rcpt       []Verdict `json:"rcpt"`
	GreetPause *int      `json:"greet_pause_ms,omitempty"`
	Compat     []Verdict `json:"check_compat,omitempty"` // one for each recipient
}

// Verdict is one decision.
type Verdict struct {
	Action   string `json:"action"`
	Code     int    `json:"code,omitempty"`
	Enhanced string `json:"enhanced_code,omitempty"`
	Text     string `json:"text,omitempty"`
	Syntax   bool   `json:"address_syntax,omitempty"` // refused by address parsing, before policy
}

func (v *Verdict) String() string {
	switch {
	case v == nil:
		return "nothing"
	case v.Code == 0:
		return strings.TrimSpace(v.Action + " " + v.Text)
	}
	return fmt.Sprintf("%s %d %s %s", v.Action, v.Code, v.Enhanced, v.Text)
}

func (v *Verdict) refuses() bool { return v != nil && (v.Action == "reject" || v.Action == "tempfail") }

// has says whether the policy has the feature, under any of the names.
func (p *Policy) has(names ...string) bool {
	for _, f := range p.Features {
		for _, name := range names {
			if f.Name == name {
				return true
			}
		}
	}
	return false
}

// readPolicies reads JSON Lines, compressed if the name ends in .gz.
func readPolicies(file string) ([]Policy, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var in io.Reader = f
	if strings.HasSuffix(file, ".gz") {
		if in, err = gzip.NewReader(f); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	var all []Policy
	dec := json.NewDecoder(bufio.NewReader(in))
	for {
		var p Policy
		if err := dec.Decode(&p); err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: policy %d: %w", file, len(all)+1, err)
		}
		all = append(all, p)
	}
}

// writePolicies writes JSON Lines.
func writePolicies(file string, policies []Policy) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range policies {
		if err := enc.Encode(&policies[i]); err != nil {
			f.Close()
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
