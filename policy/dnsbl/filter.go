package dnsbl

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Filter picks answers of a list that count: those from First to Last that have
// all bits of Mask. The zero Mask asks for none.
type Filter struct {
	First, Last netip.Addr // IPv4, both included
	Mask        uint32     // bits that an answer must have, 0.0.0.4 is 4
	Weight      int        // what such an answer counts; of interest only to who weighs answers
}

// Everything takes any answer with which a list may say "listed".
func Everything(weight int) Filter {
	return Filter{First: netip.AddrFrom4([4]byte{127, 0, 0, 0}), Last: netip.AddrFrom4([4]byte{127, 255, 255, 255}), Weight: weight}
}

// Matches tells whether an answer counts.
func (f *Filter) Matches(a netip.Addr) bool {
	return a.Is4() && f.First.Compare(a) <= 0 && a.Compare(f.Last) <= 0 && number(a)&f.Mask == f.Mask
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// First finds the first filter that takes one of the answers; nil for none.
func First(filters []Filter, answers []netip.Addr) *Filter {
	for i := range filters {
		if slices.ContainsFunc(answers, filters[i].Matches) {
			return &filters[i]
		}
	}
	return nil
}
