package setup

import (
	"context"
	"strings"
	"testing"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/smtp"
	"gatepost/relay/rewrite"
)

// masquerade makes a place where addresses are rewritten.
func masquerade(t *testing.T) *place {
	p := newPlace(t)
	p.write("genericstable", "joe@example.com\tjoe.smith@public.example\n")
	p.write("domains", "# ours\nlan.example\n")
	p.cfg.Tables.GenericsTable = textTable(p.path("genericstable"))
	p.cfg.Features.GenericsTable = true
	m := &p.cfg.Relay.Masquerade
	m.MasqueradeAs = "public.example"
	m.MasqueradeDomain = config.Class{Words: []string{"corp.example"}, File: textTable(p.path("domains"))}
	m.GenericsDomain = config.Class{Words: []string{"example.com"}}
	m.ExposedUser = config.Class{Words: []string{"root"}}
	p.cfg.Relay.SmartHost = config.SmartHost{Hosts: "[smtp.isp.example]:587", Hops: []smtp.NextHop{{Host: "smtp.isp.example", Port: 587}}}
	return p
}

func from(t *testing.T, e *Engine, address string) string {
	t.Helper()
	r, err := e.Rewriter().Address(t.Context(), rewrite.Relay, rewrite.HeaderSender, address)
	if err != nil {
		t.Fatal(err)
	}
	source := r.Source
	if i := strings.LastIndexByte(source, '/'); i >= 0 {
		source = source[i+1:]
	}
	return r.Address + " " + r.Rule + " " + source
}

func TestRewriter(t *testing.T) {
	p := masquerade(t)
	e := p.open()
	for address, want := range map[string]string{
		"joe@example.com":    "joe.smith@public.example genericstable genericstable:1",
		"ann@example.com":    "ann@public.example masquerade_as local-host-names:1",
		"ann@lan.example":    "ann@public.example masquerade_domain domains:2",
		"ann@corp.example":   "ann@public.example masquerade_domain relay.masquerade_domain",
		"root@corp.example":  "root@corp.example exposed_user relay.exposed_user",
		"ann@mx.example.com": "ann@public.example masquerade_as this host",
		"ann":                "ann@public.example masquerade_as ",
		"x@other.example":    "x@other.example  ",
	} {
		if got := from(t, e, address); got != want {
			t.Errorf("%s became %q, want %q", address, got, want)
		}
	}
}

// TestRewriterFollows: an edit is in force within a second or so, a bad one is not taken.
func TestRewriterFollows(t *testing.T) {
	p := masquerade(t)
	e := p.open()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { e.Run(ctx); close(done) }()
	defer func() { stop(); <-done }()
	p.write("genericstable", "joe@example.com\tjoseph@public.example\n")
	const want = "joseph@public.example genericstable genericstable:1"
	for end := time.Now().Add(10 * time.Second); from(t, e, "joe@example.com") != want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the edit is not in force")
		}
	}
	p.write("genericstable", "ann@example.com\tann\njoe@example.com\tJoe Smith <joe@example.com>\n")
	for end := time.Now().Add(10 * time.Second); !strings.Contains(p.log.String(), "genericstable:2: "); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the bad line is not logged: %s", p.log.String())
		}
	}
	if got := from(t, e, "joe@example.com"); got != want {
		t.Errorf("after a bad edit joe is %q", got)
	}
}

func TestGenericstableMustBeThere(t *testing.T) {
	p := masquerade(t)
	p.cfg.Tables.GenericsTable = config.Table{Maps: []config.Map{{Kind: "text", Path: p.path("missing")}}}
	if _, err := open(t.Context(), p.cfg, p.logger(), p.host); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a missing genericstable gave %v", err)
	}
}
