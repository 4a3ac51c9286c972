package config

import (
	"slices"
	"strings"
)

// form is how the argument of a feature is written.
type form uint8

const (
	formFlag  form = iota // true or false
	formWord              // one of words, or false
	formWords             // true, false, or a list of words
	formNames             // a list of names of the administrator's choosing
)

// feature is one FEATURE() of sendmail's cf/README.
type feature struct {
	name  string
	form  form
	words []string
	set   func(f *Features, words []string) // what it switches on; nil: not acted on by this version
	hint  string                            // for a feature without set: what to do about it
	read  func(f *Features, v value)        // for arguments of a form of its own
}

// allFeatures is the one place that knows the features, under their names in
// cf/README. Those without set are known but refused, because a configuration
// that asks for them must not run without them.
func allFeatures() []feature {
	return slices.Concat(accessFeatures(), relayFeatures(), clientFeatures(), listFeatures(), otherFeatures(), masqueradeFeatures(), laterFeatures())
}

// flag is a feature without arguments.
func flag(name string, at func(*Features) *bool) feature {
	return feature{name: name, set: func(f *Features, _ []string) { *at(f) = true }}
}

func accessFeatures() []feature {
	return []feature{
		{name: "access_db", form: formWords, words: []string{"skip", "lookupdotdomain", "relaytofulladdress"},
			set: func(f *Features, words []string) {
				f.AccessSkip = slices.Contains(words, "skip")
				f.AccessLookupDotDomain = f.AccessLookupDotDomain || slices.Contains(words, "lookupdotdomain")
				f.RelayToFullAddress = slices.Contains(words, "relaytofulladdress")
			}},
		flag("lookupdotdomain", func(f *Features) *bool { return &f.AccessLookupDotDomain }),
		flag("blocklist_recipients", func(f *Features) *bool { return &f.BlocklistRecipients }),
		flag("blacklist_recipients", func(f *Features) *bool { return &f.BlocklistRecipients }), // its name before 8.17
	}
}

func relayFeatures() []feature {
	return []feature{
		flag("relay_hosts_only", func(f *Features) *bool { return &f.RelayHostsOnly }),
		flag("relay_entire_domain", func(f *Features) *bool { return &f.RelayEntireDomain }),
		flag("promiscuous_relay", func(f *Features) *bool { return &f.PromiscuousRelay }),
		{name: "check_rcpt", read: readCheckRcpt},
		flag("loose_relay_check", func(f *Features) *bool { return &f.LooseRelayCheck }),
		flag("relay_local_from", func(f *Features) *bool { return &f.RelayLocalFrom }),
		flag("relay_based_on_MX", func(f *Features) *bool { return &f.RelayBasedOnMX }),
		{name: "relay_mail_from", form: formWords, words: []string{"domain"}, set: func(f *Features, words []string) {
			f.RelayMailFrom = true
			f.RelayMailFromDomain = slices.Contains(words, "domain")
		}},
		// TRUST_AUTH_MECH() is a macro of its own in cf/README.
		{name: "trust_auth_mech", form: formNames, set: func(f *Features, words []string) { f.TrustAuthMech = words }},
	}
}

// readCheckRcpt reads who checks relaying. It is no FEATURE of sendmail's but a
// macro of UnixWare's sendmail.cf.
func readCheckRcpt(f *Features, v value) {
	if s, ok := v.oneOf("sendmail", "unixware", "off"); ok {
		f.CheckRcpt = s
	}
}

// clientFeatures are about the connection, and about when it is judged.
func clientFeatures() []feature {
	control := func(name string, at func(*Features) *Control) feature {
		return feature{name: name, form: formWords, words: []string{"nodelay", "terminate"}, set: func(f *Features, words []string) {
			*at(f) = Control{On: true, NoDelay: slices.Contains(words, "nodelay"), Terminate: slices.Contains(words, "terminate")}
		}}
	}
	return []feature{
		flag("use_client_ptr", func(f *Features) *bool { return &f.UseClientPtr }),
		flag("require_rdns", func(f *Features) *bool { return &f.RequireRDNS }),
		flag("block_bad_helo", func(f *Features) *bool { return &f.BlockBadHelo }),
		flag("badmx", func(f *Features) *bool { return &f.BadMX }),
		flag("compat_check", func(f *Features) *bool { return &f.CompatCheck }),
		control("ratecontrol", func(f *Features) *Control { return &f.RateControl }),
		control("conncontrol", func(f *Features) *Control { return &f.ConnControl }),
		{name: "delay_checks", read: readDelayChecks},
		{name: "greet_pause", read: readGreetPause},
		{name: "dnsbl", read: func(f *Features, v value) { f.DNSBL = readFeatureLists(v, false) }},
		{name: "enhdnsbl", read: func(f *Features, v value) { f.EnhDNSBL = readFeatureLists(v, true) }},
	}
}

