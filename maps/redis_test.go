//go:build integration

package maps

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/internal/servers"
)

// hash is a table that is a hash on a real redis-server, followed until the test ends.
type hash struct {
	*Redis
	t       *testing.T
	server  *servers.Redis
	book    *logbook
	changes atomic.Int64
}

// openHash opens the table with a pace; the server may be down.
func openHash(t *testing.T, server *servers.Redis, spec Spec, pace func(*redisPace)) *hash {
	t.Helper()
	h := &hash{t: t, server: server, book: &logbook{}}
	spec.Name, spec.Kind = "access", KindRedis
	if spec.Path == "" {
		spec.Path = server.URL("access")
	}
	if spec.MaxStale == 0 {
		spec.MaxStale = 10 * time.Second
	}
	var err error
	if h.Redis, err = openRedis(spec, h.book.logger()); err != nil {
		t.Fatal(err)
	}
	if pace != nil {
		pace(&h.pace)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		Watch(ctx, h.book.logger(), []Store{h.Redis}, func() { h.changes.Add(1) })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return h
}

func (h *hash) expect(key, want string) {
	h.t.Helper()
	if got := lookupText(h.t, h.Map(), key); !strings.HasPrefix(got, want) {
		h.t.Errorf("Lookup(%s) = %s, want %s", key, got, want)
	}
}

// within waits for an answer and gives the time that it took.
func (h *hash) within(limit time.Duration, key, want string) time.Duration {
	h.t.Helper()
	begin := time.Now()
	for got := ""; ; time.Sleep(5 * time.Millisecond) {
		if got = lookupText(h.t, h.Map(), key); strings.HasPrefix(got, want) {
			break
		}
		if time.Since(begin) > limit {
			h.t.Fatalf("Lookup(%s) = %s after %v, want %s", key, got, limit, want)
		}
	}
	h.t.Logf("%s %s took %v", key, want, time.Since(begin))
	return time.Since(begin)
}

// TestRedisDownAtOpen: a server that is down at the start is no error; the table cannot
// be asked, and is there when the server is.
func TestRedisDownAtOpen(t *testing.T) {
	for _, keepLast := range []bool{false, true} {
		server := servers.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
		server.CLI("HSET access a OK")
		server.Kill()
		h := openHash(t, server, Spec{KeepLast: keepLast}, nil)
		kept := h.Map() // of a policy that was made without the server
		h.expect("a", "error: not read yet: redis://127.0.0.1:")
		h.expect("b", "error: not read yet: ")
		if s := h.Status(); s.LastError == nil || s.LastErrorAt.IsZero() || !s.LoadedAt.IsZero() || s.Entries != 0 {
			t.Errorf("Status() = %+v", s)
		}
		h.book.expect(t, 1, "level=ERROR", "connection refused")
		server.Run()
		h.within(5*time.Second, "a", "OK @")
		h.expect("b", "-")
		if got := lookupText(t, kept, "a"); !strings.HasPrefix(got, "OK @") {
			t.Errorf("the map of before says %s", got)
		}
		eventually(t, "a word of the change", func() bool { return h.changes.Load() == 1 })
		if s := h.Status(); s.LastError != nil || s.Entries != 1 || s.LoadedAt.IsZero() {
			t.Errorf("Status() = %+v", s)
		}
		h.book.expect(t, 1, "table can be read again")
	}
}

// TestRedisMaxStale: without its server a table answers for MaxStale after the last word,
// with KeepLast for ever.
func TestRedisMaxStale(t *testing.T) {
	server := servers.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	server.CLI("HSET access a OK")
	h := openHash(t, server, Spec{MaxStale: 2 * time.Second}, nil)
	last := openHash(t, server, Spec{MaxStale: 2 * time.Second, KeepLast: true}, nil)
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		h.expect("a", "OK @") // the server lives: the copy is never too old
	}
	server.Kill()
	gone := time.Now()
	h.expect("a", "OK @")
	h.within(10*time.Second, "a", "error: no word from the server for 2s: redis://127.0.0.1:")
	if took := time.Since(gone); took < time.Second {
		t.Errorf("the table could not be asked after %v, want 2 s after the last word", took)
	}
	h.expect("b", "error: no word")
	last.expect("a", "OK @")
	last.expect("b", "-")
	if s := last.Status(); s.LastError == nil || s.Entries != 1 {
		t.Errorf("Status() = %+v", s)
	}
	h.book.expect(t, 1, "level=ERROR", "temporary failure")
	last.book.expect(t, 1, "level=ERROR", "what was last known of it stands")
	server.Run()
	h.within(5*time.Second, "a", "OK @")
	eventually(t, "an end of the fault", func() bool { return h.Status().LastError == nil && last.Status().LastError == nil })
	h.book.expect(t, 1, "table's server answers again")
}

