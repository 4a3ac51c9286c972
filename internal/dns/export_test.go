package dns

import "time"

// SetNow gives the client another clock for the age of its answers.
func (c *Client) SetNow(now func() time.Time) { c.now = now }

// The bounds that tests hold the cache to.
const (
	MaxTTL       = maxTTL
	MaxAbsentTTL = maxAbsentTTL
	NoSOATTL     = noSOATTL
	FailureTTL   = failureTTL
	MaxAliases   = maxAliases
)
