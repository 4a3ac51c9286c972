// Package authinfo finds what is needed to log in to the next server: sendmail's table
// authinfo (FEATURE(authinfo), rule set authinfo of cf/m4/proto.m4).
//
//	AuthInfo:smtp.isp.example	"U:user" "P:secret" "M:PLAIN LOGIN"
//	AuthInfo:192.0.2.1		"U:user" "I:login" "P=c2VjcmV0" "R:isp.example"
//	AuthInfo:			"U:user" "P:secret"
//
// U is the user that we act for, I the one whose password P is, R the realm, M the
// mechanisms that may be used. After = instead of : follows base64. T, which sendmail has
// not, is where access tokens for XOAUTH2 and OAUTHBEARER come from; see package token.
package authinfo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"strings"

	"gatepost/internal/follow"
	"gatepost/maps"
	"gatepost/relay/sasl/saslclient"
)

// maxFile bounds the table, in bytes.
const maxFile = 16 << 20

// Tokens makes sources of access tokens.
type Tokens interface {
	// Source is the source that a T names. The error says what is wrong with the name;
	// a source that has no tokens to give now is none.
	Source(name string) (func(ctx context.Context, rejected bool) (string, error), error)
}

// Options say how a table's entries are used.
type Options struct {
	// Clear tells whether the password may be sent to a server without TLS; nil: to none.
	Clear func(host string, addr netip.Addr) bool
	// Tokens is for entries with T; nil: there must be none.
	Tokens Tokens
	Log    *slog.Logger // nil: none
}

// Table is the table. It is safe for concurrent use.
type Table struct {
	options Options
	file    *follow.Files[content]
}

// content is what the file says, by key.
type content struct {
	entries map[string]*found
}

// found is an entry with its place.
type found struct {
	entry
	source maps.Source
	tokens func(context.Context, bool) (string, error)
}

// Open reads the table, a text or a database, which spec describes (Path, Kind and
// Beside). It is read again within a second after it has changed; a bad edit is logged
// with file and line, and what the file said before stays.
//
// It fails for a file that every user of the host may read, and with file and line for a
// line that cannot be used.
func Open(spec maps.Spec, o Options) (*Table, error) {
	names := []string{spec.Path}
	if spec.Beside.Path != "" {
		names = append(names, spec.Beside.Path)
	}
	file, err := follow.Open("the table authinfo", names, func() (*content, error) { return read(spec, o.Tokens) }, o.Log)
	if err != nil {
		return nil, err
	}
	return &Table{o, file}, nil
}

// Check reads the table once and returns the first thing that is wrong.
func Check(spec maps.Spec, tokens Tokens) error {
	_, err := read(spec, tokens)
	return err
}

// Fault is why the file as it is now is not in force; nil when it is.
func (t *Table) Fault() error { return t.file.Fault() }

func read(spec maps.Spec, tokens Tokens) (*content, error) {
	name := spec.Current()
	data, err := follow.Read(name, maxFile, true)
	if err != nil {
		return nil, err
	}
	spec.Format = maps.FormatAccess
	snapshot, err := spec.Parse(name, string(data))
	if err != nil {
		return nil, err
	}
	if problems, _ := snapshot.Problems(); len(problems) > 0 {
		return nil, fmt.Errorf("%s: %s", problems[0].Source, withoutSecret(problems[0].Text))
	}
	return newContent(snapshot.All(), tokens)
}

// withoutSecret is a problem of a line, unless it shows a word that is no key: a password
// in a line of its own is one.
func withoutSecret(problem string) string {
	if quote := strings.IndexByte(problem, '"'); quote >= 0 && !strings.HasPrefix(strings.ToLower(problem[quote+1:]), prefix) {
		return "a line without AuthInfo: at its begin, or with nothing after it, expected AuthInfo:HOST, a blank, and " + example
	}
	return problem
}

