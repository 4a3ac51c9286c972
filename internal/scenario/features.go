package scenario

import (
	"fmt"
	"slices"
	"strings"

	"gatepost/policy"
)

// featureReader sets what a FEATURE() with its arguments means.
type featureReader func(f *policy.Features, args []string) error

// recordedFeatures reads FEATURE()s as they stand in a .mc file, in their order.
func recordedFeatures(list []recordFeature) (f policy.Features, hasAccess bool, err error) {
	known := featureReaders()
	for _, one := range list {
		read, ok := known[one.Name]
		if !ok {
			return f, false, fmt.Errorf("unknown feature %q, expected one of sendmail's cf/README that bears on relaying", one.Name)
		}
		if err := read(&f, one.Arguments); err != nil {
			return f, false, fmt.Errorf("feature %s: %w", one.Name, err)
		}
		hasAccess = hasAccess || one.Name == "access_db"
	}
	return f, hasAccess, nil
}

func featureReaders() map[string]featureReader {
	return map[string]featureReader{
		"access_db":                   accessDB,
		"lookupdotdomain":             on(func(f *policy.Features) *bool { return &f.LookupDotDomain }),
		"blocklist_recipients":        on(func(f *policy.Features) *bool { return &f.BlocklistRecipients }),
		"blacklist_recipients":        on(func(f *policy.Features) *bool { return &f.BlocklistRecipients }),
		"relay_hosts_only":            on(func(f *policy.Features) *bool { return &f.RelayHostsOnly }),
		"relay_entire_domain":         on(func(f *policy.Features) *bool { return &f.RelayEntireDomain }),
		"relay_based_on_MX":           on(func(f *policy.Features) *bool { return &f.RelayBasedOnMX }),
		"relay_local_from":            on(func(f *policy.Features) *bool { return &f.RelayLocalFrom }),
		"promiscuous_relay":           on(func(f *policy.Features) *bool { return &f.PromiscuousRelay }),
		"loose_relay_check":           on(func(f *policy.Features) *bool { return &f.LooseRelayCheck }),
		"accept_unqualified_senders":  on(func(f *policy.Features) *bool { return &f.AcceptUnqualifiedSenders }),
		"accept_unresolvable_domains": on(func(f *policy.Features) *bool { return &f.AcceptUnresolvableDomains }),
		"nocanonify":                  on(func(f *policy.Features) *bool { return &f.NoCanonify }),
		"use_client_ptr":              on(func(f *policy.Features) *bool { return &f.UseClientPtr }),
		"require_rdns":                on(func(f *policy.Features) *bool { return &f.RequireRDNS }),
		"block_bad_helo":              on(func(f *policy.Features) *bool { return &f.BlockBadHelo }),
		"badmx":                       on(func(f *policy.Features) *bool { return &f.BadMX }),
		"compat_check":                on(func(f *policy.Features) *bool { return &f.CompatCheck }),
		"relay_mail_from":             relayMailFrom,
		"nouucp":                      special(func(f *policy.Features) *policy.Special { return &f.NoUUCP }),
		"nopercenthack":               special(func(f *policy.Features) *policy.Special { return &f.NoPercentHack }),
		"delay_checks":                delayChecks,
		"ratecontrol":                 control(func(f *policy.Features) *policy.Control { return &f.RateControl }),
		"conncontrol":                 control(func(f *policy.Features) *policy.Control { return &f.ConnControl }),
		"greet_pause":                 greetPause,
		"dnsbl":                       dnsList(false),
		"enhdnsbl":                    dnsList(true),
	}
}

// on is a feature without arguments that matter.
func on(at func(*policy.Features) *bool) featureReader {
	return func(f *policy.Features, _ []string) error { *at(f) = true; return nil }
}

// words checks arguments that are words of a fixed set, or empty.
func words(args []string, known ...string) error {
	for _, a := range args {
		if a != "" && !slices.Contains(known, a) {
			return fmt.Errorf("argument %q, expected %s", a, strings.Join(known, " or "))
		}
	}
	return nil
}

func accessDB(f *policy.Features, args []string) error {
	f.AccessSkip = slices.Contains(args, "skip")
	f.LookupDotDomain = f.LookupDotDomain || slices.Contains(args, "lookupdotdomain")
	f.RelayToFullAddress = slices.Contains(args, "relaytofulladdress")
	return words(args, "skip", "lookupdotdomain", "relaytofulladdress")
}

func relayMailFrom(f *policy.Features, args []string) error {
	f.RelayMailFrom = true
	f.RelayMailFromDomain = slices.Contains(args, "domain")
	return words(args, "domain")
}

func special(at func(*policy.Features) *policy.Special) featureReader {
	return func(f *policy.Features, args []string) error {
		*at(f) = policy.SpecialOrdinary
		if slices.Contains(args, "reject") {
			*at(f) = policy.SpecialReject
		}
		return words(args, "reject", "nospecial")
	}
}

// delayChecks: as in delay_checks.m4 the first letter tells, and any second
// argument switches the old tags off.
func delayChecks(f *policy.Features, args []string) error {
	f.DelayChecks = policy.DelayAll
	f.NoSpamTags = len(args) > 1
	if len(args) == 0 || args[0] == "" {
		return nil
	}
	switch args[0][0] {
	case 'f', 'F':
		f.DelayChecks = policy.DelayFriend
	case 'h', 'H':
		f.DelayChecks = policy.DelayHater
	default:
		return fmt.Errorf("argument %q, expected friend or hater", args[0])
	}
	return nil
}

func control(at func(*policy.Features) *policy.Control) featureReader {
	return func(f *policy.Features, args []string) error {
		*at(f) = policy.Control{On: true, NoDelay: slices.Contains(args, "nodelay"), Terminate: slices.Contains(args, "terminate")}
		return words(args, "nodelay", "terminate")
	}
}

func greetPause(f *policy.Features, args []string) error {
	f.GreetPause = true
	f.GreetPauseTime = strings.Join(args, "")
	return nil
}

func dnsList(enhanced bool) featureReader {
	return func(f *policy.Features, args []string) error {
		l := policy.DNSList{Enhanced: enhanced}
		for i, at := range []*string{&l.Zone, &l.Message, &l.Temporary} {
			if i < len(args) {
				*at = args[i]
			}
		}
		if len(args) > 3 {
			l.Results = args[3:]
		}
		if l.Zone == "" {
			return fmt.Errorf("no zone, expected it as the first argument")
		}
		f.DNSLists = append(f.DNSLists, l)
		return nil
	}
}
