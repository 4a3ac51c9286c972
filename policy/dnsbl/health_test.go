package dnsbl

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatepost/internal/dns"
)

// fakeList is a resolver with one list behind it, which can be changed.
type fakeList struct {
	mu      sync.Mutex
	answers func(name string) (string, error) // an address, "" for none
	asked   []string
}

func (f *fakeList) set(answers func(name string) (string, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers = answers
}

func (f *fakeList) Lookup(_ context.Context, name string, t dns.Type) (dns.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, name)
	text, err := f.answers(name)
	if err != nil {
		return dns.Answer{}, &dns.Error{Name: name, Type: t, Reason: err.Error()}
	}
	a := dns.Answer{Name: name}
	if text != "" {
		a.Addrs = []netip.Addr{ip(text)}
	}
	return a, nil
}

func (f *fakeList) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// good has the test entry and nothing else.
func good(name string) (string, error) {
	if strings.HasPrefix(name, "2.0.0.127.") || strings.HasPrefix(name, "test.") {
		return "127.0.0.2", nil
	}
	return "", nil
}

func always(address string) func(string) (string, error) {
	return func(string) (string, error) { return address, nil }
}

func failing(string) (string, error) { return "", fmt.Errorf("SERVFAIL") }

func TestProbe(t *testing.T) {
	country := []Filter{{First: ip("127.0.3.72"), Last: ip("127.0.3.72")}}
	for _, tc := range []struct {
		name    string
		zone    Zone
		answers func(string) (string, error)
		reason  string // beginning
		warning string
		fails   bool
	}{
		{"good", Zone{Name: "bl"}, good, "", "", false},
		{"private", Zone{Name: "bl"}, always(""), "", "it does not list 127.0.0.2,", false},
		{"wildcard", Zone{Name: "bl"}, always("127.0.0.2"), "it lists 127.0.0.1,", "", false},
		{"domain for sale", Zone{Name: "bl"}, always("203.0.113.80"), "it answered 203.0.113.80: no list does;", "", false},
		{"closed to us", Zone{Name: "bl"}, always("127.255.255.254"), "it answered 127.255.255.254: the list refuses queries", "", false},
		{"no answer", Zone{Name: "bl"}, failing, "", "", true},
		{"lists unused addresses", Zone{Name: "bl", IPv4Only: true}, func(name string) (string, error) {
			if strings.HasPrefix(name, "1.0.0.127.") {
				return "", nil
			}
			return "127.0.0.2", nil
		}, "it lists ", "", false},
		{"takes IPv6 for IPv4", Zone{Name: "bl"}, func(name string) (string, error) {
			if strings.HasSuffix(name, ".8.b.d.0.1.0.0.2.bl") {
				return "127.0.0.2", nil
			}
			return good(name)
		}, "it lists 2001:db8:", "", false},
		{"IPv6 is not asked", Zone{Name: "bl", IPv4Only: true}, func(name string) (string, error) {
			if strings.HasSuffix(name, ".8.b.d.0.1.0.0.2.bl") {
				return "127.0.0.2", nil
			}
			return good(name)
		}, "", "", false},
		{"every address has a country", Zone{Name: "bl", Filters: country}, always("127.0.3.99"), "", "it does not list 127.0.0.2,", false},
		{"only some answers fail", Zone{Name: "bl"}, func(name string) (string, error) {
			if strings.HasPrefix(name, "1.0.0.127.") {
				return failing(name)
			}
			return good(name)
		}, "", "", false},
		{"domains", Zone{Name: "bl", Domains: true}, good, "", "", false},
		{"domains, wildcard", Zone{Name: "bl", Domains: true}, always("127.0.0.2"), "it lists invalid,", "", false},
		{"domains, anything.invalid", Zone{Name: "bl", Domains: true}, func(name string) (string, error) {
			if strings.HasSuffix(name, ".invalid.bl") {
				return "127.0.0.2", nil
			}
			return good(name)
		}, "it lists probe-", "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reason, warning, err := Probe(t.Context(), &fakeList{answers: tc.answers}, &tc.zone)
			begins := func(got, want string) bool { return strings.HasPrefix(got, want) && (got == "") == (want == "") }
			if !begins(reason, tc.reason) || !begins(warning, tc.warning) || (err != nil) != tc.fails {
				t.Errorf("probe gave %q, %q, %v, want %q, %q, fails: %v", reason, warning, err, tc.reason, tc.warning, tc.fails)
			}
		})
	}
}

