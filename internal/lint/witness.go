package lint

import (
	"context"
	"net/netip"
	"strings"

	"gatepost/internal/config"
	"gatepost/maps"
	"gatepost/policy"
)

// Witness is a session by which an unauthenticated stranger relays to a stranger.
type Witness struct {
	Client            netip.Addr
	Resolve           policy.Resolve
	Name              string // reverse name; "" for none
	Helo              string
	Sender, Recipient string // without angle brackets; an empty sender is the null sender

	Rule   string      // what permitted it, a heading of docs/rules.md
	Source maps.Source // the entry that did; without file when none did
	DNS    []string    // what the DNS must say for it, as --dns takes it; nil: that makes no difference
}

// Facts is the session as the policy is asked about it, at each stage.
func (w *Witness) Facts() *policy.Facts {
	s := session{client: client{addr: w.Client, resolve: w.Resolve, name: w.Name}, sender: w.Sender, recipient: recipient{text: w.Recipient}}
	return s.facts(w.Helo)
}

// shown tells whether a policy accepts the session, by the rule and the entry.
func (w *Witness) shown(ctx context.Context, p *policy.Policy) bool {
	f := w.Facts()
	if !passes(ctx, p, policy.StageConnect, f) || !passes(ctx, p, policy.StageMail, f) {
		return false
	}
	d := p.Decide(ctx, policy.StageRcpt, f)
	defer d.Release()
	step, hit := permission(&d)
	return d.Verdict.Action == policy.Accept && step.Rule == w.Rule && hit.Source == w.Source
}

// Command is the command line that shows the acceptance, for a shell. config is
// the configuration file, "" for none.
func (w *Witness) Command(config string) string {
	args := []string{"gatepost", "explain"}
	if config != "" {
		args = append(args, "--config", config)
	}
	args = append(args, "--client", w.Client.String())
	if w.Name != "" {
		args = append(args, "--name", w.Name)
	}
	args = append(args, "--resolve", w.Resolve.String(), "--helo", w.Helo, "--from", "<"+w.Sender+">", "--to", "<"+w.Recipient+">")
	for _, fact := range w.DNS {
		args = append(args, "--dns", fact)
	}
	for i, a := range args {
		args[i] = shellQuoted(a)
	}
	return strings.Join(args, " ")
}

// shellQuoted writes a word so that a shell takes it as it is.
func shellQuoted(s string) string {
	plain := !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_./:,@+", r)
	})
	if plain && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Finding is the witness as a finding, at the entry that permits, or at the
// feature in the configuration file.
func (w *Witness) Finding(c *config.Config) Finding {
	at := w.Source
	switch {
	case w.Rule == "promiscuous_relay" || w.Rule == "relay_local_from" || w.Rule == "relay_based_on_MX":
		at = keySource(c, "features."+w.Rule)
	case w.Rule == "check_rcpt" || at.Line == 0 && c.UnixWare():
		at = keySource(c, "features.check_rcpt")
	case at.Line == 0:
		at = keySource(c, "features.relay_entire_domain")
	}
	text := "open relay: a stranger can send to strangers, by the rule \"" + w.Rule + "\""
	if w.DNS != nil {
		text += ", with what --dns says in the DNS"
	}
	return Finding{Source: at, Check: "open relay", Risk: "open_relay", Text: text}
}
