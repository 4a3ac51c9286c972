package dnsbl

import (
	"net/netip"
	"slices"
)

// Zone is a DNS list as it is asked, whatever an answer then means.
type Zone struct {
	Name     string // without final dot
	Key      Key
	Domains  bool     // the list is of domains (RFC 5782, 3), not of addresses
	IPv4Only bool     // it is not asked about IPv6 addresses
	Trusted  bool     // its health is nobody's business: it is asked whatever it answers
	Filters  []Filter // answers that count for any of its uses; none: all do
}

// identity is what makes a zone the same zone after a reload.
type identity struct {
	name    string
	key     Key
	domains bool
}

func (z *Zone) identity() identity { return identity{z.Name, z.Key, z.Domains} }

// Listed tells whether an answer, as Codes gives it, counts for any of the zone's uses.
func (z *Zone) Listed(codes []netip.Addr) bool {
	if len(z.Filters) == 0 {
		return len(codes) > 0
	}
	return First(z.Filters, codes) != nil
}

// lookup is the kind of the zone as a label.
func (z *Zone) lookup() string {
	if z.Domains {
		return "domain"
	}
	return "address"
}

// merge puts zones that are one zone with several uses together. Where one of
// the uses takes any answer, all answers count.
func merge(zones []Zone) []Zone {
	var all []Zone
	for _, z := range zones {
		i := slices.IndexFunc(all, func(o Zone) bool { return o.identity() == z.identity() })
		if i < 0 {
			z.Filters = slices.Clone(z.Filters)
			all = append(all, z)
			continue
		}
		have := &all[i]
		if len(have.Filters) == 0 || len(z.Filters) == 0 {
			have.Filters = nil
		} else {
			have.Filters = append(have.Filters, z.Filters...)
		}
		have.IPv4Only = have.IPv4Only && z.IPv4Only
		have.Trusted = have.Trusted || z.Trusted
	}
	return all
}