// watched runs a set in a bubble of synctest.
func watched(t *testing.T, list *fakeList, zones ...Zone) (*Set, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s := NewSet(zones, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Run(ctx, list, slog.New(slog.NewTextHandler(&log, nil)))
	}()
	t.Cleanup(func() { cancel(); <-ended })
	synctest.Wait()
	return s, &log
}

// TestParking follows a list through its bad days.
func TestParking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := &fakeList{answers: good}
		z := Zone{Name: "bl.example", Key: "sesame"}
		s, log := watched(t, list, z)
		state := s.State(&z)
		if state.Parked() != nil || list.count() != 4 || s.Status()[0].Probed.IsZero() {
			t.Fatalf("a good list: parked %v, %d questions", state.Parked(), list.count())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := list.count(); n < 4*6 || n > 4*9 {
			t.Errorf("%d questions in an hour, want four every ten minutes or so", n)
		}
		for _, bad := range []struct {
			answers func(string) (string, error)
			want    string
		}{
			{always("127.255.255.254"), "it answered 127.255.255.254: the list refuses queries"},
			{always("127.0.0.2"), "it lists 127.0.0.1,"},
			{failing, "it gives no answer: dns: A of"},
		} {
			list.set(bad.answers)
			time.Sleep(13 * time.Minute)
			synctest.Wait()
			p := state.Parked()
			if p == nil || !strings.HasPrefix(p.Reason, bad.want) {
				t.Fatalf("parked: %v, want %q", p, bad.want)
			}
			before := list.count()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if n := list.count() - before; n < 4*8 || n > 4*14 {
				t.Errorf("%d questions in ten minutes of a parked list, want four every minute or so", n)
			}
			list.set(good)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			if p := state.Parked(); p != nil {
				t.Fatalf("it behaves again, but is parked: %v", p)
			}
		}
		if n, m := strings.Count(log.String(), "is parked"), strings.Count(log.String(), "is asked again"); n != 3 || m != 3 {
			t.Errorf("parked %d times and asked again %d times by the log, want 3 and 3:\n%s", n, m, log)
		}
		if strings.Contains(log.String(), "sesame") {
			t.Errorf("the key is in the log:\n%s", log)
		}
	})
}

// TestTrouble: sessions that get no answers have the list probed at once.
func TestTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := &fakeList{answers: good}
		z := Zone{Name: "bl.example"}
		s, _ := watched(t, list, z)
		time.Sleep(time.Minute)
		list.set(failing)
		for range manyFails {
			s.State(&z).Asked(&dns.Answer{}, time.Second, fmt.Errorf("no answer"))
		}
		synctest.Wait()
		if s.State(&z).Parked() == nil {
			t.Error("a list that gives no answer is still asked")
		}
		before := list.count()
		for range 1000 {
			s.State(&z).Asked(&dns.Answer{}, time.Second, fmt.Errorf("no answer"))
		}
		synctest.Wait()
		if n := list.count() - before; n != 0 {
			t.Errorf("%d more questions at once to a list that is parked already", n)
		}
	})
}

// TestHitRate parks a list that lists nearly everybody though its test points are
// right, and not one where that is usual.
func TestHitRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := &fakeList{answers: good}
		z := Zone{Name: "bl.example"}
		s, log := watched(t, list, z)
		state, client := s.State(&z), 0
		see := func(n, listed int) {
			for i := range n {
				client++
				state.Said(fmt.Sprint(client), i < listed)
			}
			synctest.Wait()
		}
		for range 100 {
			state.Said("the same client", true)
		}
		see(49, 20)
		if state.Parked() != nil {
			t.Fatal("parked for one client that came often")
		}
		see(50, 50)
		if p := state.Parked(); p == nil || !strings.HasPrefix(p.Reason, "it listed 49 or more of the last 50 clients") {
			t.Fatalf("a list of everybody: parked %v", p)
		}
		time.Sleep(firstRest + 2*time.Second)
		synctest.Wait()
		if p := state.Parked(); p != nil {
			t.Fatalf("after its rest the list is not tried again: %v", p)
		}
		see(50, 50)
		time.Sleep(firstRest + 2*time.Second)
		synctest.Wait()
		if state.Parked() == nil {
			t.Error("the second rest is not longer than the first")
		}
		time.Sleep(firstRest)
		synctest.Wait()
		for range 6 {
			see(50, 47)
		}
		see(50, 50)
		if p := state.Parked(); p != nil {
			t.Errorf("where nearly all clients are listed anyhow, the list is parked: %v", p)
		}
		if n := strings.Count(log.String(), "is parked"); n != 2 {
			t.Errorf("parked %d times by the log, want 2:\n%s", n, log)
		}
	})
}