// readDelayChecks reads true, "friend", "hater", or a list of that word and the
// second argument, which turns the compatibility with sendmail 8.10 off.
func readDelayChecks(f *Features, v value) {
	if on, isBool := v.v.(bool); isBool {
		if on {
			f.DelayChecks = "all"
		}
		return
	}
	if l, isList := v.v.([]any); isList && len(l) == 2 {
		f.NoSpamTags = true
		if v = v.elements(l)[0]; v.v == "" {
			f.DelayChecks = "all"
			return
		}
	}
	if s, ok := v.v.(string); ok && (s == "friend" || s == "hater") {
		f.DelayChecks = s
		return
	}
	v.wrong("expected true, false, \"friend\" or \"hater\"")
}

// readGreetPause reads true (the access table alone says how long) or milliseconds.
func readGreetPause(f *Features, v value) {
	if on, isBool := v.v.(bool); isBool {
		f.GreetPause = on
		return
	}
	if n, ok := v.integer(0, 300_000); ok {
		f.GreetPause, f.GreetPauseTime = true, n
	}
}

func otherFeatures() []feature {
	return []feature{
		flag("accept_unqualified_senders", func(f *Features) *bool { return &f.AcceptUnqualifiedSenders }),
		flag("accept_unresolvable_domains", func(f *Features) *bool { return &f.AcceptUnresolvableDomains }),
		flag("nocanonify", func(f *Features) *bool { return &f.NoCanonify }),
		{name: "nouucp", form: formWord, words: []string{"reject", "nospecial"},
			set: func(f *Features, words []string) { f.NoUUCP = words[0] }},
		{name: "nopercenthack", form: formWord, words: []string{"reject", "nospecial"},
			set: func(f *Features, words []string) { f.NoPercentHack = words[0] }},
	}
}

// laterFeatures have a meaning for Gatepost that this version does not have yet.
func laterFeatures() []feature {
	later := []feature{
		{name: "rbl", hint: "sendmail no longer has it: write dnsbl = \"ZONE\" instead, with the zone of a list that still exists"},
		{name: "mailertable", hint: "name the file as relay.mailertable instead"},
		{name: "use_cw_file", hint: "name the file as tables.local_host_names instead"},
	}
	for name := range strings.FieldsSeq(`
		mtamark
		domaintable virtusertable ldap_routing bestmx_is_local nullclient
		tls_session_features sts check_cert_altnames`) {
		later = append(later, feature{name: name})
	}
	return later
}

func featureKeys() []key {
	all := allFeatures()
	keys := make([]key, len(all))
	for i, f := range all {
		keys[i] = key{f.name, func(c *Config, v value) { readFeature(c, f, v) }}
	}
	return keys
}

func readFeature(c *Config, f feature, v value) {
	if f.read != nil {
		f.read(&c.Features, v)
		return
	}
	if f.set == nil {
		if f.hint != "" {
			v.r.fault(v.path, "%s is not supported: %s", v.path, f.hint)
		} else if v.v != false { // off is what this version does
			v.r.fault(v.path, "%s is not supported by this version", v.path)
		}
		return
	}
	on, words, ok := f.argument(v)
	switch {
	case !ok:
	case on:
		f.set(&c.Features, words)
	case f.name == "access_db":
		c.Features.AccessDB = false
	}
}

// argument reads the argument of a feature; on is false for "= false".
func (f feature) argument(v value) (on bool, words []string, ok bool) {
	b, isBool := v.v.(bool)
	l, isList := v.v.([]any)
	switch {
	case isBool && (!b || f.form == formFlag || f.form == formWords):
		return b, nil, true
	case f.form == formFlag:
		v.wrong("expected true or false")
	case f.form == formWord:
		w, ok := v.oneOf(f.words...)
		return ok, []string{w}, ok
	case !isList || len(l) == 0:
		v.wrong("expected %s", f.expected())
	default:
		words, ok = f.arguments(v.elements(l))
		return ok, words, ok
	}
	return false, nil, false
}

// arguments reads the elements of a list of words.
func (f feature) arguments(list []value) (words []string, ok bool) {
	ok = true
	for _, e := range list {
		w, isText := e.v.(string)
		if f.form == formNames && isText && mechanism(w) {
			words = append(words, w)
		} else if f.form == formWords && isText && slices.Contains(f.words, w) {
			words = append(words, w)
		} else {
			ok = false
			e.wrong("expected %s", f.expectedWord())
		}
	}
	return words, ok
}

func (f feature) expected() string {
	if f.form == formNames {
		return `a list of SASL mechanisms such as ["PLAIN", "LOGIN"]`
	}
	return `true, false or a list such as ["` + f.words[0] + `"]`
}

func (f feature) expectedWord() string {
	if f.form == formNames {
		return `the name of a SASL mechanism such as "PLAIN"`
	}
	hint := ""
	if f.name == "access_db" {
		hint = " (the file is named by tables.access)"
	}
	return quoted(f.words) + hint
}

// mechanism tells whether w can be a SASL mechanism name (RFC 4422, 3.1), in any case.
func mechanism(w string) bool {
	return len(w) >= 1 && len(w) <= 20 && !strings.ContainsFunc(w, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
