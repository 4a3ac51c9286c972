package main

import (
	"fmt"
	"slices"
	"strings"
)

// configDir is where sendmail, in its root, finds the files of the policy.
const configDir = "/gatepost/"

// writeMC is the sendmail.mc of a policy: stock rule sets, nothing of our own
// but file names. The local mailer takes every user (no flag w), so that what
// RCPT answers is policy alone.
func writeMC(p *Policy) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"dnl\n", args...) }
	b.WriteString("divert(-1)\n")
	line("define(`MAIL_SETTINGS_DIR', `%s')", configDir)
	line("divert(0)OSTYPE(`linux')")
	line("define(`confDONT_PROBE_INTERFACES', `True')")
	line("define(`ALIAS_FILE', `%saliases')", configDir)
	line("define(`confTO_IDENT', `0')")
	line("define(`confREFUSE_LA', `10000')") // however busy this machine is
	line("define(`confQUEUE_LA', `10000')")
	line("define(`confPID_FILE', `%ssendmail.pid')", configDir)
	line("define(`QUEUE_DIR', `%smqueue')", configDir)
	line("define(`STATUS_FILE', `%sstatistics')", configDir)
	line("DAEMON_OPTIONS(`Name=v4, Family=inet, Addr=127.0.0.1, Port=25')")
	line("DAEMON_OPTIONS(`Name=v6, Family=inet6, Addr=::1, Port=25')")
	if len(p.TrustAuth) > 0 {
		line("TRUST_AUTH_MECH(`%s')", strings.Join(p.TrustAuth, " "))
	}
	line("FEATURE(`use_cw_file')")
	line("FEATURE(`no_default_msa')")
	for _, f := range p.Features {
		line("FEATURE(%s)", strings.Join(featureArguments(f), ", "))
	}
	line("MODIFY_MAILER_FLAGS(`LOCAL', `-w')")
	line("MAILER(`local')")
	line("MAILER(`smtp')")
	if len(p.OwnDomains) > 0 {
		b.WriteString("LOCAL_CONFIG\nCm " + strings.Join(p.OwnDomains, " ") + "\n")
	}
	b.WriteString(localRulesets(p))
	return b.String()
}

// localRulesets are rule sets by which test mode can call those of two arguments:
// it takes no $| in what is typed.
func localRulesets(p *Policy) string {
	var b strings.Builder
	add := func(wanted bool, name, ruleset, first, second string) {
		if wanted {
			fmt.Fprintf(&b, "S%s\nR$*\t$: $>%s $&{%s} $| $&{%s}\n", name, ruleset, first, second)
		}
	}
	add(checksAtOnce(p), callRelay, "check_relay", "client_name", "client_addr")
	add(p.has("greet_pause"), callPause, "greet_pause", "client_ptr", "client_addr")
	add(p.has("compat_check"), callCompat, "check_compat", "try_sender", "try_recipient")
	if b.Len() == 0 {
		return ""
	}
	return "LOCAL_RULESETS\n" + b.String()
}

// Names of the rule sets that stand for those of two arguments.
const (
	callRelay  = "try_relay"
	callPause  = "try_pause"
	callCompat = "try_compat"
)

func featureArguments(f Feature) []string {
	args := []string{f.Name}
	if f.Name == "access_db" && len(f.Arguments) > 0 {
		args = append(args, "") // the default map
	}
	args = append(args, f.Arguments...)
	for i, a := range args {
		args[i] = "`" + a + "'"
	}
	return args
}

// checksAtOnce says whether sendmail has a rule set check_relay to call at
// connection: with delay_checks there is one only for the controls that do not wait.
func checksAtOnce(p *Policy) bool {
	if !p.has("delay_checks") {
		return true
	}
	return slices.ContainsFunc(p.Features, func(f Feature) bool {
		return (f.Name == "ratecontrol" || f.Name == "conncontrol") && len(f.Arguments) > 0 && strings.EqualFold(f.Arguments[0], "nodelay")
	})
}

// tables are the files of a policy by their names in configDir.
func tables(p *Policy) map[string]string {
	return map[string]string{
		"sendmail.mc":      writeMC(p),
		"access":           p.Access,
		"relay-domains":    lines(p.Relay),
		"local-host-names": lines(p.LocalHosts),
		"aliases":          "",
	}
}

func lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return strings.Join(list, "\n") + "\n"
}