// TestTrusted: health = false asks a list whatever it answers.
func TestTrusted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := &fakeList{answers: always("127.0.0.2")}
		z := Zone{Name: "bogons.example", Trusted: true}
		s, _ := watched(t, list, z)
		for i := range 500 {
			s.State(&z).Said(fmt.Sprint(i), true)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if list.count() != 0 || s.State(&z).Parked() != nil {
			t.Errorf("%d questions, parked: %v", list.count(), s.State(&z).Parked())
		}
	})
}

// TestWarnedOnce: a list without test entry is asked, and that is said once.
func TestWarnedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := Zone{Name: "private.example"}
		s, log := watched(t, &fakeList{answers: always("")}, z)
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || s.State(&z).Parked() != nil {
			t.Errorf("%d warnings, parked: %v, want one warning:\n%s", n, s.State(&z).Parked(), log)
		}
		if w := s.Status()[0].Warning; !strings.HasPrefix(w, "it does not list 127.0.0.2") {
			t.Errorf("status warns %q", w)
		}
	})
}

// TestSetKeeps what is known of zones that stay.
func TestSetKeeps(t *testing.T) {
	a, b, c := Zone{Name: "a"}, Zone{Name: "b"}, Zone{Name: "a", Domains: true}
	first := NewSet([]Zone{a, b}, nil)
	first.State(&a).parked.Store(&ParkedError{Reason: "x"})
	first.State(&a).Asked(&dns.Answer{Server: "cache of x"}, 2*time.Millisecond, nil)
	first.State(&a).Said("client", true)
	next := NewSet([]Zone{c, a, a}, first)
	if next.State(&a) != first.State(&a) || next.State(&a).Parked() == nil {
		t.Error("what is known of a zone that stays is lost")
	}
	if next.State(&b) != nil || next.State(&c).Parked() != nil {
		t.Error("zones are mixed up")
	}
	status := next.Status()
	if len(status) != 2 || status[0].Lookup != "address" || status[0].Queries != 1 || status[0].Hits != 1 || status[0].Cached != 1 ||
		status[0].Took != 2*time.Millisecond || status[0].Buckets[0.001] != 0 || status[0].Buckets[0.01] != 1 || status[0].Buckets[10] != 1 {
		t.Errorf("status is %+v", status)
	}
	changed := a
	changed.Key = "k"
	if NewSet([]Zone{changed}, first).State(&changed).Parked() != nil {
		t.Error("with another key it is another list")
	}
	var none *Set
	if none.State(&a) != nil || none.Status() != nil {
		t.Error("no set knows of a zone")
	}
}

// TestMerge: of a zone that is used in several ways every answer that one of them
// takes counts.
func TestMerge(t *testing.T) {
	two := []Filter{{First: ip("127.0.0.2"), Last: ip("127.0.0.2")}}
	three := []Filter{{First: ip("127.0.0.3"), Last: ip("127.0.0.3")}}
	all := merge([]Zone{{Name: "a", Filters: two}, {Name: "b"}, {Name: "a", Filters: three}, {Name: "b", Filters: two, Trusted: true}})
	if len(all) != 2 || !all[0].Listed(ips("127.0.0.3")) || !all[0].Listed(ips("127.0.0.2")) || all[0].Listed(ips("127.0.0.4")) ||
		!all[1].Listed(ips("127.0.0.4")) || !all[1].Trusted {
		t.Errorf("merged: %+v", all)
	}
}
