package config

import (
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gatepost.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadEverything(t *testing.T) {
	path := write(t, `
host_name = "mx.example.com"
dont_probe_interfaces = true

[tables]
access = "/srv/access"
relay_domains = "relay-domains"
spammers = "/srv/spammers"

[features]
access_db = ["skip", "relaytofulladdress"]
lookupdotdomain = true
blacklist_recipients = true
relay_hosts_only = true
relay_entire_domain = true
promiscuous_relay = true
loose_relay_check = true
accept_unqualified_senders = true
accept_unresolvable_domains = true
nocanonify = true
nouucp = "reject"
nopercenthack = "nospecial"
relay_local_from = true
relay_mail_from = ["domain"]
relay_based_on_MX = true
trust_auth_mech = ["PLAIN", "SCRAM-SHA-256"]
delay_checks = false

[milter]
listen = ["inet6:8891@[::1]", "unix:/run/gatepost/milter.sock", "inet:milter@localhost", "inet:8891"]
mode = "enforce"
timeout = "3s"
max_connections = 10
socket_owner = "gatepost"
socket_group = "smmsp"
socket_mode = "0666"

[dns]
servers = ["192.0.2.53", "[2001:db8::53]:5353"]
timeout = "500ms"
attempts = 3
rotate = true
tcp = false
serve_stale = "24h"
trust_ad = ["192.0.2.53", "2001:db8::53"]
cache_size = 5

[admin]
listen = "[::1]:9891"

[log]
level = "debug"
format = "json"
output = "syslog"
`)
	want := &Config{
		File: path, HostName: "mx.example.com", DontProbeInterfaces: true,
		Tables: Tables{
			Access:         Table{Maps: []Map{{Kind: "text", Path: "/srv/access"}}, Named: true, Line: 6},
			RelayDomains:   Table{Maps: []Map{{Kind: "text", Path: filepath.Join(filepath.Dir(path), "relay-domains")}}, Named: true, Line: 7},
			LocalHostNames: defaultTable("/etc/mail/local-host-names"),
			Trusted:        Table{Maps: []Map{{Kind: "text", Path: "/etc/mail/table/trusted", Database: "/etc/mail/table/trusted.db"}}},
			Spammers:       Table{Maps: []Map{{Kind: "text", Path: "/srv/spammers"}}, Named: true, Line: 8},
			OnUnavailable:  "tempfail",
			GenericsTable:  Table{Maps: []Map{{Kind: kindText, Path: "/etc/mail/genericstable", Database: "/etc/mail/genericstable.db"}}},
			MaxStale:       10 * time.Second,
		},
		Features: Features{
			AccessDB: true, AccessSkip: true, AccessLookupDotDomain: true, RelayToFullAddress: true,
			BlocklistRecipients: true, RelayHostsOnly: true, RelayEntireDomain: true, PromiscuousRelay: true,
			LooseRelayCheck: true, AcceptUnqualifiedSenders: true, AcceptUnresolvableDomains: true, NoCanonify: true,
			RelayLocalFrom: true, RelayMailFrom: true, RelayMailFromDomain: true, RelayBasedOnMX: true,
			NoUUCP: "reject", NoPercentHack: "nospecial", TrustAuthMech: []string{"PLAIN", "SCRAM-SHA-256"},
		},
		Milter: Milter{
			Listen:  []string{"inet6:8891@[::1]", "unix:/run/gatepost/milter.sock", "inet:milter@localhost", "inet:8891"},
			Timeout: 3 * time.Second, MaxConnections: 10, SocketOwner: "gatepost", SocketGroup: "smmsp", SocketMode: 0o666,
		},
		Relay: defaultRelay(),
		DNS: DNS{
			Servers: []string{"192.0.2.53:53", "[2001:db8::53]:5353"},
			Timeout: 500 * time.Millisecond, Attempts: 3, Rotate: new(true), TCP: new(false), CacheSize: 5, ServeStale: 24 * time.Hour,
			TrustAD: []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")},
		},
		Admin: Admin{Listen: "[::1]:9891"},
		Log:   Log{Level: "debug", Format: "json", Output: "syslog"},
	}
	got, err := Load(path)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	if diff := cmp.Diff(want, got, addresses); diff != "" {
		t.Errorf("Load gave (-want +got):\n%s", diff)
	}
}

func TestEmptyFileIsDefault(t *testing.T) {
	path := write(t, "# nothing\n")
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.File = path
	if diff := cmp.Diff(want, got, addresses); diff != "" {
		t.Errorf("an empty file differs from Default (-want +got):\n%s", diff)
	}
}

func TestMissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.toml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a missing file gave %v, want an error that is fs.ErrNotExist", err)
	}
}

