package setup

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"gatepost/internal/config"
	"gatepost/policy"
	"gatepost/policy/dnsbl"
)

// dnsList is a DNS list of the configuration in the policy's terms.
func dnsList(l *config.DNSList) policy.DNSList {
	out := policy.DNSList{
		Zone: l.Zone, Enhanced: l.Enhanced, Message: listMessage(l.Message), Temporary: listMessage(l.Temporary), Results: results(l.Results),
	}
	if l.Table != nil {
		out.Table = listTable(l.Table)
	}
	return out
}

func listTable(t *config.ListTable) *policy.ListTable {
	out := &policy.ListTable{
		Lookup: listLookup(t.Lookup), Scored: t.Scored(), Allow: t.Allow, Reason: t.Reason,
		IPv4Only: !t.IPv6, Key: dnsbl.Key(t.Key), Trusted: !t.Health,
	}
	for _, r := range t.Results {
		out.Filters = append(out.Filters, dnsbl.Filter{First: r.First, Last: r.Last, Mask: r.Mask, Weight: t.WeightOf(&r)})
	}
	if len(out.Filters) == 0 {
		out.Filters = []dnsbl.Filter{dnsbl.Everything(t.Weight)}
	}
	return out
}

func listLookup(word string) policy.ListLookup {
	switch word {
	case "client_name":
		return policy.LookupClientName
	case "sender":
		return policy.LookupSender
	case "helo":
		return policy.LookupHelo
	}
	return policy.LookupAddress
}

// listMessage leaves the words that are no text.
func listMessage(text string) string {
	if text == "quarantine" || text == "discard" || text == "t" {
		return text
	}
	return message(text)
}

// results are the answers that count, with the final dot that sendmail's map gives them.
func results(list []string) []string {
	var out []string
	for _, r := range list {
		if !strings.HasSuffix(r, ".") && !strings.HasSuffix(r, "$*") && !strings.HasSuffix(r, "$+") {
			r += "."
		}
		out = append(out, r)
	}
	return out
}

// watchLists takes the zones of the configuration, with what is known of those
// that the old one had too.
func (s *state) watchLists(old *state) {
	var zones []dnsbl.Zone
	for _, l := range s.cfg.Lists() {
		p := dnsList(&l)
		zones = append(zones, p.DNSZone())
	}
	var known *dnsbl.Set
	if old != nil {
		known = old.lists
	}
	s.lists = dnsbl.NewSet(zones, known)
}

// lookAfterLists keeps an eye on the DNS lists until ctx ends.
func (e *Engine) lookAfterLists(ctx context.Context) {
	s := e.current.Load()
	s.lists.Run(ctx, s.resolver, e.log)
}

// keyHider is a log without the keys of DNS lists: the resolver, which knows of no
// keys, logs the names that it asks for.
type keyHider struct {
	slog.Handler
	keys []dnsbl.Key
}

// hideKeys makes a log that shows none of the configuration's keys.
func hideKeys(log *slog.Logger, cfg *config.Config) *slog.Logger {
	keys := listKeys(cfg)
	if keys == nil {
		return log
	}
	return slog.New(&keyHider{log.Handler(), keys})
}

func listKeys(cfg *config.Config) (keys []dnsbl.Key) {
	for _, l := range cfg.DNSLists {
		if l.Table != nil && l.Table.Key != "" {
			keys = append(keys, dnsbl.Key(l.Table.Key))
		}
	}
	return keys
}

// sameKeys tells whether a resolver made for one configuration hides the keys of
// the other.
func sameKeys(a, b *config.Config) bool { return slices.Equal(listKeys(a), listKeys(b)) }

// Handle implements slog.Handler.
func (h *keyHider) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.hide(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		text := a.Value.Resolve().String()
		if hidden := h.hide(text); hidden != text {
			a.Value = slog.StringValue(hidden)
		}
		clean.AddAttrs(a)
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h *keyHider) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &keyHider{h.Handler.WithAttrs(attrs), h.keys}
}

// WithGroup implements slog.Handler.
func (h *keyHider) WithGroup(name string) slog.Handler {
	return &keyHider{h.Handler.WithGroup(name), h.keys}
}

func (h *keyHider) hide(text string) string {
	for _, k := range h.keys {
		text = k.Hide(text)
	}
	return text
}
