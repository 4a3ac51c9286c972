package policy

import (
	"errors"
	"time"

	"gatepost/policy/dnsbl"
)

// Features are the options of cf/README that change what is decided, under the
// names of the FEATUREs. The zero value is sendmail without any.
type Features struct {
	AccessSkip                bool // access_db argument skip
	LookupDotDomain           bool // lookupdotdomain, or access_db argument lookupdotdomain
	RelayToFullAddress        bool // access_db argument relaytofulladdress
	BlocklistRecipients       bool // blocklist_recipients
	RelayHostsOnly            bool // relay_hosts_only
	RelayEntireDomain         bool // relay_entire_domain
	RelayBasedOnMX            bool // relay_based_on_MX
	RelayLocalFrom            bool // relay_local_from
	RelayMailFrom             bool // relay_mail_from
	RelayMailFromDomain       bool // relay_mail_from argument domain
	PromiscuousRelay          bool // promiscuous_relay
	LooseRelayCheck           bool // loose_relay_check
	CheckRcpt                 CheckRcpt
	AcceptUnqualifiedSenders  bool     // accept_unqualified_senders
	AcceptUnresolvableDomains bool     // accept_unresolvable_domains
	NoCanonify                bool     // nocanonify
	NoUUCP                    Special  // nouucp
	NoPercentHack             Special  // nopercenthack
	TrustAuthMech             []string // TRUST_AUTH_MECH: mechanisms that may relay

	DelayChecks    DelayChecks // delay_checks
	NoSpamTags     bool        // delay_checks with a second argument: SPAMFRIEND and SPAMHATER are error texts
	UseClientPtr   bool        // use_client_ptr
	RequireRDNS    bool        // require_rdns
	BlockBadHelo   bool        // block_bad_helo
	BadMX          bool        // badmx
	CompatCheck    bool        // compat_check
	RateControl    Control     // ratecontrol
	ConnControl    Control     // conncontrol
	GreetPause     bool        // greet_pause
	GreetPauseTime string      // its argument, milliseconds; "" without
	DNSLists       []DNSList   // dnsbl and enhdnsbl, and tables [[dnsbl]], in their order

	DNSListTimeout   time.Duration // for all lists of a decision together, which are then asked side by side; 0: one after the other, no limit
	DNSListThreshold int           // the sum of weights that refuses
	DNSListMessage   string        // what it is refused with, as DNSList.Message; "" the usual text
}

// Special is what nouucp and nopercenthack make of ! and % in a local part.
type Special uint8

// The arguments of FEATURE(nouucp) and FEATURE(nopercenthack).
const (
	SpecialRoute    Special = iota // feature not used: the character routes
	SpecialOrdinary                // argument nospecial: an ordinary character
	SpecialReject                  // argument reject: the recipient is remote, whatever its domain
)

// CheckRcpt says who decides at RCPT about relaying. It is an option of ours: the
// macro Check_Rcpt of UnixWare's sendmail.cf.
type CheckRcpt uint8

// The relay checks.
const (
	CheckRcptSendmail CheckRcpt = iota // rule set check_rcpt
	CheckRcptUnixWare                  // the six steps of UnixWare and OpenServer
	CheckRcptOff                       // none: everybody may relay
)

// DelayChecks is FEATURE(delay_checks) with its argument.
type DelayChecks uint8

// The forms of FEATURE(delay_checks).
const (
	DelayNone   DelayChecks = iota // feature not used
	DelayAll                       // without argument
	DelayFriend                    // argument friend: recipients with Spam: FRIEND skip the checks
	DelayHater                     // argument hater: only those with Spam: HATER are checked
)

// Control is FEATURE(ratecontrol) or FEATURE(conncontrol) with its arguments.
type Control struct {
	On        bool
	NoDelay   bool // asked at connection also with delay_checks
	Terminate bool // 421 instead of 452
}

// DNSList is FEATURE(dnsbl) or FEATURE(enhdnsbl) with its arguments.
type DNSList struct {
	Zone      string
	Enhanced  bool     // enhdnsbl: the first address of the answer is compared with Results
	Message   string   // as in the .mc file: quoted texts and $&{macros}, or quarantine, or discard; "" for the usual text
	Temporary string   // what a failed lookup is: "" ignored, "t" the usual text, else the text
	Results   []string // enhdnsbl: addresses with final dot that count as listed; none: any
	Table     *ListTable
}

// ListTable is what a table [[dnsbl]] has beyond the FEATUREs.
type ListTable struct {
	Lookup   ListLookup
	Filters  []dnsbl.Filter // answers that count as listed, with their weights; at least one
	Scored   bool           // it does not refuse by itself; its weight is added to those of the others
	Allow    bool           // a list of good clients, for whom no list counts
	Reason   bool           // the reply has what the list says of its entry
	IPv4Only bool           // not asked about IPv6 clients
	Key      dnsbl.Key      // a subscriber's, before the zone
	Trusted  bool           // it is asked whatever it answers
}

// ListLookup is what a list is asked about.
type ListLookup uint8

// The things to look up in a list. The client's name is the verified one.
const (
	LookupAddress ListLookup = iota
	LookupClientName
	LookupSender // the domain of the sender
	LookupHelo
)

func (l ListLookup) domain() bool { return l != LookupAddress }

// Messages replace texts of sendmail, as in the .mc file: quoted texts and
// $&{macros}. "" stands for the usual text.
type Messages struct {
	Reject  string // confREJECT_MSG: REJECT at connection and MAIL
	RcptRej string // confRCPTREJ_MSG: REJECT at RCPT
	Relay   string // confRELAY_MSG: relaying denied
}

// check finds combinations that sendmail's configuration refuses.
func (f *Features) check() error {
	if (f.RateControl.NoDelay || f.ConnControl.NoDelay) && f.DelayChecks == DelayNone {
		return errors.New("ratecontrol and conncontrol with the argument nodelay need delay_checks")
	}
	if f.PromiscuousRelay && f.CheckRcpt == CheckRcptUnixWare {
		return errors.New("promiscuous_relay together with the relay check of UnixWare")
	}
	for _, l := range f.DNSLists {
		if l.Zone == "" {
			return errors.New("a DNS list without a zone")
		}
		if l.Table != nil && len(l.Table.Filters) == 0 {
			return errors.New("a table of a DNS list without filters")
		}
	}
	return nil
}