// TestRedisRefusesValue: a value that Check refuses keeps the last good copy in force,
// until the hash is good again, whatever the server does meanwhile.
func TestRedisRefusesValue(t *testing.T) {
	server := servers.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	server.CLI("HSET access a OK")
	check := func(key, value string) error {
		if value == "BAD" {
			return errors.New("a bad value")
		}
		return nil
	}
	h := openHash(t, server, Spec{Check: check}, nil)
	refused := func() bool {
		s := h.Status()
		return s.LastError != nil && s.LastError.Error() == h.where+": key b: a bad value"
	}
	server.CLI("HSET access B BAD a NO")
	eventually(t, "a refusal", refused)
	h.expect("a", "OK @")
	h.expect("b", "-")
	if _, err := h.Reload(); err == nil || err.Error() != "table access: "+h.where+": key b: a bad value" {
		t.Errorf("Reload() = %v", err)
	}
	h.book.expect(t, 1, "level=ERROR", "key b: a bad value", "its last good content stays in force")

	server.Kill()
	eventually(t, "a fault of the server", func() bool { return !refused() && h.Status().LastError != nil })
	server.Run()
	eventually(t, "the refusal again", refused)
	h.expect("a", "OK @")

	server.CLI("MULTI", "HDEL access B", "HSET access a OK", "EXEC") // as it was
	eventually(t, "the end of the refusal", func() bool { return h.Status().LastError == nil })
	if n := h.changes.Load(); n != 0 {
		t.Errorf("%d changes, though the content is what it was", n)
	}
	server.CLI("HSET access b BAD")
	eventually(t, "a refusal", refused)
	server.CLI("HSET access b GOOD")
	if _, err := h.Reload(); err != nil {
		t.Error(err)
	}
	h.expect("b", "GOOD @")
	if s := h.Status(); s.LastError != nil || s.Entries != 2 {
		t.Errorf("Status() = %+v", s)
	}
	if _, err := OpenStore(Spec{Name: "access", Kind: KindRedis, Path: server.URL("bad"), Check: func(k, v string) error { return errors.New("never") }}, h.log); err != nil {
		t.Errorf("an empty hash has nothing to refuse: %v", err)
	}
	server.CLI("HSET bad k v")
	if _, err := OpenStore(Spec{Name: "access", Kind: KindRedis, Path: server.URL("bad"), Check: func(k, v string) error { return errors.New("never") }}, h.log); err == nil ||
		!strings.HasSuffix(err.Error(), "/3/bad: key k: never") {
		t.Errorf("a bad value at the start: %v", err)
	}
}

// TestRedisSeesEdits: an edit that changes neither version nor number of entries is seen
// at once with notifications, and when the hash is read again without.
func TestRedisSeesEdits(t *testing.T) {
	never := func(p *redisPace) { p.reread, p.forgotten = time.Hour, time.Hour }
	for _, tc := range []struct {
		name, events, version string
		pace                  func(*redisPace)
		seen                  bool
	}{
		{"notified", "Kgh$", "", never, true},
		{"notified, version forgotten", "KA", "7", never, true},
		{"read again", "", "", func(p *redisPace) { p.reread, p.forgotten = time.Second, time.Hour }, true},
		{"read again, version forgotten", "", "7", func(p *redisPace) { p.reread, p.forgotten = time.Hour, time.Second }, true},
		{"neither", "", "", never, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := servers.StartRedis(t, "--notify-keyspace-events", tc.events)
			server.CLI("HSET access a OK")
			if tc.version != "" {
				server.CLI("SET access:version " + tc.version)
			}
			h := openHash(t, server, Spec{}, tc.pace)
			h.expect("a", "OK @")
			time.Sleep(1500 * time.Millisecond) // the subscription stands, and nothing is to be read
			server.CLI("HSET access a NO")
			if !tc.seen {
				time.Sleep(3 * time.Second)
				h.expect("a", "OK @")
				server.CLI("INCR access:version")
			}
			h.within(5*time.Second, "a", "NO @")
		})
	}
}

// TestRedisGathersEdits: many edits are few readings, the last of which has them all.
func TestRedisGathersEdits(t *testing.T) {
	server := servers.StartRedis(t, "--notify-keyspace-events", "Kgh$")
	server.CLI("HSET access last 0")
	h := openHash(t, server, Spec{}, nil)
	var edits []string
	for i := range 2000 {
		edits = append(edits, fmt.Sprintf("HSET access key%d %d last %d", i, i, i+1))
	}
	begin := time.Now()
	server.CLI(edits...)
	took := time.Since(begin)
	h.within(5*time.Second, "last", "2000 @")
	if n, most := h.changes.Load(), int64(took/(50*time.Millisecond))+5; n > most {
		t.Errorf("%d readings of 2000 edits in %v, want at most %d", n, took, most)
	}
	if s := h.Status(); s.Entries != 2001 {
		t.Errorf("Status() = %+v", s)
	}
}

// TestRedisWords: what the log warns of, and that no password is in it.
func TestRedisWords(t *testing.T) {
	server := servers.StartRedis(t, "--requirepass", "s3cr3t")
	h := openHash(t, server, Spec{Path: strings.Replace(server.URL("access"), "//", "//:wr0ng@", 1)}, nil)
	h.expect("a", "error: not read yet: "+server.URL("access")+": authentication: the server says: WRONGPASS")
	h.book.expect(t, 1, "level=ERROR", "WRONGPASS")
	h.book.expect(t, 0, "wr0ng")

	as := func(commands ...string) { server.CLIWith([]string{"--no-auth-warning", "-a", "s3cr3t"}, commands...) }
	as("HSET access a OK")
	h = openHash(t, server, Spec{Path: strings.Replace(server.URL("access"), "//", "//:s3cr3t@", 1)}, nil)
	h.expect("a", "OK @"+server.URL("access"))
	as("DEL access")
	h.within(5*time.Second, "a", "-")
	h.book.expect(t, 1, "level=WARN", "table has become empty", "entries_before=1")
	as("SET access text")
	eventually(t, "a fault", func() bool { return h.Status().LastError != nil })
	h.book.expect(t, 1, "level=ERROR", "WRONGTYPE")
	if s := fmt.Sprintf("%+v", h.Status()); strings.Contains(s, "s3cr3t") || !strings.Contains(s, "WRONGTYPE") {
		t.Errorf("Status() = %s", s)
	}
	h.book.expect(t, 0, "s3cr3t")
}
