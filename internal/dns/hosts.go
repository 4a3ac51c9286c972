package dns

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
)

const maxHostsFile = 64 << 20 // bytes

// Hosts is a hosts(5) file, read once. A nil or zero Hosts is empty.
type Hosts struct {
	byName map[string]*host // in lower case
	byAddr map[netip.Addr]string
}

type host struct {
	canonical string
	addrs     []netip.Addr
}

// ReadHosts reads a file like /etc/hosts. A file that is not there is empty.
func ReadHosts(path string) (*Hosts, error) {
	data, err := readBounded(path, maxHostsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return &Hosts{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("dns: hosts file: %w", err)
	}
	return ParseHosts(data), nil
}

// ParseHosts reads lines of an address and its names, with # comments. A line
// without a good address or without a name says nothing, as hosts(5) has it.
func ParseHosts(data []byte) *Hosts {
	h := &Hosts{byName: map[string]*host{}, byAddr: map[netip.Addr]string{}}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue
		}
		h.add(addr.WithZone("").Unmap(), fields[1:])
	}
	return h
}

func (h *Hosts) add(addr netip.Addr, fields []string) {
	var names []string
	for _, name := range fields {
		if name = relative(name); name != "" && !strings.HasSuffix(name, ".") {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	if _, ok := h.byAddr[addr]; !ok {
		h.byAddr[addr] = names[0]
	}
	canonical := canonicalOf(names)
	for _, name := range names {
		k := lower(name)
		e := h.byName[k]
		if e == nil {
			e = &host{canonical: canonical}
			h.byName[k] = e
		}
		if n := len(e.addrs); n == 0 || e.addrs[n-1] != addr {
			e.addrs = append(e.addrs, addr)
		}
	}
}

// canonicalOf is the first name with a dot, else the first (sendmail's
// extract_canonname, map.c).
func canonicalOf(names []string) string {
	for _, name := range names {
		if strings.Contains(name, ".") {
			return name
		}
	}
	return names[0]
}

// Name is the first name on the first line that has the address, without final dot.
func (h *Hosts) Name(addr netip.Addr) (name string, found bool) {
	if h == nil {
		return "", false
	}
	name, found = h.byAddr[addr.WithZone("").Unmap()]
	return name, found
}

// Find looks for a name in any column, letters without case, a final dot
// aside. The canonical name is the first one with a dot on the first line that
// has the name, or the first one there; the addresses are those of all lines
// that have the name.
func (h *Hosts) Find(name string) (canonical string, addrs []netip.Addr, found bool) {
	if h == nil {
		return "", nil, false
	}
	e := h.byName[lower(relative(name))]
	if e == nil {
		return "", nil, false
	}
	return e.canonical, e.addrs, true
}
