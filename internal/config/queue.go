package config

import (
	"strings"
	"time"
)

// Queue is what [relay] says of reports and of how many deliveries there are at once.
type Queue struct {
	MaxDeliveriesPerDestination int
	QueueWarn                   time.Duration // Timeout.queuewarn; 0: senders are not told of delays
	BounceSize                  int64         // bytes: a larger message is not returned whole
	CopyErrorsTo                string        // confCOPY_ERRORS_TO; "": nobody. Without a domain it is this host's
	DoubleBounceAddress         string        // confDOUBLE_BOUNCE_ADDRESS, likewise
}

func defaultQueue() Queue {
	return Queue{MaxDeliveriesPerDestination: 20, QueueWarn: 4 * time.Hour, BounceSize: 50 << 10}
}

func queueKeys() []key {
	address := func(name string, at func(*Relay) *string) key {
		return key{name, func(c *Config, v value) {
			const example = "postmaster"
			s, ok := v.text(example)
			if ok && !simpleAddress(s) {
				v.wrong("expected an address such as \"postmaster@example.com\", or %q for one at this host", example)
				return
			}
			*at(&c.Relay) = s
		}}
	}
	return []key{
		{"max_deliveries_per_destination", func(c *Config, v value) {
			if n, ok := v.integer(1, 1000); ok {
				c.Relay.MaxDeliveriesPerDestination = n
			}
		}},
		{"queue_warn", func(c *Config, v value) {
			if d, ok := v.duration(0, 100*24*time.Hour); ok {
				c.Relay.QueueWarn = d
			}
		}},
		{"bounce_size", func(c *Config, v value) {
			if n, ok := v.size(0, 2<<30); ok {
				c.Relay.BounceSize = n
			}
		}},
		address("copy_errors_to", func(r *Relay) *string { return &r.CopyErrorsTo }),
		address("double_bounce_address", func(r *Relay) *string { return &r.DoubleBounceAddress }),
	}
}

// checkQueue finds addresses for reports that no mail can go to.
func (r *reader) checkQueue(c *Config) {
	for _, k := range [][2]string{{"copy_errors_to", c.Relay.CopyErrorsTo}, {"double_bounce_address", c.Relay.DoubleBounceAddress}} {
		if name, address := k[0], k[1]; address != "" && !strings.Contains(address, "@") && c.Relay.LocalMail.Kind == LocalRefused {
			r.fault("relay."+name, "relay.%s is %q at this host, whose mail relay.local_mail refuses, expected a full address such as %q", name, address, address+"@example.com")
		}
	}
}

// simpleAddress tells whether s is a mailbox without quotes, with or without a domain.
func simpleAddress(s string) bool {
	local, domain, qualified := strings.Cut(s, "@")
	ok := local != "" && len(local) <= 64 && !strings.ContainsFunc(local, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),:;<>@[\]`, r)
	})
	return ok && (!qualified || hostName(domain))
}
