//go:build integration

package setup

import (
	"context"
	"strings"
	"testing"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/servers"
	"gatepost/policy"
)

// withRedis is an engine whose access table is a text and after it a hash on a server,
// and that is run until the test ends.
func withRedis(t *testing.T, server *servers.Redis, unavailable string, maxStale time.Duration) (*place, *Engine) {
	t.Helper()
	p := newPlace(t)
	p.cfg.Tables.Access.Maps = append(p.cfg.Tables.Access.Maps, config.Map{Kind: "redis", Path: server.URL("access")})
	p.cfg.Tables.OnUnavailable, p.cfg.Tables.MaxStale = unavailable, maxStale
	p.cfg.Features.AcceptUnresolvableDomains, p.cfg.Features.BlocklistRecipients = true, true
	e := p.open()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return p, e
}

// within waits for a verdict and gives the time that it took.
func within(t *testing.T, limit time.Duration, want string, ask func() string) time.Duration {
	t.Helper()
	begin := time.Now()
	for got := ""; ; time.Sleep(10 * time.Millisecond) {
		if got = ask(); strings.HasPrefix(got, want) {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			t.Fatalf("%s after %v, want %s", got, limit, want)
		}
	}
}

// TestRedisEditDecides: a change of a hash is in the decisions after a second or so.
func TestRedisEditDecides(t *testing.T) {
	server := servers.StartRedis(t)
	_, e := withRedis(t, server, "tempfail", 10*time.Second)
	rcpt := func() string { return decide(t, e, "<u@example.com>") }
	mail := func() string { return mailReply(t, e) }
	if got := rcpt() + ", " + mail(); got != "accept, accept " {
		t.Errorf("at the start: %s", got)
	}
	server.CLI(`HSET access From:stranger.example "550 5.7.1 from redis" From:spam.example OK`)
	took := within(t, 5*time.Second, "reject 550 5.7.1 from redis", mail)
	server.CLI("MULTI", "DEL access", `HSET access To:u@example.com "550 5.7.1 to redis"`, "INCR access:version", "EXEC")
	took = max(took, within(t, 5*time.Second, "accept", mail), within(t, 5*time.Second, "reject 550 5.7.1 to redis", rcpt))
	server.CLI("CONFIG SET notify-keyspace-events Kgh$", "HSET access To:u@example.com OK")
	took = max(took, within(t, 5*time.Second, "accept", rcpt))
	t.Logf("a change took %v at most", took)
}

// TestRedisGoneDecides: without the server for longer than max_stale mail is put off, or
// judged by what was last known; and all is well again when it is back.
func TestRedisGoneDecides(t *testing.T) {
	const refused, later = "reject 550 5.7.1 from redis", "tempfail 451 4.3.0 "
	server := servers.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	server.CLI(`HSET access From:stranger.example "550 5.7.1 from redis"`)
	p, tempfail := withRedis(t, server, "tempfail", 2*time.Second)
	_, last := withRedis(t, server, "last", 2*time.Second)
	for _, e := range []*Engine{tempfail, last} {
		if got := mailReply(t, e); got != refused {
			t.Errorf("MAIL gave %s, want %s", got, refused)
		}
	}
	server.Kill()
	if got := mailReply(t, tempfail); got != refused {
		t.Errorf("at once MAIL gave %s, want %s", got, refused)
	}
	within(t, 10*time.Second, later, func() string { return mailReply(t, tempfail) })
	if got := decide(t, tempfail, "<u@elsewhere.example>"); !strings.HasPrefix(got, later) {
		t.Errorf("RCPT gave %s, want %s", got, later)
	}
	d := tempfail.Policy().Decide(t.Context(), policy.StageMail, facts("<u@example.com>"))
	if d.Verdict.Action != policy.Tempfail {
		t.Errorf("the verdict is %v, want Tempfail", d.Verdict.Action)
	}
	time.Sleep(time.Second)
	if got := mailReply(t, last); got != refused {
		t.Errorf("with the last content MAIL gave %s, want %s", got, refused)
	}
	if got := decide(t, last, "<u@example.com>"); got != "accept" {
		t.Errorf("with the last content RCPT gave %s, want accept", got)
	}
	if err := tempfail.Reload(t.Context(), func() (*config.Config, error) { return p.cfg, nil }); err != nil {
		t.Errorf("a reload without the server: %v", err)
	}
	if got := mailReply(t, tempfail); !strings.HasPrefix(got, later) {
		t.Errorf("after a reload without the server MAIL gave %s, want %s", got, later)
	}
	server.Run()
	within(t, 5*time.Second, refused, func() string { return mailReply(t, tempfail) })
}

// TestRedisDownAtStart: an engine that starts without the server puts off what needs it
// until it is there.
func TestRedisDownAtStart(t *testing.T) {
	for _, unavailable := range []string{"tempfail", "last"} {
		server := servers.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
		server.CLI(`HSET access From:stranger.example "550 5.7.1 from redis"`)
		server.Kill()
		p, e := withRedis(t, server, unavailable, 2*time.Second)
		if got := mailReply(t, e); !strings.HasPrefix(got, "tempfail 451 4.3.0 ") {
			t.Errorf("MAIL gave %s, want 451 4.3.0", got)
		}
		if n := strings.Count(p.log.String(), "table not read from its server"); n != 1 {
			t.Errorf("the log tells %d times of the server, want once:\n%s", n, p.log.String())
		}
		server.Run()
		within(t, 5*time.Second, "reject 550 5.7.1 from redis", func() string { return mailReply(t, e) })
	}
}
