package maps

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"gatepost/internal/servers"
)

// asked is a table on a socketmap server of the test.
type asked struct {
	*Server
	t      *testing.T
	server *servers.Socketmap
	book   *logbook
}

// askedAt opens the table. With pace, what is left out is a minute.
func askedAt(t *testing.T, spec Spec, pace serverPace, handle servers.SocketmapHandler) *asked {
	t.Helper()
	a := &asked{t: t, book: &logbook{}, server: servers.StartSocketmap(t, "unix", handle)}
	for _, d := range []*time.Duration{&pace.fresh, &pace.patience, &pace.slow, &pace.rest} {
		if *d == 0 {
			*d = time.Minute
		}
	}
	spec.Name, spec.Kind, spec.Path = "access", KindSocketmap, "unix:"+a.server.Addr().String()+":access"
	var err error
	if a.Server, err = openServerAt(spec, a.book.logger(), pace); err != nil {
		t.Fatal(err)
	}
	return a
}

// expect looks a key up; "has X" stands for an answer with X in it.
func (a *asked) expect(key, want string) {
	a.t.Helper()
	got := lookupText(a.t, a.Map(), key)
	part, isPart := strings.CutPrefix(want, "has ")
	if got != want && !(isPart && strings.Contains(got, part)) {
		a.t.Errorf("Lookup(%.80q) = %.300q, want %q", key, got, want)
	}
}

func (a *asked) value(v string) string { return v + " @" + a.where }

func (a *asked) expectAsked(n int64) {
	a.t.Helper()
	if got := a.server.Asked.Load(); got != n {
		a.t.Errorf("the server was asked %d times, want %d", got, n)
	}
}

func (a *asked) reload() {
	a.t.Helper()
	if changed, err := a.Reload(); changed || err != nil {
		a.t.Errorf("Reload() = %v, %v", changed, err)
	}
}

func TestServerRemembers(t *testing.T) {
	a := askedAt(t, Spec{}, serverPace{}, servers.ServeTable)
	a.server.Set("access a", "OK one")
	for range 3 {
		a.expect("A", a.value("one"))
		a.expect("b", "-")
	}
	a.expectAsked(2)
	a.server.Set("access a", "OK two")
	a.server.Set("access b", "OK two")
	a.expect("a", a.value("one"))
	a.reload()
	for range 3 {
		a.expect("a", a.value("two"))
		a.expect("b", a.value("two"))
	}
	a.expectAsked(4)
	long := strings.Repeat("v", maxRemembered)
	a.server.Set("access long", "OK "+long)
	for range 3 {
		a.expect("long", a.value(long))
	}
	a.expectAsked(7)
	a.expect(strings.Repeat("k", maxServerKey+1), "has a key of 16385 bytes is not asked for")
	a.expectAsked(7)
}

func TestServerForgets(t *testing.T) {
	a := askedAt(t, Spec{}, serverPace{fresh: time.Nanosecond}, servers.ServeTable)
	a.server.Set("access a", "OK one")
	a.expect("a", a.value("one"))
	a.server.Set("access a", "NOTFOUND ")
	a.expect("a", "-")
	a.server.Stop()
	a.expect("a", "has error: ")
}

// TestServerHangs: a server that is silent costs one wait, not one for each key.
func TestServerHangs(t *testing.T) {
	pace := serverPace{patience: 200 * time.Millisecond, slow: 100 * time.Millisecond}
	a := askedAt(t, Spec{}, pace, servers.Saying(""))
	for i := range 50 {
		a.expect(fmt.Sprint(i), "has deadline exceeded")
	}
	if n := a.server.Accepted.Load(); n != 1 {
		t.Errorf("the silent server was asked %d times, want once", n)
	}
	a.reload()
	a.expect("a", "has deadline exceeded")
	if n := a.server.Accepted.Load(); n != 2 {
		t.Errorf("after Reload the server was asked %d times, want twice", n)
	}
	a.book.expect(t, 1, "table's server could not be asked", "temporary failure")
	if s := a.Status(); s.LastError == nil || s.LastErrorAt.IsZero() || !s.LoadedAt.IsZero() {
		t.Errorf("Status() = %+v", s)
	}
}