// TestNoRegularFile: nothing but a file is read, and nothing is waited for.
func TestNoRegularFile(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir()} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path+": not a regular file") {
			t.Errorf("Load of %s gave %v, want that it is no regular file", path, err)
		}
	}
}

// TestLists has the forms of DNS lists and the order in which they are asked.
func TestLists(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []DNSList
	}{
		{"a zone", "dnsbl = \"a.example\"", []DNSList{{Zone: "a.example"}}},
		{"arguments", "dnsbl = [\"a.example\", \"550 no\", \"t\"]", []DNSList{{Zone: "a.example", Message: "550 no", Temporary: "t"}}},
		{"several", "enhdnsbl = [[\"a.example\", \"\", \"\", \"127.0.0.2.\", \"127.0.0.4.\"], [\"b.example\"]]",
			[]DNSList{{Zone: "a.example", Enhanced: true, Results: []string{"127.0.0.2.", "127.0.0.4."}}, {Zone: "b.example", Enhanced: true}}},
		{"all kinds", "enhdnsbl = \"b.example\"\ndnsbl = \"a.example\"\n[[dnsbl]]\nzone = \"c.example.\"\nmessage = \"discard\"\n[[dnsbl]]\nzone = \"d.example\"\nresults = \"127.0.0.2\"",
			[]DNSList{{Zone: "a.example"}, {Zone: "b.example", Enhanced: true}, {Zone: "c.example", Message: "discard", Table: &ListTable{IPv6: true, Health: true}},
				{Zone: "d.example", Enhanced: true, Table: &ListTable{IPv6: true, Health: true, Results: []Result{result("127.0.0.2", "127.0.0.2", 0)}}}}},
		{"off", "dnsbl = false", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Load(write(t, "[features]\n"+tc.text+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, c.Lists(), cmpopts.EquateEmpty(), addresses); diff != "" {
				t.Errorf("lists (-want +got):\n%s", diff)
			}
		})
	}
}

