package lint

import (
	"context"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// generics looks at the genericstable: senders in a domain that is not in class G are
// never looked up there.
func (c *collector) generics() {
	if c.in.GenericsTable.Text == nil {
		return
	}
	for key, e := range c.in.GenericsTable.Text.All() {
		_, domain, qualified := strings.Cut(key, "@")
		if !qualified || strings.EqualFold(domain, c.in.Policy.HostName) || c.inGenerics(domain) {
			continue
		}
		c.add(e.Source, "entry that can never match", "%q in genericstable never matches: %s is not in relay.generics_domain", key, domain)
	}
}

// inGenerics tells whether a domain is in class G, or below it; it may be when a server
// that is not asked knows.
func (c *collector) inGenerics(domain string) bool {
	for _, class := range c.in.GenericsDomains {
		if _, listed := class.(maps.Snapshot); !listed {
			return true
		}
		for i := range domain {
			if i > 0 && (!c.in.Config.Features.GenericsEntireDomain || !smtp.TokenBoundary(domain, i)) {
				continue
			}
			if _, found, err := class.Lookup(context.Background(), domain[i:]); found || err != nil {
				return true
			}
		}
	}
	return false
}
