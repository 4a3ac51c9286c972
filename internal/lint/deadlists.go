package lint

import (
	"fmt"
	"strings"

	"gatepost/internal/config"
	"gatepost/maps"
)

// deadZone is a zone, with all below it, that no longer is a DNS list.
type deadZone struct {
	zone string
	fate string // when and how it ended
}

// deadZones are the lists that were widely used and are gone. Some answer nothing,
// some list everybody. Sources: the pages "Status of ZONE" of dnsbl.com; the lists'
// own sites nixspam.net, wpbl.info and spamcannibal.org; for virbl
// rollernet.us/2017/01/shutdown-of-virbl-dnsbl-bit-nl.
func deadZones() []deadZone {
	return []deadZone{
		{"sorbs.net", "was decommissioned in June 2024"},
		{"ix.dnsbl.manitu.net", "was shut down in January 2025"},
		{"njabl.org", "was shut down in March 2013, and has listed everybody"},
		{"ahbl.org", "was shut down in January 2015, and has listed everybody"},
		{"dsbl.org", "was shut down in 2008"},
		{"ordb.org", "was shut down in December 2006, and has listed everybody"},
		{"osirusoft.com", "was shut down in August 2003, listing everybody"},
		{"opm.blitzed.org", "was shut down in 2006"},
		{"rfc-ignorant.org", "was shut down in November 2012"},
		{"spamcannibal.org", "was shut down in 2018; the domain has listed everybody"},
		{"bl.emailbasura.org", "was gone by 2019; the domain has listed everybody"},
		{"megarbl.net", "was gone by November 2019; the domain has listed everybody"},
		{"dnsbl.inps.de", "was shut down in May 2020"},
		{"virbl.bit.nl", "was shut down in January 2017"},
		{"db.wpbl.info", "was shut down"},
		{"blackholes.mail-abuse.org", "ended as a free list in 2001"},
	}
}

// deadLists names lists that are known to be gone.
func (c *collector) deadLists() {
	at := func(path string) maps.Source { return keySource(c.in.Config, path) }
	f := &c.in.Config.Features
	for _, lists := range []struct {
		all  []config.DNSList
		path func(int) string
	}{
		{f.DNSBL, func(int) string { return "features.dnsbl" }},
		{f.EnhDNSBL, func(int) string { return "features.enhdnsbl" }},
		{c.in.Config.DNSLists, func(i int) string { return fmt.Sprintf("dnsbl[%d].zone", i) }},
	} {
		for i, l := range lists.all {
			for _, dead := range deadZones() {
				zone := strings.ToLower(l.Zone)
				if zone == dead.zone || strings.HasSuffix(zone, "."+dead.zone) {
					c.add(at(lists.path(i)), "DNS lists that are gone", "the DNS list %s %s; take it out", l.Zone, dead.fate)
				}
			}
		}
	}
}