// TestClientFeatures has the features about connections and delays.
func TestClientFeatures(t *testing.T) {
	c, err := Load(write(t, "[features]\ndelay_checks = [\"friend\", \"n\"]\nratecontrol = [\"nodelay\", \"terminate\"]\nconncontrol = true\n"+
		"greet_pause = 5000\nrequire_rdns = true\nuse_client_ptr = true\nblock_bad_helo = true\nbadmx = true\ncompat_check = true\n"+
		"[messages]\nconfREJECT_MSG = \"550 a\"\nconfRELAY_MSG = \"550 b\"\nconfRCPTREJ_MSG = \"550 c\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.File = c.File
	f := &want.Features
	f.DelayChecks, f.NoSpamTags = "friend", true
	f.RateControl, f.ConnControl = Control{On: true, NoDelay: true, Terminate: true}, Control{On: true}
	f.GreetPause, f.GreetPauseTime = true, 5000
	f.RequireRDNS, f.UseClientPtr, f.BlockBadHelo, f.BadMX, f.CompatCheck = true, true, true, true, true
	want.Messages = Messages{Reject: "550 a", Relay: "550 b", RcptRej: "550 c"}
	if diff := cmp.Diff(want, c, addresses); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// TestFaults has one file per fault; FILE stands for its name in the message.
func TestFaults(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"unknown key", "[milter]\nlistne = \"x\"\n", `FILE:2: unknown key milter.listne, did you mean milter.listen?`},
		{"unknown key far from all", "\nzzzzzzzz = 1\n", `FILE:2: unknown key zzzzzzzz`},
		{"key of another section", "nocanonify = true\n", `FILE:1: unknown key nocanonify, did you mean features.nocanonify?`},
		{"unknown section", "[feature]\nx = 1\n", `FILE:1: unknown key feature, did you mean features?`},
		{"case of a feature", "[features]\nrelay_based_on_mx = true\n", `FILE:2: unknown key features.relay_based_on_mx, did you mean features.relay_based_on_MX?`},
		{"swapped letters", "[log]\nlevle = 1\n", `FILE:2: unknown key log.levle, did you mean log.level?`},
		{"quoted key", "\"a b\" = 1\n", `FILE:1: unknown key "a b"`},
		{"inline table", "milter = { mode = \"enforce\",  tiemout = \"2s\" }\n", `FILE:1: unknown key milter.tiemout, did you mean milter.timeout?`},
		{"section as a value", "milter = 3\n", `FILE:1: milter is the number 3, expected a table, [milter]`},
		{"section as a list", "[[log]]\nlevel = \"info\"\n", `FILE:1: log is a list, expected a table, [log]`},
		{"syntax", "[milter]\nlisten = \n", `FILE:2: not TOML: unexpected character U+000A at start of value`},
		{"duplicate key", "[dns]\nattempts = 1\nattempts = 2\n", `FILE:3: not TOML: key attempts is already defined`},
		{"NUL", "host_name = \"a\"\n\x00", `FILE:2: NUL byte, expected a text file`},

		{"host name type", "host_name = 3\n", `FILE:1: host_name is the number 3, expected a string such as "mx.example.com"`},
		{"host name blank", "host_name = \"a b\"\n", `FILE:1: host_name is "a b", expected a host name such as "mx.example.com"`},
		{"host name address", "host_name = \"192.0.2.1\"\n", `FILE:1: host_name is "192.0.2.1", expected a host name such as "mx.example.com"`},
		{"host name final dot", "host_name = \"a.example.\"\n", `FILE:1: host_name is "a.example.", expected a host name such as "mx.example.com"`},
		{"boolean in quotes", "dont_probe_interfaces = \"yes\"\n", `FILE:1: dont_probe_interfaces is "yes", expected true or false`},

		{"empty table path", "[tables]\naccess = \"\"\n", `FILE:2: tables.access is "", expected a string such as "/etc/mail/access"`},
		{"table kind", "[tables]\naccess = \"dbm:/etc/mail/access\"\n", `FILE:2: tables.access is "dbm:/etc/mail/access", expected a path, or one after text:, hash:, btree:, cdb:, lmdb:, cidr: or regex:, or socketmap:, ldap: or redis://`},
		{"table twice", "[tables]\naccess = [\"/a\",\n\"/a\"]\n", `FILE:3: tables.access[1] is "/a", which stands in the list already`},
		{"table of nothing", "[tables]\naccess = \"ldap:\"\n", `FILE:2: tables.access is "ldap:", expected something after ldap:`},
		{"table of no list", "[tables]\naccess = []\n", `FILE:2: tables.access is an empty list, expected a string such as "/etc/mail/access", or a list of them`},
		{"directory unknown", "[tables]\naccess = \"ldap:staff\"\n", `FILE:2: tables.access names ldap:staff, but there is no [[ldap]] with name = "staff"`},
		{"directory without much", "host_name = \"a.b\"\n[[ldap]]\nname = \"x\"\n", "FILE:2: ldap[0] has no base, expected base = \"ou=mail,dc=example,dc=com\"\nFILE:2: ldap[0] has no url, expected url = \"ldaps://ldap.example.com\""},
		{"directory without host", "[[ldap]]\nname = \"x\"\nurl = \"ldap://l\"\nbase = \"dc=x\"\n", "FILE:1: ldap[0] without a filter asks for entries of this host, and needs host_name"},
		{"directory twice", "[[ldap]]\nname = \"x\"\nurl = \"ldap://l\"\nbase = \"dc=x\"\nfilter = \"(k=%0)\"\ncluster = \"c\"\n[[ldap]]\nname = \"x\"\nurl = \"ldap://l\"\nbase = \"dc=x\"\nfilter = \"(k=%0)\"\n",
			"FILE:6: ldap[0].cluster means nothing beside filter, expected one of the two\nFILE:7: ldap[1] has the name \"x\", which another one has"},
		{"on_unavailable", "[tables]\non_unavailable = \"accept\"\n", `FILE:2: tables.on_unavailable is "accept", expected "tempfail" or "last"`},
		{"table path with newline", "[tables]\naccess = \"/a\\nb\"\n", `FILE:2: tables.access is "/a\nb", expected no control characters in a path`},
		{"trusted", "[tables]\ntrusted = true\n", `FILE:2: tables.trusted is true, expected a string such as "/etc/mail/table/trusted", or a list of them`},
		{"virtual_hosts alone", "[tables]\nvirtual_hosts = \"/x\"\n", `FILE:2: tables.virtual_hosts means nothing without check_rcpt = "unixware" under [features]; sendmail's own place for such names is tables.local_host_names`},

		{"feature not yet", "[features]\n\nldap_routing = true\n", `FILE:3: features.ldap_routing is not supported by this version`},
		{"rbl", "[features]\nrbl = true\n", `FILE:2: features.rbl is not supported: sendmail no longer has it: write dnsbl = "ZONE" instead, with the zone of a list that still exists`},
		{"use_cw_file", "[features]\nuse_cw_file = true\n", `FILE:2: features.use_cw_file is not supported: name the file as tables.local_host_names instead`},
		{"flag with argument", "[features]\nnocanonify = \"canonify_hosts\"\n", `FILE:2: features.nocanonify is "canonify_hosts", expected true or false`},
		{"feature word", "[features]\nnouucp = true\n", `FILE:2: features.nouucp is true, expected "reject" or "nospecial"`},
		{"feature words", "[features]\nrelay_mail_from = \"domain\"\n", `FILE:2: features.relay_mail_from is "domain", expected true, false or a list such as ["domain"]`},
		{"feature list element", "[features]\naccess_db = [\n \"skip\",\n \"hash /etc/mail/access\",\n]\n", `FILE:4: features.access_db[1] is "hash /etc/mail/access", expected "skip", "lookupdotdomain" or "relaytofulladdress" (the file is named by tables.access)`},
		{"mechanism", "[features]\ntrust_auth_mech = [\"PLAIN LOGIN\"]\n", `FILE:2: features.trust_auth_mech[0] is "PLAIN LOGIN", expected the name of a SASL mechanism such as "PLAIN"`},
		{"mechanisms", "[features]\ntrust_auth_mech = true\n", `FILE:2: features.trust_auth_mech is true, expected a list of SASL mechanisms such as ["PLAIN", "LOGIN"]`},
		{"access_db twice", "[tables]\naccess = \"/x\"\n[features]\naccess_db = false\n", `FILE:4: features.access_db is false but tables.access names a file, expected one of the two`},
		{"needs access_db", "[features]\naccess_db = false\nblocklist_recipients = true\n", `FILE:3: features.blocklist_recipients needs the access table, expected access_db not to be false`},

		{"listen kind", "[milter]\nlisten = \"127.0.0.1:8891\"\n", `FILE:2: milter.listen is "127.0.0.1:8891", expected inet:PORT@ADDRESS, inet6:PORT@ADDRESS, unix:/PATH or local:/PATH`},
		{"listen port", "[milter]\nlisten = \"inet:88910@127.0.0.1\"\n", `FILE:2: milter.listen is "inet:88910@127.0.0.1", expected a port from 1 to 65535 after inet:`},
		{"listen name", "[milter]\nlisten = [\n \"unix:/a\",\n \"inet:8891@local/host\" ]\n", `FILE:4: milter.listen[1] is "inet:8891@local/host", expected an address of that family, or a host name, after @, such as inet:8891@127.0.0.1`},
		{"listen family", "[milter]\nlisten = \"inet6:8891@127.0.0.1\"\n", `FILE:2: milter.listen is "inet6:8891@127.0.0.1", expected an address of that family, or a host name, after @, such as inet6:8891@[::1]`},
		{"listen relative", "[milter]\nlisten = \"unix:run/x\"\n", `FILE:2: milter.listen is "unix:run/x", expected a path that begins with / after unix:`},
		{"listen long", "[milter]\nlisten = \"unix:/" + strings.Repeat("a", 107) + "\"\n", `FILE:2: milter.listen is "unix:/` + strings.Repeat("a", 74) + `...", expected a path of at most 107 bytes`},
		{"listen empty", "[milter]\nlisten = []\n", `FILE:2: milter.listen is an empty list, expected a string such as "inet:8891@127.0.0.1", or a list of them`},
		{"observe", "[milter]\nmode = \"observe\"\n", `FILE:2: milter.mode is "observe", which is not supported by this version, expected "enforce"`},
		{"mode", "[milter]\nmode = \"on\"\n", `FILE:2: milter.mode is "on", expected "enforce"`},
		{"timeout number", "[milter]\ntimeout = 8\n", `FILE:2: milter.timeout is the number 8, expected a time from "100ms" to "5m0s", such as "2s" or "500ms"`},
		{"timeout zero", "[milter]\ntimeout = \"0s\"\n", `FILE:2: milter.timeout is "0s", expected a time from "100ms" to "5m0s", such as "2s" or "500ms"`},
		{"connections", "[milter]\nmax_connections = 0\n", `FILE:2: milter.max_connections is the number 0, expected a number from 1 to 1000000`},
		{"connections float", "[milter]\nmax_connections = 1.5\n", `FILE:2: milter.max_connections is the number 1.5, expected a number from 1 to 1000000`},
		{"socket mode number", "[milter]\nsocket_mode = 0o660\n", `FILE:2: milter.socket_mode is the number 432, expected octal digits in quotes such as "0660", with read and write for the owner`},
		{"socket mode letters", "[milter]\nsocket_mode = \"rw\"\n", `FILE:2: milter.socket_mode is "rw", expected octal digits in quotes such as "0660", with read and write for the owner`},
		{"socket mode useless", "[milter]\nsocket_mode = \"0060\"\n", `FILE:2: milter.socket_mode is "0060", expected octal digits in quotes such as "0660", with read and write for the owner`},

		{"server name", "[dns]\nservers = [\"dns.example\"]\n", `FILE:2: dns.servers[0] is "dns.example", expected an address with or without a port, such as "127.0.0.1:53" or "[::1]:53"`},
		{"trusted server", "[dns]\ntrust_ad = \"192.0.2.53:53\"\n", `FILE:2: dns.trust_ad is "192.0.2.53:53", expected the address of a server, without a port, such as "192.0.2.53"`},
		{"server type", "[dns]\nservers = [53]\n", `FILE:2: dns.servers[0] is the number 53, expected a string such as "127.0.0.1:53"`},
		{"attempts date", "[dns]\nattempts = 2026-01-01\n", `FILE:2: dns.attempts is a date or time, expected a number from 1 to 10`},
		{"admin outside", "[admin]\nlisten = \"0.0.0.0:9891\"\n", `FILE:2: admin.listen is "0.0.0.0:9891", expected a loopback address with a port, such as "127.0.0.1:9891", or unix:/PATH`},
		{"admin no port", "[admin]\nlisten = \"127.0.0.1\"\n", `FILE:2: admin.listen is "127.0.0.1", expected a loopback address with a port, such as "127.0.0.1:9891", or unix:/PATH`},
		{"admin relative", "[admin]\nlisten = \"unix:x\"\n", `FILE:2: admin.listen is "unix:x", expected a path that begins with / after unix:`},
		{"log level", "[log]\nlevel = \"loud\"\n", `FILE:2: log.level is "loud", expected "debug", "info", "warn" or "error"`},

		{"section not yet", "\n[doctor]\nx = 1\n", `FILE:2: doctor is not supported by this version`},
		{"list without zone", "[[dnsbl]]\nmessage = \"550 no\"\n", `FILE:1: dnsbl[0] has no zone, expected zone = "bl.example.net"`},
		{"list zone", "[[dnsbl]]\nzone = \"a\"\n[[dnsbl]]\nzone = \"x y\"\n", `FILE:4: dnsbl[1].zone is "x y", expected a name such as "bl.example.net"`},
		{"list key", "[[dnsbl]]\nzone = \"a\"\nmesage = \"x\"\n", `FILE:3: unknown key dnsbl[0].mesage, did you mean dnsbl.message?`},
		{"list as table", "[dnsbl]\nzone = \"a\"\n", `FILE:1: dnsbl is a table, expected tables, each beginning with [[dnsbl]]`},
		{"dnsbl arguments", "[features]\ndnsbl = [\"a\", \"b\", \"t\", \"127.0.0.2\"]\n", `FILE:2: features.dnsbl is a list, expected 1 to 3 arguments`},
		{"dnsbl argument", "[features]\ndnsbl = [[\"a\", 3]]\n", `FILE:2: features.dnsbl[0][1] is the number 3, expected a string`},
		{"delay_checks", "[features]\ndelay_checks = \"foe\"\n", `FILE:2: features.delay_checks is "foe", expected true, false, "friend" or "hater"`},
		{"nodelay", "[features]\nratecontrol = [\"nodelay\"]\n", `FILE:2: features.ratecontrol has the argument nodelay, which needs delay_checks`},
		{"control argument", "[features]\nconncontrol = [\"later\"]\n", `FILE:2: features.conncontrol[0] is "later", expected "nodelay" or "terminate"`},
		{"greet_pause", "[features]\ngreet_pause = \"5s\"\n", `FILE:2: features.greet_pause is "5s", expected a number from 0 to 300000`},
		{"message", "[messages]\nconfREJECT_MSG = 550\n", `FILE:2: messages.confREJECT_MSG is the number 550, expected a string such as "550 Access denied"`},
		{"greet_pause without access", "[features]\naccess_db = false\ngreet_pause = true\n", `FILE:3: features.greet_pause needs the access table, expected access_db not to be false`},
		{"check_rcpt in its wrong place", "check_rcpt = \"unixware\"\n", `FILE:1: unknown key check_rcpt, did you mean features.check_rcpt?`},
		{"check_rcpt", "[features]\ncheck_rcpt = \"Unixware\"\n", `FILE:2: features.check_rcpt is "Unixware", expected "sendmail", "unixware" or "off"`},
		{"check_rcpt off by a flag", "[features]\ncheck_rcpt = false\n", `FILE:2: features.check_rcpt is false, expected "sendmail", "unixware" or "off"`},
		{"unixware and promiscuous_relay", "[features]\ncheck_rcpt = \"unixware\"\npromiscuous_relay = true\n", `FILE:3: features.promiscuous_relay relays for everybody but features.check_rcpt is "unixware", expected one of the two`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, tc.text)
			c, err := Load(path)
			if err == nil {
				t.Fatalf("Load of %q gave %+v, want an error", tc.text, c)
			}
			if got := strings.ReplaceAll(err.Error(), path, "FILE"); got != tc.want {
				t.Errorf("Load of %q\n got %s\nwant %s", tc.text, got, tc.want)
			}
		})
	}
}

