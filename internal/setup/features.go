package setup

import (
	"strconv"
	"strings"

	"gatepost/internal/config"
	"gatepost/policy"
)

// features are those of the configuration in the policy's terms.
func features(c *config.Config) policy.Features {
	f := &c.Features
	out := policy.Features{
		AccessSkip:                f.AccessSkip,
		LookupDotDomain:           f.AccessLookupDotDomain,
		RelayToFullAddress:        f.RelayToFullAddress,
		BlocklistRecipients:       f.BlocklistRecipients,
		RelayHostsOnly:            f.RelayHostsOnly,
		RelayEntireDomain:         f.RelayEntireDomain,
		RelayBasedOnMX:            f.RelayBasedOnMX,
		RelayLocalFrom:            f.RelayLocalFrom,
		RelayMailFrom:             f.RelayMailFrom,
		RelayMailFromDomain:       f.RelayMailFromDomain,
		PromiscuousRelay:          f.PromiscuousRelay,
		LooseRelayCheck:           f.LooseRelayCheck,
		CheckRcpt:                 checkRcpt(f.CheckRcpt),
		AcceptUnqualifiedSenders:  f.AcceptUnqualifiedSenders,
		AcceptUnresolvableDomains: f.AcceptUnresolvableDomains,
		NoCanonify:                f.NoCanonify,
		NoUUCP:                    special(f.NoUUCP),
		NoPercentHack:             special(f.NoPercentHack),
		TrustAuthMech:             f.TrustAuthMech,
		DelayChecks:               delayChecks(f.DelayChecks),
		NoSpamTags:                f.NoSpamTags,
		UseClientPtr:              f.UseClientPtr,
		RequireRDNS:               f.RequireRDNS,
		BlockBadHelo:              f.BlockBadHelo,
		BadMX:                     f.BadMX,
		CompatCheck:               f.CompatCheck,
		RateControl:               policy.Control(f.RateControl),
		ConnControl:               policy.Control(f.ConnControl),
		GreetPause:                f.GreetPause,
	}
	if f.GreetPauseTime > 0 {
		out.GreetPauseTime = strconv.Itoa(f.GreetPauseTime)
	}
	out.DNSListTimeout, out.DNSListThreshold, out.DNSListMessage = c.ListTimeout(), f.DNSBLThreshold, listMessage(f.DNSBLMessage)
	for _, l := range c.Lists() {
		out.DNSLists = append(out.DNSLists, dnsList(&l))
	}
	return out
}

func checkRcpt(word string) policy.CheckRcpt {
	switch word {
	case "unixware":
		return policy.CheckRcptUnixWare
	case "off":
		return policy.CheckRcptOff
	}
	return policy.CheckRcptSendmail
}

func special(argument string) policy.Special {
	switch argument {
	case "nospecial":
		return policy.SpecialOrdinary
	case "reject":
		return policy.SpecialReject
	}
	return policy.SpecialRoute
}

func delayChecks(argument string) policy.DelayChecks {
	switch argument {
	case "all":
		return policy.DelayAll
	case "friend":
		return policy.DelayFriend
	case "hater":
		return policy.DelayHater
	}
	return policy.DelayNone
}

// message puts a text that has no quotes of its own into the notation of .mc
// files, where only a quoted text keeps its blanks: what stands between macros is
// quoted.
func message(text string) string {
	if text == "" || strings.Contains(text, `"`) {
		return text
	}
	var b strings.Builder
	for rest := text; rest != ""; {
		literal, macro := rest, ""
		if i := strings.IndexByte(rest, '$'); i >= 0 {
			literal, macro = rest[:i], rest[i:]
		}
		if literal != "" {
			b.WriteString(`"` + literal + `" `)
		}
		end := macroEnd(macro)
		b.WriteString(macro[:end] + " ")
		rest = macro[end:]
	}
	return strings.TrimSpace(b.String())
}

// macroEnd is how long the macro at the beginning of s is: $&{name}, $&x, ${name} or $x.
func macroEnd(s string) int {
	if s == "" {
		return 0
	}
	i := 1
	if strings.HasPrefix(s[i:], "&") {
		i++
	}
	if strings.HasPrefix(s[i:], "{") {
		if n := strings.IndexByte(s[i:], '}'); n >= 0 {
			return i + n + 1
		}
		return len(s)
	}
	return min(i+1, len(s))
}
