package maps

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
)

// Networks is a snapshot of a cidr map, an extension of ours: lines of a network
// and a value, such as
//
//	192.0.2.0/24            REJECT
//	Connect:2001:db8::/32   RELAY
//
// A network without /LENGTH is one address; in a class, such as relay-domains, no
// value is needed. A key that is an address, with or
// without a tag, written as sendmail does (IPv6:2001:db8:0:...) or in short,
// finds the longest network under that tag that holds it. Other keys, such as
// the shorter 192.0.2 of sendmail's searches, find nothing.
type Networks struct {
	file  string
	size  int64
	lines []networkLine // in the order of the file
	byTag map[string]*tagNetworks
}

type networkLine struct {
	key   string // in lower case
	value string
	line  int
}

// tagNetworks are the networks under one tag.
type tagNetworks struct {
	lines   map[netip.Prefix]int // index into Networks.lines
	lengths [2][]int             // of IPv4 and IPv6, the longest first
}

// parseNetworks reads a cidr map. Any line that is not one refuses the file.
func parseNetworks(file string, format Format, data string) (*Networks, error) {
	n := &Networks{file: file, size: int64(len(data)), byTag: map[string]*tagNetworks{}}
	err := strictLines(file, data, func(line int, text string) error {
		end := keyEnd(text, FormatAccess)
		key, value := foldLower(text[:end]), trimBlanks(text[end:])
		tag, network, err := ParseNetwork(key)
		switch {
		case err != nil:
			return err
		case value == "" && format != FormatClass:
			return fmt.Errorf("network %s has no value", text[:end])
		}
		if first, seen := n.add(tag, network, len(n.lines)); seen {
			return fmt.Errorf("network %s stands in line %d already", text[:end], n.lines[first].line)
		}
		n.lines = append(n.lines, networkLine{key, value, line})
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range n.byTag {
		t.sortLengths()
	}
	return n, nil
}

// strictLines calls f for each line that is neither empty nor a comment (# in its
// first column). Its error, with file:line in front, ends the walk.
func strictLines(file, data string, f func(line int, text string) error) error {
	line := 0
	for text := range strings.SplitSeq(data, "\n") {
		line++
		at := Source{File: file, Line: line}
		text = strings.TrimRight(text, " \t\r")
		switch {
		case text == "" || text[0] == '#':
			continue
		case isBlank(text[0]):
			return fmt.Errorf("%s: the line begins with a blank", at)
		case strings.IndexByte(text, 0) >= 0:
			return fmt.Errorf("%s: %w", at, errNUL)
		}
		if err := f(line, text); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	return nil
}

// ParseNetwork reads a key of a cidr map in lower case, [TAG:]ADDRESS[/LENGTH]. tag
// has its colon, and is "" without one.
func ParseNetwork(key string) (tag string, network netip.Prefix, err error) {
	rest := key
	if _, err := parseAddr(rest); err != nil {
		if i := strings.IndexByte(key, ':'); i > 0 && isWord(key[:i]) && key[:i] != "ipv6" {
			tag, rest = key[:i+1], key[i+1:]
		}
	}
	addr, err := parseAddr(rest)
	if err != nil {
		return "", netip.Prefix{}, fmt.Errorf("%q is no network, expected an address with or without /LENGTH and a tag, such as 192.0.2.0/24 or Connect:2001:db8::/32", key)
	}
	if addr.Masked() != addr {
		return "", netip.Prefix{}, fmt.Errorf("network %s has bits beyond its length, expected %s", rest, addr.Masked())
	}
	return tag, addr, nil
}

// parseAddr reads an address or a network; sendmail's "IPv6:" may stand before it.
func parseAddr(s string) (netip.Prefix, error) {
	s = strings.TrimPrefix(s, "ipv6:")
	if strings.IndexByte(s, '/') >= 0 {
		return netip.ParsePrefix(s)
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is no address", s)
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 'a' || r > 'z' })
}

func (n *Networks) add(tag string, p netip.Prefix, index int) (first int, seen bool) {
	t := n.byTag[tag]
	if t == nil {
		t = &tagNetworks{lines: map[netip.Prefix]int{}}
		n.byTag[tag] = t
	}
	if first, seen = t.lines[p]; !seen {
		t.lines[p] = index
	}
	return first, seen
}

func (t *tagNetworks) sortLengths() {
	for p := range t.lines {
		family := &t.lengths[0]
		if p.Addr().Is6() {
			family = &t.lengths[1]
		}
		if !slices.Contains(*family, p.Bits()) {
			*family = append(*family, p.Bits())
		}
	}
	for i := range t.lengths {
		slices.SortFunc(t.lengths[i], func(a, b int) int { return cmp.Compare(b, a) })
	}
}

// Lookup implements Map. It never waits, and never fails.
func (n *Networks) Lookup(_ context.Context, key string) (Entry, bool, error) {
	tag, addr, ok := cutAddr(foldLower(key))
	if !ok {
		return Entry{}, false, nil
	}
	t := n.byTag[tag]
	if t == nil {
		return Entry{}, false, nil
	}
	lengths := t.lengths[0]
	if addr.Is6() {
		lengths = t.lengths[1]
	}
	for _, bits := range lengths {
		p, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if i, found := t.lines[p]; found {
			return n.entry(i), true, nil
		}
	}
	return Entry{}, false, nil
}

// cutAddr splits a key, in lower case, into its tag and an address.
func cutAddr(key string) (tag string, addr netip.Addr, ok bool) {
	if i := strings.IndexByte(key, ':'); i > 0 && isWord(key[:i]) && key[:i] != "ipv6" {
		if p, err := parseAddr(key[i+1:]); err == nil && p.IsSingleIP() {
			return key[:i+1], p.Addr().Unmap(), true
		}
	}
	p, err := parseAddr(key)
	return "", p.Addr().Unmap(), err == nil && p.IsSingleIP()
}

// Covers tells whether a network with more than so many bits, under any tag, holds
// all of p.
func (n *Networks) Covers(p netip.Prefix, longer int) bool {
	for _, t := range n.byTag {
		lengths := t.lengths[0]
		if p.Addr().Is6() {
			lengths = t.lengths[1]
		}
		for _, bits := range lengths {
			if bits <= longer || bits > p.Bits() {
				continue
			}
			around, err := p.Addr().Prefix(bits)
			if _, found := t.lines[around]; found && err == nil {
				return true
			}
		}
	}
	return false
}

func (n *Networks) entry(i int) Entry {
	l := &n.lines[i]
	return Entry{Value: l.value, Source: Source{File: n.file, Line: l.line}}
}

// File is the name that the map was read under.
func (n *Networks) File() string { return n.file }

// Len is the number of networks.
func (n *Networks) Len() int { return len(n.lines) }

// Size is the size of the file in bytes.
func (n *Networks) Size() int64 { return n.size }

// All walks over the lines in the order of the file. Keys are networks as
// written, in lower case.
func (n *Networks) All() iter.Seq2[string, Entry] {
	return func(yield func(string, Entry) bool) {
		for i := range n.lines {
			if !yield(n.lines[i].key, n.entry(i)) {
				return
			}
		}
	}
}

// Problems are none: a line that is wrong refuses the file.
func (n *Networks) Problems() ([]Problem, int) { return nil, 0 }