func TestAllFaultsInOrder(t *testing.T) {
	path := write(t, "[log]\nlevel = 1\nformat = 2\n[dns]\natempts = 3\n[milter]\nmode = \"x\"\n")
	_, err := Load(path)
	want := []string{
		`FILE:2: log.level is the number 1, expected "debug", "info", "warn" or "error"`,
		`FILE:3: log.format is the number 2, expected "text" or "json"`,
		`FILE:5: unknown key dns.atempts, did you mean dns.attempts?`,
		`FILE:7: milter.mode is "x", expected "enforce"`,
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), path, "FILE"), "\n")
	if diff := cmp.Diff(want, got, addresses); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	var one *Error
	if !errors.As(err, &one) || one.File != path || one.Line != 2 {
		t.Errorf("first fault is %+v, want line 2 of %s", one, path)
	}
}

// TestFeatureTable holds the table of features together: names once, and every
// feature that is not acted on is refused in each of its forms.
func TestFeatureTable(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range allFeatures() {
		if seen[f.name] {
			t.Errorf("feature %s stands in the table twice", f.name)
		}
		seen[f.name] = true
		if (f.form == formWord || f.form == formWords) && len(f.words) == 0 {
			t.Errorf("feature %s takes words but has none", f.name)
		}
		for _, argument := range []string{"true", `"x"`, `["x"]`, `{ a = 1 }`} {
			_, err := Load(write(t, "[features]\n"+f.name+" = "+argument+"\n"))
			if f.set == nil && f.read == nil && (err == nil || !strings.Contains(err.Error(), "not supported")) {
				t.Errorf("features.%s = %s gave %v, want that it is not supported", f.name, argument, err)
			}
		}
	}
}

