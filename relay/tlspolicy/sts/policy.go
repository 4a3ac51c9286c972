// Package sts finds out which mail servers a domain wants mail to be handed to, and that it
// wants TLS with them: MTA-STS (RFC 8461).
package sts

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of a policy.
const (
	maxPolicy   = 64 << 10 // bytes (RFC 8461, 3.3)
	maxPatterns = 64       // mx fields
	maxAge      = 31557600 * time.Second
	maxID       = 32
)

// Mode is what a domain asks of senders (RFC 8461, 5).
type Mode string

// The modes.
const (
	None    Mode = "none"
	Testing Mode = "testing"
	Enforce Mode = "enforce"
)

// Policy is what a domain says (RFC 8461, 3.2).
type Policy struct {
	Mode   Mode
	MX     []string // names in lower case, or *.NAME for one label more
	MaxAge time.Duration
}

// Has tells whether a host is among those that the policy names (RFC 8461, 4.1).
func (p *Policy) Has(host string) bool {
	host = plain(host)
	_, parent, _ := strings.Cut(host, ".")
	for _, mx := range p.MX {
		if rest, wild := strings.CutPrefix(mx, "*."); wild && rest == parent || mx == host {
			return true
		}
	}
	return false
}

// Parse reads a policy. Fields that it does not know are passed over, and of those that
// stand twice, mx aside, the first counts.
func Parse(text string) (Policy, error) {
	if len(text) > maxPolicy {
		return Policy{}, fmt.Errorf("the policy has over %d bytes", maxPolicy)
	}
	var p Policy
	seen := map[string]string{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" {
			return Policy{}, fmt.Errorf("the line %.60q of the policy, expected NAME: VALUE", line)
		}
		if name == "mx" {
			if err := p.addMX(value); err != nil {
				return Policy{}, err
			}
		} else if _, again := seen[name]; !again && (name == "version" || name == "mode" || name == "max_age") {
			seen[name] = value
		}
	}
	return p, p.setFields(seen["version"], seen["mode"], seen["max_age"])
}

func (p *Policy) addMX(value string) error {
	value = plain(value)
	if !isName(strings.TrimPrefix(value, "*.")) {
		return fmt.Errorf("mx: %.80q in the policy, expected a host's name, or such as *.example.org", value)
	}
	if len(p.MX) == maxPatterns {
		return fmt.Errorf("more than %d mx fields in the policy", maxPatterns)
	}
	p.MX = append(p.MX, value)
	return nil
}

func (p *Policy) setFields(version, mode, age string) error {
	if version != "STSv1" {
		return fmt.Errorf("version: %.20q in the policy, expected STSv1", version)
	}
	p.Mode = Mode(mode)
	switch p.Mode {
	case None:
	case Testing, Enforce:
		if len(p.MX) == 0 {
			return errors.New("the policy has no mx")
		}
	default:
		return fmt.Errorf("mode: %.20q in the policy, expected enforce, testing or none", mode)
	}
	n, err := strconv.ParseUint(age, 10, 64)
	if err != nil || len(age) > 10 {
		return fmt.Errorf("max_age: %.20q in the policy, expected a number of seconds", age)
	}
	p.MaxAge = time.Duration(min(n, uint64(maxAge/time.Second))) * time.Second
	return nil
}

// recordID finds the id of the policy in the TXT records of _mta-sts.DOMAIN (RFC 8461,
// 3.1). There is none unless one record, and no more, is of this version.
func recordID(texts []string) (id string, ok bool) {
	found := 0
	for _, text := range texts {
		version, rest, _ := strings.Cut(text, ";")
		if strings.TrimRight(version, " \t") != "v=STSv1" {
			continue
		}
		found++
		for field := range strings.SplitSeq(rest, ";") {
			if v, isID := strings.CutPrefix(strings.TrimSpace(field), "id="); isID && id == "" {
				id = v
			}
		}
	}
	return id, found == 1 && isID(id)
}

func isID(s string) bool {
	return s != "" && len(s) <= maxID && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9')
	})
}

// isName tells whether DNS could have a host's name.
func isName(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
		}) {
			return false
		}
	}
	return true
}

// plain is a name in lower case, without a final dot.
func plain(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
