package authinfo

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"gatepost/maps"
	"gatepost/relay/sasl/saslclient"
)

// Access finds entries in the access table, where sendmail has them without
// FEATURE(authinfo). It is safe for concurrent use.
type Access struct {
	options Options
	table   func() maps.Map
}

// NewAccess searches the table that a function gives, as it is at the time.
func NewAccess(table func() maps.Map, o Options) *Access { return &Access{o, table} }

// Find is as Table.Find, with the keys of rule sets D and A: a domain's entry is for all
// hosts in it, and a network's for all its addresses. An entry that cannot be used, and
// one in a file that every user of the host may read, is an error.
func (a *Access) Find(ctx context.Context, host string, addr netip.Addr) (*saslclient.Credentials, error) {
	return a.find(ctx, accessKeys(host, addr), host, addr)
}

// FindNamed is Find without the entry for all.
func (a *Access) FindNamed(ctx context.Context, host string, addr netip.Addr) (*saslclient.Credentials, error) {
	return a.find(ctx, named(accessKeys(host, addr)), host, addr)
}

func (a *Access) find(ctx context.Context, keys []string, host string, addr netip.Addr) (*saslclient.Credentials, error) {
	tried := a.search(ctx, keys)
	if len(tried) == 0 {
		return nil, nil
	}
	last := tried[len(tried)-1]
	switch {
	case last.Err != nil:
		return nil, last.Err
	case !last.Found:
		return nil, nil
	}
	return last.entry.use(&a.options, host, addr), nil
}

// triedEntry is a key with what it leads to.
type triedEntry struct {
	Tried
	entry *found
}

// Explain lists the keys that Find tries, up to the one that it finds or that fails.
func (a *Access) Explain(ctx context.Context, host string, addr netip.Addr) []Tried {
	var all []Tried
	for _, one := range a.search(ctx, accessKeys(host, addr)) {
		all = append(all, one.Tried)
	}
	return all
}

func (a *Access) search(ctx context.Context, keys []string) []triedEntry {
	table := a.table()
	if table == nil {
		table = maps.Chain{} // without access_db there is nothing
	}
	var tried []triedEntry
	for _, key := range keys {
		one := triedEntry{Tried: Tried{Key: "AuthInfo:" + key}}
		e, found, err := table.Lookup(ctx, prefix+key)
		switch {
		case err != nil:
			one.Err = fmt.Errorf("AuthInfo: cannot be looked up: %w", err)
		case found:
			one.Found, one.Source = true, e.Source
			one.entry, one.Err = a.usable(e)
		}
		if one.entry != nil {
			one.Value = one.entry.shown
		}
		if tried = append(tried, one); found || err != nil {
			break
		}
	}
	return tried
}

// Check fails for an entry that Find would fail with, without its place.
func (a *Access) Check(e maps.Entry) error {
	_, err := a.read(e)
	return err
}

func (a *Access) usable(e maps.Entry) (*found, error) {
	f, err := a.read(e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Source, err)
	}
	return f, nil
}

func (a *Access) read(e maps.Entry) (*found, error) {
	if file := e.Source.File; filepath.IsAbs(file) {
		info, err := os.Stat(file)
		if err != nil {
			return nil, err
		}
		if mode := info.Mode().Perm(); mode&0o007 != 0 {
			return nil, fmt.Errorf("a password in a file of mode %04o, which everybody on this host can read or change; "+
				"expected it in a file of its own, relay.authinfo, of mode 0600 or 0640", mode)
		}
	}
	return newFound(e, a.options.Tokens)
}

// accessKeys are the keys of rule sets D (LookUpDomain) and A (LookUpAddress), then the
// empty one.
func accessKeys(host string, addr netip.Addr) []string {
	var all []string
	if host = normal(host); host != "" {
		if _, err := netip.ParseAddr(host); err != nil {
			for rest, more := host, true; more && rest != ""; _, rest, more = strings.Cut(rest, ".") {
				all = append(all, rest)
			}
		}
	}
	if !addr.IsValid() {
		return append(all, "")
	}
	text := addressKey(addr.Unmap())
	for text != "" && text != "ipv6" {
		all = append(all, text)
		text = strings.TrimRight(text[:max(0, strings.LastIndexAny(text, ".:"))], ":")
	}
	return append(all, "")
}

// addressKey is how sendmail writes an address in keys: that of IPv6 with all its parts.
func addressKey(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	b := a.As16()
	parts := make([]string, 8)
	for i := range parts {
		parts[i] = fmt.Sprintf("%x", int(b[2*i])<<8|int(b[2*i+1]))
	}
	return "ipv6:" + strings.Join(parts, ":")
}