func newContent(all iter.Seq2[string, maps.Entry], tokens Tokens) (*content, error) {
	c := &content{entries: map[string]*found{}}
	for key, e := range all {
		host, ok := strings.CutPrefix(key, prefix)
		if !ok {
			return nil, fmt.Errorf("%s: the line does not begin with AuthInfo:, expected AuthInfo:HOST, AuthInfo:ADDRESS or AuthInfo: alone", e.Source)
		}
		host = normal(host)
		f, err := newFound(e, tokens)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Source, err)
		}
		if first := c.entries[host]; first != nil {
			return nil, fmt.Errorf("%s: AuthInfo:%s is there already, at %s", e.Source, host, first.source)
		}
		c.entries[host] = f
	}
	return c, nil
}

func newFound(e maps.Entry, tokens Tokens) (*found, error) {
	parsed, err := parseEntry(e.Value)
	if err != nil {
		return nil, err
	}
	f := &found{entry: *parsed, source: e.Source}
	if f.token == "" {
		return f, nil
	}
	if tokens == nil {
		return nil, errors.New("a source of tokens (T), which this table cannot have")
	}
	f.tokens, err = tokens.Source(f.token)
	return f, err
}

// prefix begins all keys, in the lower case in which tables give them.
const prefix = "authinfo:"

// normal is a key without prefix as it is compared: [192.0.2.1], IPv6:2001:DB8:0::1 and
// Host.Example. are written in several ways.
func normal(host string) string {
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if a, err := netip.ParseAddr(strings.TrimPrefix(host, "ipv6:")); err == nil {
		return a.Unmap().WithZone("").String()
	}
	return strings.TrimSuffix(host, ".")
}

// Find is what to log in with at a server: the entry of its name, else of its address,
// else the one for all (AuthInfo: alone); nil when there is none. host is the server's own
// name, as sendmail's {server_name}, or empty.
func (t *Table) Find(_ context.Context, host string, addr netip.Addr) (*saslclient.Credentials, error) {
	return t.find(keys(host, addr), host, addr), nil
}

// FindNamed is Find without the entry for all.
func (t *Table) FindNamed(_ context.Context, host string, addr netip.Addr) (*saslclient.Credentials, error) {
	return t.find(named(keys(host, addr)), host, addr), nil
}

func (t *Table) find(keys []string, host string, addr netip.Addr) *saslclient.Credentials {
	all := t.file.Get()
	for _, key := range keys {
		if f := all.entries[key]; f != nil {
			return f.use(&t.options, host, addr)
		}
	}
	return nil
}

// named are keys without the one for all, which is the last.
func named(keys []string) []string { return keys[:len(keys)-1] }

func keys(host string, addr netip.Addr) []string {
	var all []string
	if host != "" {
		all = append(all, normal(host))
	}
	if addr.IsValid() {
		all = append(all, normal(addr.String()))
	}
	return append(all, "")
}

func (f *found) use(o *Options, host string, addr netip.Addr) *saslclient.Credentials {
	c := f.credentials
	c.Source, c.Token, c.TokenFrom = f.source.String(), f.tokens, f.token
	c.AllowClear = o.Clear != nil && o.Clear(host, addr)
	return &c
}

// Tried is a key that a search has tried.
type Tried struct {
	Key    string // as it is written: "AuthInfo:smtp.isp.example"
	Found  bool
	Value  string // without the password
	Source maps.Source
	Err    error // the entry cannot be used
}

// Explain lists the keys that Find tries, up to the one that it finds.
func (t *Table) Explain(_ context.Context, host string, addr netip.Addr) []Tried {
	all := t.file.Get()
	var tried []Tried
	for _, key := range keys(host, addr) {
		one := Tried{Key: "AuthInfo:" + key}
		f := all.entries[key]
		if f != nil {
			one.Found, one.Value, one.Source = true, f.shown, f.source
		}
		if tried = append(tried, one); f != nil {
			break
		}
	}
	return tried
}
