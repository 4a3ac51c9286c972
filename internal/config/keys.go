package config

import (
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// key is one key of a table: its name and how its value is read into the Config.
type key struct {
	name string
	read func(c *Config, v value) // nil: it has a meaning, but not in this version
}

// sections are the tables of the file, [name], with their keys.
func sections() []struct {
	name string
	keys []key
} {
	return []struct {
		name string
		keys []key
	}{
		{"tables", tableKeys()},
		{"features", featureKeys()},
		{"milter", milterKeys()},
		{"relay", relayKeys()},
		{"dns", dnsKeys()},
		{"admin", []key{{"listen", readAdminListen}}},
		{"log", logKeys()},
		{"messages", messageKeys()},
	}
}

func topKeys() []key {
	keys := []key{
		{"host_name", readHostName},
		{"dont_probe_interfaces", func(c *Config, v value) {
			c.DontProbeInterfaces, _ = v.boolean()
		}},
		{"accept_risk", readAcceptRisk},
	}
	for _, s := range sections() {
		keys = append(keys, key{s.name, func(c *Config, v value) { v.r.table(c, v, s.keys) }})
	}
	keys = append(keys, key{"dnsbl", readLists}, key{"ldap", readLDAP}, key{"listener", readListeners}, key{"oauth2", readOAuth2})
	for _, name := range []string{"import", "replay", "doctor"} {
		keys = append(keys, key{name, nil})
	}
	return keys
}

// Keys are the keys that this version acts on, with their sections, in no
// particular order: "host_name", "features.nocanonify".
func Keys() []string {
	names := []string{"host_name", "dont_probe_interfaces", "accept_risk"}
	for _, s := range sections() {
		if s.name == "features" {
			continue
		}
		for _, k := range s.keys {
			if k.read != nil {
				names = append(names, join(s.name, k.name))
			}
		}
	}
	for _, f := range allFeatures() {
		if f.set != nil || f.read != nil {
			names = append(names, join("features", f.name))
		}
	}
	for _, k := range listKeys(&DNSList{Table: &ListTable{}}) {
		names = append(names, join("dnsbl", k.name))
	}
	for _, k := range oauth2Keys(&OAuth2{}) {
		names = append(names, join("oauth2", k.name))
	}
	for _, k := range listenerKeys(&Listener{}) {
		names = append(names, join("listener", k.name))
	}
	return names
}

func milterKeys() []key {
	return []key{
		{"listen", readMilterListen},
		{"mode", readMode},
		{"timeout", func(c *Config, v value) {
			if d, ok := v.duration(100*time.Millisecond, 5*time.Minute); ok {
				c.Milter.Timeout = d
			}
		}},
		{"max_connections", func(c *Config, v value) {
			if n, ok := v.integer(1, 1_000_000); ok {
				c.Milter.MaxConnections = n
			}
		}},
		{"socket_owner", func(c *Config, v value) { c.Milter.SocketOwner, _ = v.text("gatepost") }},
		{"socket_group", func(c *Config, v value) { c.Milter.SocketGroup, _ = v.text("smmsp") }},
		{"socket_mode", readSocketMode},
	}
}

func readMode(_ *Config, v value) {
	if v.v == "observe" {
		v.wrong("which is not supported by this version, expected \"enforce\"")
		return
	}
	v.oneOf("enforce")
}

func readSocketMode(c *Config, v value) {
	s, ok := v.v.(string)
	n, err := strconv.ParseUint(s, 8, 32)
	if !ok || err != nil || n > 0o777 || n&0o600 != 0o600 {
		v.wrong("expected octal digits in quotes such as \"0660\", with read and write for the owner")
		return
	}
	c.Milter.SocketMode = fs.FileMode(n)
}

func readMilterListen(c *Config, v value) {
	list, ok := v.list("inet:8891@127.0.0.1")
	if !ok {
		return
	}
	c.Milter.Listen = nil
	for _, e := range list {
		if s, ok := e.text("inet:8891@127.0.0.1"); ok {
			checkListen(e, s)
			c.Milter.Listen = append(c.Milter.Listen, s)
		}
	}
}

// checkListen checks an address in sendmail's socket syntax (operations guide, 5.11, X line).
func checkListen(v value, s string) {
	kind, rest, _ := strings.Cut(s, ":")
	switch kind {
	case "unix", "local":
		if !filepath.IsAbs(rest) || strings.ContainsFunc(rest, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			v.wrong("expected a path that begins with / after %s:", kind)
		} else if len(rest) > 107 { // sun_path of unix(7), less its NUL
			v.wrong("expected a path of at most 107 bytes")
		}
	case "inet", "inet6":
		checkInet(v, kind, rest)
	default:
		v.wrong("expected inet:PORT@ADDRESS, inet6:PORT@ADDRESS, unix:/PATH or local:/PATH")
	}
}

// checkInet checks PORT or PORT@HOST. As with libmilter the port may be the name of
// a service, the host a name, and no host means every address of the family;
// whether names are known turns out when the program listens.
func checkInet(v value, kind, rest string) {
	port, host, hasHost := strings.Cut(rest, "@")
	if n, err := strconv.ParseUint(port, 10, 16); (err != nil || n == 0) && !service(port) {
		v.wrong("expected a port from 1 to 65535 after %s:", kind)
		return
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	if hasHost && (err != nil && !hostName(host) || err == nil && a.Is4() != (kind == "inet")) {
		example := "inet:8891@127.0.0.1"
		if kind == "inet6" {
			example = "inet6:8891@[::1]"
		}
		v.wrong("expected an address of that family, or a host name, after @, such as %s", example)
	}
}

// service tells whether s can be a service name (RFC 6335, 5.1).
func service(s string) bool {
	return len(s) <= 15 && strings.ContainsFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' }) && hostName(s)
}

func dnsKeys() []key {
	return []key{
		{"servers", readServers},
		{"timeout", func(c *Config, v value) {
			if d, ok := v.duration(50*time.Millisecond, time.Minute); ok {
				c.DNS.Timeout = d
			}
		}},
		{"attempts", func(c *Config, v value) {
			if n, ok := v.integer(1, 10); ok {
				c.DNS.Attempts = n
			}
		}},
		{"trust_ad", readTrustAD},
		{"rotate", func(c *Config, v value) { c.DNS.Rotate = v.flag() }},
		{"tcp", func(c *Config, v value) { c.DNS.TCP = v.flag() }},
		{"serve_stale", func(c *Config, v value) {
			if d, ok := v.duration(0, 7*24*time.Hour); ok {
				c.DNS.ServeStale = d
			}
		}},
		{"cache_size", func(c *Config, v value) {
			if n, ok := v.integer(1, 10_000_000); ok {
				c.DNS.CacheSize = n
			}
		}},
	}
}

func readServers(c *Config, v value) {
	list, ok := v.list("127.0.0.1:53")
	if !ok {
		return
	}
	c.DNS.Servers = nil
	for _, e := range list {
		s, ok := e.text("127.0.0.1:53")
		if !ok {
			continue
		}
		ap, ok := addrPort(s, 53)
		if !ok {
			e.wrong("expected an address with or without a port, such as \"127.0.0.1:53\" or \"[::1]:53\"")
			continue
		}
		c.DNS.Servers = append(c.DNS.Servers, ap.String())
	}
}

// readTrustAD reads addresses of servers.
func readTrustAD(c *Config, v value) {
	list, ok := v.list("192.0.2.53")
	if !ok {
		return
	}
	for _, e := range list {
		s, _ := e.v.(string)
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			e.wrong("expected the address of a server, without a port, such as \"192.0.2.53\"")
			continue
		}
		c.DNS.TrustAD = append(c.DNS.TrustAD, a.Unmap())
	}
}

// readAdminListen keeps the admin listener on this machine: it asks for no password.
func readAdminListen(c *Config, v value) {
	s, ok := v.text("127.0.0.1:9891")
	if !ok {
		return
	}
	if path, isUnix := strings.CutPrefix(s, "unix:"); isUnix {
		if !filepath.IsAbs(path) {
			v.wrong("expected a path that begins with / after unix:")
		}
	} else if ap, ok := addrPort(s, 0); !ok || !ap.Addr().IsLoopback() {
		v.wrong("expected a loopback address with a port, such as \"127.0.0.1:9891\", or unix:/PATH")
	}
	c.Admin.Listen = s
}

// messageKeys are the texts that sendmail.mc can replace, under their names there.
func messageKeys() []key {
	message := func(name, example string, at func(*Config) *string) key {
		return key{name, func(c *Config, v value) { *at(c), _ = v.text(example) }}
	}
	return []key{
		message("confREJECT_MSG", "550 Access denied", func(c *Config) *string { return &c.Messages.Reject }),
		message("confRELAY_MSG", "550 Relaying denied", func(c *Config) *string { return &c.Messages.Relay }),
		message("confRCPTREJ_MSG", "550 Mailbox disabled for this recipient", func(c *Config) *string { return &c.Messages.RcptRej }),
	}
}

func logKeys() []key {
	word := func(name string, at func(*Config) *string, words ...string) key {
		return key{name, func(c *Config, v value) {
			if s, ok := v.oneOf(words...); ok {
				*at(c) = s
			}
		}}
	}
	return []key{
		word("level", func(c *Config) *string { return &c.Log.Level }, "debug", "info", "warn", "error"),
		word("format", func(c *Config) *string { return &c.Log.Format }, "text", "json"),
		word("output", func(c *Config) *string { return &c.Log.Output }, "stderr", "syslog"),
	}
}

func readHostName(c *Config, v value) {
	s, ok := v.text("mx.example.com")
	if !ok {
		return
	}
	if !hostName(s) {
		v.wrong("expected a host name such as \"mx.example.com\"")
		return
	}
	c.HostName = s
}

// hostName tells whether DNS could have the name s (RFC 1035, 2.3.4), without a final dot.
func hostName(s string) bool {
	good := len(s) <= 253 && net.ParseIP(s) == nil
	for label := range strings.SplitSeq(s, ".") {
		good = good && len(label) >= 1 && len(label) <= 63 && !strings.ContainsFunc(label, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
		})
	}
	return good
}
