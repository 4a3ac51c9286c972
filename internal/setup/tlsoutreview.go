package setup

import (
	"errors"
	"fmt"
	"io/fs"

	"gatepost/internal/config"
	"gatepost/internal/lint"
	"gatepost/maps"
	"gatepost/relay/tlspolicy"
)

// checkTLSOut is the check of these findings: a heading of docs/check.md.
const checkTLSOut = "TLS to other servers"

// ReviewTLSOut finds what is wrong with what [relay] says of TLS to other servers. The error
// is what would keep the relay from starting.
func (e *Engine) ReviewTLSOut() (found []lint.Finding, err error) {
	s := e.current.Load()
	r := &s.cfg.Relay
	if r.TLSCAFile != "" {
		switch _, err := readRoots(r.TLSCAFile); {
		case errors.Is(err, fs.ErrPermission):
			found = append(found, keyFinding(s.cfg, "relay.tls_ca_file", "relay.tls_ca_file cannot be looked at by this user: %v; run this as root, or as the relay's user", err))
		case err != nil:
			return nil, fmt.Errorf("relay.tls_ca_file: %w", err)
		}
	}
	if r.TLSLevel == "dane" && !s.client.TrustsAD() {
		found = append(found, keyFinding(s.cfg, "relay.tls_security_level", "relay.tls_security_level is \"dane\", which is no more than \"may\": no name server is on this host or in dns.trust_ad, so no answer counts as signed"))
	}
	for _, part := range s.tlsPolicy.parts() {
		if l, ok := part.Map().(lint.Listing); ok {
			found = append(found, reviewTLSPolicy(l, s.client.TrustsAD())...)
		}
	}
	return found, nil
}

// reviewTLSPolicy finds lines that are skipped, which would be lines that protect, and those
// that cannot do what they say.
func reviewTLSPolicy(table lint.Listing, validated bool) (found []lint.Finding) {
	first, _ := table.Problems()
	for _, p := range first {
		found = append(found, lint.Finding{Source: p.Source, Check: checkTLSOut, Text: p.Text})
	}
	for key, entry := range table.All() {
		if !validated && tlspolicy.WantsDANE(entry.Value) {
			found = append(found, lint.Finding{Source: entry.Source, Check: checkTLSOut,
				Text: fmt.Sprintf("%s has the level %q, but no name server is on this host or in dns.trust_ad, so no answer counts as signed", key, entry.Value)})
		}
	}
	return found
}

func keyFinding(cfg *config.Config, key, format string, args ...any) lint.Finding {
	return lint.Finding{Source: maps.Source{File: cfg.File, Line: config.KeyLine(cfg.File, key)}, Check: checkTLSOut, Text: fmt.Sprintf(format, args...)}
}
