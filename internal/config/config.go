package config

import (
	"io/fs"
	"net/netip"
	"time"
)

// DefaultFile is the file that the programs read when none is named.
const DefaultFile = "/etc/gatepost/gatepost.toml"

// Config is everything that gatepost.toml can say, checked.
type Config struct {
	File                string // where it was read from; "" for Default
	HostName            string // $j; "" means that the host is asked
	DontProbeInterfaces bool   // sendmail's DontProbeInterfaces: interface names and addresses are not in class w
	Tables              Tables
	Features            Features
	Messages            Messages
	Milter              Milter
	Relay               Relay
	Listeners           []Listener // the tables [[listener]]; see AllListeners
	DNS                 DNS
	Admin               Admin
	Log                 Log
	DNSLists            []DNSList // the tables [[dnsbl]]; see Lists
	LDAP                []LDAP    // the tables [[ldap]]; see Directory
	OAuth2              []OAuth2  // the tables [[oauth2]]
	AcceptRisk          []string  // findings of gatepost check that are wanted; see Risks
}

// Features are sendmail's FEATURE()s that this version acts on.
type Features struct {
	AccessDB                  bool // off only by access_db = false
	AccessSkip                bool // access_db = ["skip"]
	AccessLookupDotDomain     bool // lookupdotdomain, or as argument of access_db
	RelayToFullAddress        bool // access_db = ["relaytofulladdress"]
	BlocklistRecipients       bool
	RelayHostsOnly            bool
	RelayEntireDomain         bool
	PromiscuousRelay          bool
	CheckRcpt                 string // "" or "sendmail", "unixware" or "off"
	LooseRelayCheck           bool
	AcceptUnqualifiedSenders  bool
	AcceptUnresolvableDomains bool
	NoCanonify                bool
	RelayLocalFrom            bool
	RelayMailFrom             bool
	RelayMailFromDomain       bool // relay_mail_from = ["domain"]
	RelayBasedOnMX            bool
	NoUUCP                    string // "", "reject" or "nospecial"
	NoPercentHack             string // "", "reject" or "nospecial"
	TrustAuthMech             []string

	DelayChecks    string // "", "all", "friend" or "hater"
	NoSpamTags     bool   // delay_checks with a second argument
	UseClientPtr   bool
	RequireRDNS    bool
	BlockBadHelo   bool
	BadMX          bool
	CompatCheck    bool
	RateControl    Control
	ConnControl    Control
	GreetPause     bool
	GreetPauseTime int // milliseconds; 0 without
	DNSBL          []DNSList
	EnhDNSBL       []DNSList

	MasqueradeFeatures

	DNSBLTimeout   time.Duration // for all DNS lists of a decision together; 0 the default, see ListTimeout
	DNSBLThreshold int           // the sum of weights that refuses; 0 without
	DNSBLMessage   string        // what it refuses with; "" the usual text
}

// Control is ratecontrol or conncontrol.
type Control struct {
	On, NoDelay, Terminate bool
}

// Messages replace sendmail's texts; "" leaves them.
type Messages struct {
	Reject  string // confREJECT_MSG
	Relay   string // confRELAY_MSG
	RcptRej string // confRCPTREJ_MSG
}

// Milter is the milter front.
type Milter struct {
	Listen         []string // sendmail's socket syntax: inet:PORT@ADDRESS, inet6:PORT@ADDRESS, unix:/PATH, local:/PATH
	Timeout        time.Duration
	MaxConnections int
	SocketOwner    string      // of unix: sockets; "" leaves it alone
	SocketGroup    string      // of unix: sockets; "" leaves it alone
	SocketMode     fs.FileMode // of unix: sockets
}

// DNS is the resolver. What is zero or nil the file does not say: then the options
// of /etc/resolv.conf hold if its servers do, and else the resolver's defaults.
type DNS struct {
	Servers    []string // ADDRESS:PORT; none: those of /etc/resolv.conf
	Timeout    time.Duration
	Attempts   int
	Rotate     *bool
	TCP        *bool
	CacheSize  int           // answers
	ServeStale time.Duration // 0: no answer is used past its end
	TrustAD    []netip.Addr  // servers whose AD bit is believed, beside those on this host
}

// Admin is the listener for metrics and readiness.
type Admin struct {
	Listen string // loopback ADDRESS:PORT, or unix:/PATH; "" for none
}

// Log says what is logged, how, and where to.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // text, json
	Output string // stderr, syslog
}

// UnixWare tells whether relaying is checked in the six steps of UnixWare.
func (c *Config) UnixWare() bool { return c.Features.CheckRcpt == "unixware" }

// UsesTrusted tells whether the trusted table is read. sendmail's relay check has
// it only when it is named: what an old file permits must not come back unasked.
func (c *Config) UsesTrusted() bool { return c.UnixWare() || c.Tables.Trusted.Named }

// Default is what holds without a configuration file, and for every key that a
// file does not have: stock sendmail behaviour over the files under /etc/mail
// that exist.
func Default() *Config {
	return &Config{
		Tables: Tables{
			Access:         Table{Maps: []Map{{Kind: kindText, Path: "/etc/mail/access", Database: "/etc/mail/access.db"}}},
			RelayDomains:   defaultTable("/etc/mail/relay-domains"),
			LocalHostNames: defaultTable("/etc/mail/local-host-names"),
			Trusted:        Table{Maps: []Map{{Kind: kindText, Path: "/etc/mail/table/trusted", Database: "/etc/mail/table/trusted.db"}}},
			GenericsTable:  Table{Maps: []Map{{Kind: kindText, Path: "/etc/mail/genericstable", Database: "/etc/mail/genericstable.db"}}},
			OnUnavailable:  "tempfail",
			MaxStale:       10 * time.Second,
		},
		Features: Features{AccessDB: true},
		Milter: Milter{
			Listen:         []string{"inet:8891@127.0.0.1"},
			Timeout:        8 * time.Second,
			MaxConnections: 4000,
			SocketMode:     0o660,
		},
		Relay: defaultRelay(),
		DNS:   DNS{CacheSize: 10000},
		Log:   Log{Level: "info", Format: "text", Output: "stderr"},
	}
}
