package dnstest

import "gatepost/internal/dns/dnsfake"

// What package dnsfake has, under the names of tests that use both packages.
type (
	Zone    = dnsfake.Zone
	Records = dnsfake.Records
	MX      = dnsfake.MX
	Fake    = dnsfake.Fake
)

// TTL is dnsfake.TTL.
const TTL = dnsfake.TTL

// NewFake is dnsfake.NewFake.
func NewFake(zone Zone) *Fake { return dnsfake.NewFake(zone) }