func TestFeatureOff(t *testing.T) {
	for _, f := range allFeatures() {
		if f.set == nil && f.read == nil || f.name == "check_rcpt" { // false could be taken for "off"
			continue
		}
		c, err := Load(write(t, "[features]\n"+f.name+" = false\n"))
		if err != nil {
			t.Errorf("features.%s = false: %v", f.name, err)
			continue
		}
		want := Default().Features
		want.AccessDB = f.name != "access_db"
		if diff := cmp.Diff(want, c.Features); diff != "" {
			t.Errorf("features.%s = false (-want +got):\n%s", f.name, diff)
		}
	}
}

func TestTooLarge(t *testing.T) {
	path := write(t, strings.Repeat("#\n", maxFile/2+1))
	_, err := Load(path)
	if want := path + ": the file is too large, expected at most 262144 bytes"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestDeep has files whose nesting must cost neither the stack nor much time.
func TestDeep(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"brackets", "\na = " + strings.Repeat("[", 100_000), "f:2: not TOML: arrays and inline tables are nested more than"},
		{"lists", "\na = " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000), "f:2: unknown key a"},
		{"dotted key", "\n" + strings.Repeat("a.", 100_000) + "a = 1\n", "f:2: unknown key a"},
		{"reserved", "\ndoctor." + strings.Repeat("a.", 100_000) + "a = 1\n", "f:2: doctor is not supported"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := time.Now()
			_, err := Parse("f", []byte(tc.text))
			if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %v, want %s...", err, tc.want)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v, want well under a second", took)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("host_name = \"mx.example.com\"\n[milter]\nlisten = [\"unix:/a\", 'inet:1@127.0.0.1']\n"))
	f.Add([]byte("features.access_db = [\"skip\"]\nmilter = { listen = [ { a = [1] } ] }\n"))
	f.Add([]byte("[relay]\nsmart_host = '[a]:5'\nlocal_mail = 'lmtp:unix:/x'\nxclient = ['10/8']\nmin_free = '1 KB'\nlocal_users = ['cdb:x']\n"))
	f.Add([]byte("[[dnsbl]]\nzone='a'\n[[dnsbl]]\nzone='b'\n[dnsbl.x]\n\"\" = \"\"\"\n\"\"\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f.toml", data)
		if (c == nil) == (err == nil) {
			t.Fatalf("Parse(%q) gave %v and %v, want one of them", data, c, err)
		}
		if err == nil {
			return
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !strings.HasPrefix(line, "f.toml:") {
				t.Errorf("Parse(%q): the line %q of the error does not begin with the file", data, line)
			}
		}
	})
}