// TestServerRefusesOneKey: what cannot be said of one key keeps no other from being asked.
func TestServerRefusesOneKey(t *testing.T) {
	a := askedAt(t, Spec{}, serverPace{}, servers.ServeTable)
	a.server.Set("access bad", "TEMP no backend for this")
	a.server.Set("access a", "OK one")
	a.expect("bad", "has no backend for this")
	a.expect("a", a.value("one"))
	if s := a.Status(); s.LastError != nil || s.LoadedAt.IsZero() {
		t.Errorf("Status() after a good answer = %+v", s)
	}
	a.expect("bad", "has no backend for this")
	a.book.expect(t, 1, "table's server answers again")
}

// TestServerKeepLast: without its server a table answers what it was told last, and
// nothing that it was not.
func TestServerKeepLast(t *testing.T) {
	a := askedAt(t, Spec{KeepLast: true}, serverPace{fresh: time.Nanosecond}, servers.ServeTable)
	a.server.Set("access a", "OK one")
	a.expect("a", a.value("one"))
	a.expect("b", "-")
	a.server.Set("access a", "OK two")
	a.expect("a", a.value("two"))
	a.server.Stop()
	a.reload()
	a.expect("a", a.value("two"))
	a.expect("b", "-")
	a.expect("c", "has error: ")
	a.book.expect(t, 1, "table's server could not be asked", "what was last known of it stands")
	l, err := net.Listen("unix", a.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	servers.ServeSocketmap(t, l, servers.ServeTable, map[string]string{"access a": "OK three"})
	a.expect("a", a.value("three"))
	a.expect("c", "-")
	a.book.expect(t, 1, "table's server answers again")
}

// TestServerCheck: a value that the table cannot have is none, and no absence.
func TestServerCheck(t *testing.T) {
	check := func(key, value string) error {
		if value == "BAD" {
			return errors.New("a bad value")
		}
		return nil
	}
	for _, keepLast := range []bool{false, true} {
		a := askedAt(t, Spec{Check: check, KeepLast: keepLast}, serverPace{fresh: time.Nanosecond}, servers.ServeTable)
		a.server.Set("access a", "OK BAD")
		a.expect("A", "has "+a.where+": key a: a bad value")
		a.server.Set("access a", "OK good")
		a.expect("a", a.value("good"))
		a.server.Set("access a", "OK BAD")
		if keepLast {
			a.expect("a", a.value("good"))
		} else {
			a.expect("a", "has key a: a bad value")
		}
	}
}

// TestServerSessionEnds: a session that ends while it asks says nothing about the server.
func TestServerSessionEnds(t *testing.T) {
	a := askedAt(t, Spec{}, serverPace{slow: time.Nanosecond}, servers.Saying(""))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, found, err := a.Lookup(ctx, "a"); found || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lookup() = %v, %v", found, err)
	}
	if s := a.Status(); s.LastError != nil {
		t.Errorf("Status() = %+v", s)
	}
	a.book.expect(t, 0, "could not be asked")
}

func TestOpenServerRefuses(t *testing.T) {
	for _, tc := range []struct{ kind, path, want string }{
		{"socketmap", "nonsense", "table access: socketmap:nonsense: "},
		{"ldap", "directory", "table access: ldap:directory: "},
		{"redis", "redis://:s3cr3t@host/x/access", "table access: redis: no number"},
		{"redis", "redis://:s3cr3t@host", "table access: redis: "},
	} {
		kind, err := ParseKind(tc.kind)
		if err != nil {
			t.Fatal(err)
		}
		s, err := OpenStore(Spec{Name: "access", Kind: kind, Path: tc.path}, (&logbook{}).logger())
		if s != nil || err == nil || !strings.HasPrefix(err.Error(), tc.want) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("OpenStore(%s) = %v, %v, want %s", tc.path, s, err, tc.want)
		}
	}
}
