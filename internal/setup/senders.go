package setup

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"unicode/utf8"

	"gatepost/internal/config"
	"gatepost/internal/follow"
)

// Senders says which envelope senders a user who has logged in may use
// (relay.sender_binding). It is safe for concurrent use.
type Senders struct {
	domains []string // for "same": where users without a domain have their address
	file    *follow.Files[senderTable]
}

// senderTable has the addresses of users by their login names: user@domain, @domain,
// or * for any; domains are in lower case.
type senderTable map[string][]string

// OpenSenders reads the file that the binding names, and follows its changes. hostName
// is this host's full name. Without a binding it returns nil.
func OpenSenders(cfg *config.Config, hostName string, log *slog.Logger) (*Senders, error) {
	b := cfg.Relay.SenderBinding
	switch {
	case b.Same:
		return &Senders{domains: sameDomains(&cfg.Relay, hostName)}, nil
	case b.File == "":
		return nil, nil
	}
	read := func() (*senderTable, error) {
		table, err := readSenders(b.File)
		return &table, err
	}
	file, err := follow.Open("the table of users' senders", []string{b.File}, read, log)
	if err != nil {
		return nil, err
	}
	return &Senders{file: file}, nil
}

// sameDomains are where users without a domain in their name have their address. In a sasldb
// they are those of the first realm, and in the others joe may be somebody else.
func sameDomains(r *config.Relay, hostName string) []string {
	domains := append([]string{hostName, domainOf(hostName)}, r.AuthRealm...)
	if r.SASLDB == "" || len(r.AuthRealm) == 0 {
		return domains
	}
	others := r.AuthRealm[1:]
	return slices.DeleteFunc(domains, func(d string) bool {
		return slices.ContainsFunc(others, func(realm string) bool { return strings.EqualFold(realm, d) })
	})
}

// Allowed tells whether user may send as sender, an address without <>. Everybody may
// send as the null sender, which programs need for what they send on their own.
func (s *Senders) Allowed(user, sender string) bool {
	if s == nil || sender == "" {
		return true
	}
	at := strings.LastIndexByte(sender, '@')
	if at < 1 {
		return false
	}
	local, domain := sender[:at], strings.ToLower(sender[at+1:])
	if s.file == nil {
		return s.same(user, local, domain)
	}
	for _, allowed := range (*s.file.Get())[user] {
		if allowed == "*" || allowed == "@"+domain || strings.EqualFold(allowed, local+"@"+domain) {
			return true
		}
	}
	return false
}

// same tells whether an address is the login name: as it is, or, where that has no
// domain, in one of ours.
func (s *Senders) same(user, local, domain string) bool {
	if strings.Contains(user, "@") {
		return strings.EqualFold(user, local+"@"+domain)
	}
	for _, d := range s.domains {
		if d != "" && strings.EqualFold(d, domain) {
			return strings.EqualFold(user, local)
		}
	}
	return false
}

func readSenders(file string) (senderTable, error) {
	data, err := follow.Read(file, maxFollowed, false)
	if err != nil {
		return nil, err
	}
	table := senderTable{}
	n := 0
	for line := range bytes.Lines(data) {
		n++
		text := strings.TrimSpace(string(line))
		if text == "" || text[0] == '#' {
			continue
		}
		user, addresses, err := senderLine(text)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, n, err)
		}
		table[user] = append(table[user], addresses...)
	}
	return table, nil
}

// senderLine reads "user: address, address". The last colon counts: a name may have some.
func senderLine(text string) (user string, addresses []string, err error) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 1 || !utf8.ValidString(text) {
		return "", nil, errors.New("expected a line such as \"joe: joe@example.com, @lists.example.com\"")
	}
	for _, a := range strings.FieldsFunc(text[colon+1:], func(c rune) bool { return c == ',' || c == ' ' || c == '\t' }) {
		at := strings.LastIndexByte(a, '@')
		if a != "*" && (at < 0 || at == len(a)-1) {
			return "", nil, fmt.Errorf("%q is no sender, expected an address, @ and a domain for all of it, or * for any", a)
		}
		addresses = append(addresses, a[:at+1]+strings.ToLower(a[at+1:]))
	}
	if len(addresses) == 0 {
		return "", nil, errors.New("expected addresses after the colon")
	}
	return strings.TrimSpace(text[:colon]), addresses, nil
}