// TestCheckRcpt: the words, and when the trusted table is read.
func TestCheckRcpt(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		word       string
		unixware   bool
		trusted    string // the file; "" when it is not read
	}{
		{"default", "", "", false, ""},
		{"sendmail", "[features]\ncheck_rcpt = \"sendmail\"\n", "sendmail", false, ""},
		{"sendmail, trusted named", "[tables]\ntrusted = \"/srv/trusted\"\n", "", false, "/srv/trusted"},
		{"off", "[features]\ncheck_rcpt = \"off\"\n", "off", false, ""},
		{"unixware", "[features]\ncheck_rcpt = \"unixware\"\n", "unixware", true, "/etc/mail/table/trusted"},
		{"unixware, trusted named", "[tables]\ntrusted = \"/srv/trusted\"\nvirtual_hosts = \"/srv/v\"\n[features]\ncheck_rcpt = \"unixware\"\n", "unixware", true, "/srv/trusted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Load(write(t, tc.text))
			if err != nil {
				t.Fatal(err)
			}
			trusted := ""
			if c.UsesTrusted() {
				trusted = c.Tables.Trusted.Maps[0].Path
			}
			if c.Features.CheckRcpt != tc.word || c.UnixWare() != tc.unixware || trusted != tc.trusted {
				t.Errorf("check_rcpt %q, UnixWare %v, trusted table %q; want %q, %v, %q", c.Features.CheckRcpt, c.UnixWare(), trusted, tc.word, tc.unixware, tc.trusted)
			}
		})
	}
}

