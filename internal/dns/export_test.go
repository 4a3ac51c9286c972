package dns

import "time"

// SetNow gives the client another clock for the age of its answers.
func (c *Client) SetNow(now func() time.Time) { c.now = now }

// SetDownPause gives the client another patience with servers that are silent.
func (c *Client) SetDownPause(d time.Duration) {
	for _, s := range c.servers {
		s.pause = d
	}
}

// SetSocketLife makes sockets old sooner.
func (c *Client) SetSocketLife(d time.Duration) {
	for _, s := range c.servers {
		s.udp.life = d
	}
}

// The bounds that tests hold the cache to.
const (
	MaxTTL       = maxTTL
	MaxAbsentTTL = maxAbsentTTL
	NoSOATTL     = noSOATTL
	FailureTTL   = failureTTL
	MaxAliases   = maxAliases
	SocketUses   = socketUses
	MaxSockets   = maxSockets
	MaxFlights   = maxFlights
	StaleTTL     = staleTTL
	StaleWait    = staleWait
)

// SetTrusted has the AD bits of all servers believed, or not.
func (c *Client) SetTrusted(trusted bool) {
	for _, s := range c.servers {
		s.trusted = trusted
	}
}