func TestMaps(t *testing.T) {
	c, err := Load(write(t, `
host_name = "mx.example.com"
[tables]
access = ["text:/etc/mail/access.db", "hash:/etc/mail/access", "btree:/b.db", "cdb:/c", "/d.cdb", "lmdb:/l", "/m.mdb",
  "cidr:nets", "regex:/r", "socketmap:unix:/run/s:access", "redis://:pw@127.0.0.1/0/access", "rediss://r/1/a", "redis+unix:///s?key=a", "ldap:staff"]
relay_domains = "relay.db"
on_unavailable = "last"
max_stale = "1m"
[[ldap]]
name = "staff"
url = "ldaps://ldap.example.com"
base = "dc=example,dc=com"
cluster = "mx"
`))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(c.File)
	want := []Map{
		{Kind: "text", Path: "/etc/mail/access.db"},
		{Kind: "db", Path: "/etc/mail/access.db", Text: "/etc/mail/access"},
		{Kind: "db", Path: "/b.db", Text: "/b"},
		{Kind: "cdb", Path: "/c.cdb", Text: "/c"},
		{Kind: "cdb", Path: "/d.cdb", Text: "/d"},
		{Kind: "lmdb", Path: "/l.lmdb", Text: "/l"},
		{Kind: "lmdb", Path: "/m.mdb", Text: "/m"},
		{Kind: "cidr", Path: dir + "/nets"},
		{Kind: "regex", Path: "/r"},
		{Kind: "socketmap", Path: "unix:/run/s:access"},
		{Kind: "redis", Path: "redis://:pw@127.0.0.1/0/access"},
		{Kind: "redis", Path: "rediss://r/1/a"},
		{Kind: "redis", Path: "redis+unix:///s?key=a"},
		{Kind: "ldap", Path: "staff"},
	}
	if d := cmp.Diff(want, c.Tables.Access.Maps); d != "" {
		t.Errorf("tables.access (-want +got):\n%s", d)
	}
	if m := c.Tables.RelayDomains.Maps; len(m) != 1 || m[0] != (Map{Kind: "db", Path: dir + "/relay.db", Text: dir + "/relay"}) {
		t.Errorf("tables.relay_domains = %+v", m)
	}
	if c.Tables.OnUnavailable != "last" || c.Tables.MaxStale != time.Minute {
		t.Errorf("on_unavailable %q, max_stale %v", c.Tables.OnUnavailable, c.Tables.MaxStale)
	}
	if d, ok := c.Directory("staff"); !ok || d.URL != "ldaps://ldap.example.com" || d.Cluster != "mx" {
		t.Errorf("[[ldap]] = %+v, %v", d, ok)
	}
}
