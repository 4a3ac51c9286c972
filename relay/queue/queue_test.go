package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// TestDelivered: what is there at the start and what is added later arrives once, and the
// spool is empty then.
func TestDelivered(t *testing.T) {
	p := &peer{}
	p.start(t, "127.0.0.1:0")
	s := openSpool(t, t.TempDir())
	var want []string
	next := func() *spool.Message {
		want = append(want, fmt.Sprintf("%d@example.net", len(want)))
		return commit(t, s, spool.Envelope{}, want[len(want)-1])
	}
	for range 10 {
		next()
	}
	var observed atomic.Int64
	q, _ := run(t, Config{Spool: s, Route: one(smtpTo(t, p.addr)), Observe: func(a Attempt) {
		if a.Outcome != deliver.Delivered || a.Number != 1 || a.From != "alice@example.com" || a.DSN().String() != "2.0.0" || a.Delay <= 0 || a.Took <= 0 {
			t.Errorf("%+v", a)
		}
		observed.Add(1)
	}})
	for range 50 {
		q.Add(next())
	}
	eventually(t, "all are observed", func() bool { return observed.Load() == 60 })
	got := p.all()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the peer has %v", got)
	}
	if st := q.Stats(); len(s.Messages()) != 0 || st.Delivered != 60 || st.Ready+st.Deferred+st.Held != 0 || st.Failed+st.Retried != 0 {
		t.Errorf("%d left in the spool; %+v", len(s.Messages()), st)
	}
}

// TestDeferred: the message is tried again as the schedule says, for those recipients only
// that need it, and what the spool says of it survives a restart.
func TestDeferred(t *testing.T) {
	var tries atomic.Int64
	p := &peer{rcpt: func(to string) error {
		if strings.HasPrefix(to, "bob") && tries.Add(1) <= 2 {
			return later("greylisted")
		}
		return nil
	}}
	p.start(t, "127.0.0.1:0")
	s := openSpool(t, t.TempDir())
	var waits []int
	schedule := func(attempt int) time.Duration {
		waits = append(waits, attempt)
		return 20 * time.Millisecond
	}
	var mu sync.Mutex
	var seen []string
	m := commit(t, s, spool.Envelope{}, "carol@example.net", "bob@example.net")
	q, _ := run(t, Config{Spool: s, Route: one(smtpTo(t, p.addr)), Schedule: schedule, Observe: func(a Attempt) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf("%d %s %v %v", a.Number, a.To, a.Outcome, a.DSN()))
		if a.Number == 1 {
			if got := states(t, m); got != "carol@example.net delivered 250 2.0.0 OK: queued\nbob@example.net pending 450 4.2.1 greylisted\n" {
				t.Errorf("the spool says %s", got)
			}
			if m.Attempts() != 1 || time.Until(m.NextTry()) <= 0 {
				t.Errorf("%d attempts, next in %v", m.Attempts(), time.Until(m.NextTry()))
			}
		}
	}})
	eventually(t, "the spool is empty", func() bool { return len(s.Messages()) == 0 && q.Stats().Delivered == 2 })
	mu.Lock()
	defer mu.Unlock()
	want := []string{"1 carol@example.net Sent 2.0.0", "1 bob@example.net Deferred 4.2.1", "2 bob@example.net Deferred 4.2.1", "3 bob@example.net Sent 2.0.0"}
	if !slices.Equal(seen, want) || !slices.Equal(waits, []int{1, 2}) {
		t.Errorf("seen %v, waits after %v", seen, waits)
	}
	if got := p.all(); !slices.Equal(got, []string{"carol@example.net", "bob@example.net"}) {
		t.Errorf("the peer has %v", got)
	}
}

// TestFailed: the sender is told of what failed at the end of the round, and then nothing
// is left of it; others of the message are tried further.
func TestFailed(t *testing.T) {
	var tries atomic.Int64
	p := &peer{rcpt: func(to string) error {
		switch {
		case strings.HasPrefix(to, "nobody"):
			return never("nobody here")
		case strings.HasPrefix(to, "carol") && tries.Add(1) <= 2:
			return later("later")
		}
		return nil
	}}
	p.start(t, "127.0.0.1:0")
	s := openSpool(t, t.TempDir())
	r := &told{}
	m := commit(t, s, spool.Envelope{}, "bob@example.net", "nobody@example.net", "carol@example.net", "nobody@example.org")
	q, _ := run(t, Config{Spool: s, Route: one(smtpTo(t, p.addr)), Report: r.report, Observe: func(a Attempt) {
		if a.Number == 2 {
			want := "bob@example.net delivered 250 2.0.0 OK: queued\nnobody@example.net reported 550 5.1.1 nobody here\n" +
				"carol@example.net pending 450 4.2.1 later\nnobody@example.org reported 550 5.1.1 nobody here\n"
			if got := states(t, m); got != want {
				t.Errorf("the spool says %s", got)
			}
		}
	}})
	eventually(t, "the spool is empty", func() bool { return len(s.Messages()) == 0 })
	want := "failure nobody@example.net failed 5.1.1 550 5.1.1 nobody here\nfailure nobody@example.org failed 5.1.1 550 5.1.1 nobody here"
	if got := r.String(); got != want {
		t.Errorf("the sender is told %s", got)
	}
	eventually(t, "all is counted", func() bool { return q.Stats().Delivered == 2 })
	if st := q.Stats(); st.Held != 0 || st.Deferred != 0 || st.Failed != 2 || st.Retried != 2 {
		t.Errorf("%+v", st)
	}
}

// TestQuarantine: a message on hold is not delivered, whether it is there at the start or
// added.
func TestQuarantine(t *testing.T) {
	s := openSpool(t, t.TempDir())
	commit(t, s, spool.Envelope{Hold: "looks odd"}, "bob@example.net")
	x := &counting{does: func(context.Context, string, []int) []deliver.Result { return make([]deliver.Result, 1) }}
	q, _ := run(t, Config{Spool: s, Route: one(x)})
	q.Add(commit(t, s, spool.Envelope{Hold: "looks odd"}, "bob@example.net"))
	eventually(t, "both are counted", func() bool { return q.Stats().Held == 2 })
	if time.Sleep(20 * time.Millisecond); x.count() != 0 || len(s.Messages()) != 2 {
		t.Errorf("%d attempts", x.count())
	}
}

// TestLifetime: a message that has been tried for long enough is ended, with the last
// answer.
func TestLifetime(t *testing.T) {
	p := &peer{rcpt: func(string) error { return later("full") }}
	p.start(t, "127.0.0.1:0")
	s := openSpool(t, t.TempDir())
	r := &told{}
	commit(t, s, spool.Envelope{Arrived: time.Now().Add(-time.Hour)}, "bob@example.net")
	young := commit(t, s, spool.Envelope{}, "bob@example.net")
	q, _ := run(t, Config{Spool: s, Route: one(smtpTo(t, p.addr)), Report: r.report, Lifetime: time.Hour})
	eventually(t, "the message is ended", func() bool { return len(s.Messages()) == 1 })
	if got := r.String(); got != "failure bob@example.net failed 4.4.7 not delivered within 1h0m0s: 450 4.2.1 full" {
		t.Errorf("the sender is told %s", got)
	}
	eventually(t, "the other is tried again", func() bool { return young.Attempts() > 2 })
	if q.Stats().Failed != 1 {
		t.Errorf("%+v", q.Stats())
	}
}

// TestRestart: a message waits for its time with another queue too.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	commit(t, s, spool.Envelope{}, "bob@example.net")
	x := &counting{does: func(context.Context, string, []int) []deliver.Result { return []deliver.Result{{Reply: "450 later"}} }}
	schedule := func(int) time.Duration { return 300 * time.Millisecond }
	_, stop := run(t, Config{Spool: s, Route: one(x), Schedule: schedule})
	eventually(t, "an attempt", func() bool { return s.Messages()[0].Attempts() == 1 })
	stop()
	s.Close()

	s = openSpool(t, dir)
	due := s.Messages()[0].NextTry()
	p := &peer{}
	p.start(t, "127.0.0.1:0")
	var at time.Time
	q, _ := run(t, Config{Spool: s, Route: one(smtpTo(t, p.addr)), Schedule: schedule, Observe: func(a Attempt) {
		if at = time.Now(); a.Number != 2 || a.Outcome != deliver.Delivered {
			t.Errorf("%+v", a)
		}
	}})
	eventually(t, "it is delivered", func() bool { return q.Stats().Delivered == 1 && len(s.Messages()) == 0 })
	if at.Before(due) || x.count() != 1 {
		t.Errorf("tried %v before it was due", due.Sub(at))
	}
}

// TestRouteError: a recipient without a route waits, and the others do not wait for it.
func TestRouteError(t *testing.T) {
	p := &peer{}
	p.start(t, "127.0.0.1:0")
	s := openSpool(t, t.TempDir())
	var broken atomic.Bool
	broken.Store(true)
	x := smtpTo(t, p.addr)
	m := commit(t, s, spool.Envelope{}, "bob@example.net", "carol@example.org")
	q, _ := run(t, Config{Spool: s, Route: func(_ context.Context, _, to string) (Route, error) {
		if broken.Load() && strings.HasSuffix(to, ".org") {
			return Route{}, errors.New("the table\x1b could not be asked")
		}
		return Route{Transport: x}, nil
	}})
	eventually(t, "bob has it", func() bool { return len(p.all()) == 1 && m.Attempts() > 1 })
	env, err := m.Envelope()
	if err != nil || env.Recipients[1].Reply != `no route: the table\x1b could not be asked` || env.Recipients[1].State != spool.Pending {
		t.Errorf("%+v, %v", env.Recipients, err)
	}
	broken.Store(false)
	eventually(t, "carol has it", func() bool { return len(s.Messages()) == 0 && q.Stats().Delivered == 2 })
	if got := p.all(); !slices.Equal(got, []string{"bob@example.net", "carol@example.org"}) {
		t.Errorf("the peer has %v", got)
	}
}

// TestPanic: a transport's panic costs one attempt.
func TestPanic(t *testing.T) {
	s := openSpool(t, t.TempDir())
	commit(t, s, spool.Envelope{}, "bob@example.net")
	var tries atomic.Int64
	x := &counting{does: func(context.Context, string, []int) []deliver.Result {
		if tries.Add(1) == 1 {
			panic("oops")
		}
		return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 ok"}}
	}}
	q, _ := run(t, Config{Spool: s, Route: one(x)})
	eventually(t, "it is delivered", func() bool { return q.Stats().Delivered == 1 && len(s.Messages()) == 0 })
	if q.Stats().Retried != 1 {
		t.Errorf("%+v", q.Stats())
	}
}

// TestLog: one line for each recipient.
func TestLog(t *testing.T) {
	p := &peer{rcpt: func(to string) error {
		if strings.HasPrefix(to, "nobody") {
			return never("no\x1b such user")
		}
		return nil
	}}
	p.start(t, "127.0.0.1:0")
	s := openSpool(t, t.TempDir())
	m := commit(t, s, spool.Envelope{}, "bob@example.net", "nobody@example.net")
	var out bytes.Buffer
	_, stop := run(t, Config{Spool: s, Route: one(smtpTo(t, p.addr)), Log: slog.New(slog.NewTextHandler(&out, nil))})
	eventually(t, "it is dealt with", func() bool { return len(s.Messages()) == 0 })
	stop()
	for _, want := range []string{
		"level=INFO msg=delivery queue=" + m.ID() + " from=alice@example.com to=bob@example.net relay=[" + strings.Replace(p.addr, ":", "]:", 1) + " attempt=1 delay=",
		` dsn=2.0.0 stat=Sent reply="250 2.0.0 OK: queued"`,
		"level=WARN msg=delivery queue=" + m.ID() + " from=alice@example.com to=nobody@example.net",
		` dsn=5.1.1 stat=Failed reply="550 5.1.1 no\\x1b such user"`,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

// TestCrash: of what was written down before the process was killed, nothing is delivered
// again; what was under way is.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	m := commit(t, s, spool.Envelope{}, "bob@example.net", "carol@example.org")
	commit(t, s, spool.Envelope{}, "dave@example.net")
	quick := &counting{does: func(context.Context, string, []int) []deliver.Result {
		return []deliver.Result{{Outcome: deliver.Delivered, Reply: "250 ok"}}
	}}
	slow := &counting{does: func(ctx context.Context, _ string, _ []int) []deliver.Result {
		<-ctx.Done()
		return []deliver.Result{{Reply: "given up"}}
	}}
	route := func(_ context.Context, _, to string) (Route, error) {
		if strings.HasSuffix(to, ".org") {
			return Route{Transport: slow}, nil
		}
		return Route{Transport: quick}, nil
	}
	q, _ := run(t, Config{Spool: s, Route: route, Drain: time.Millisecond})
	eventually(t, "all but carol have it", func() bool { return q.Stats().Delivered == 2 && q.Stats().Active == 1 })
	time.Sleep(300 * time.Millisecond) // what is written down goes to the disk soon, not at once
	after := t.TempDir()
	if err := os.CopyFS(after, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}

	s = openSpool(t, after)
	if left := s.Messages(); len(left) != 1 || left[0].ID() != m.ID() {
		t.Fatalf("%d messages are left", len(left))
	}
	p := &peer{}
	p.start(t, "127.0.0.1:0")
	q, _ = run(t, Config{Spool: s, Route: one(smtpTo(t, p.addr))})
	eventually(t, "carol has it", func() bool { return q.Stats().Delivered == 1 && len(s.Messages()) == 0 })
	if got := p.all(); !slices.Equal(got, []string{"carol@example.org"}) {
		t.Errorf("after the crash %v are delivered", got)
	}
}

// TestNotWritten: when it cannot be written down that a message was delivered, it is not
// delivered again; writing is tried again.
func TestNotWritten(t *testing.T) {
	for _, outcome := range []deliver.Outcome{deliver.Delivered, deliver.Failed, deliver.Deferred} {
		s := openSpool(t, t.TempDir())
		m := commit(t, s, spool.Envelope{}, "bob@example.net")
		x := &counting{does: func(context.Context, string, []int) []deliver.Result {
			s.Close()
			return []deliver.Result{{Outcome: outcome, Reply: "an answer"}}
		}}
		var mu sync.Mutex
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&locked{&mu, &out}, nil))
		run(t, Config{Spool: s, Route: one(x), Log: log})
		eventually(t, "it was tried to write it down again", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return strings.Count(out.String(), "cannot write down what became of a message") > 2
		})
		if x.count() != 1 || m.Held() {
			t.Errorf("%v: %d attempts", outcome, x.count())
		}
	}
}

type locked struct {
	mu  *sync.Mutex
	out *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

// TestRemoved: a message that somebody else has removed is forgotten.
func TestRemoved(t *testing.T) {
	s := openSpool(t, t.TempDir())
	m := commit(t, s, spool.Envelope{}, "bob@example.net")
	waiting := commit(t, s, spool.Envelope{}, "bob@example.net")
	x := &counting{does: func(_ context.Context, id string, _ []int) []deliver.Result {
		if id == m.ID() {
			m.Remove()
		}
		return []deliver.Result{{Reply: "450 later"}}
	}}
	q, _ := run(t, Config{Spool: s, Route: one(x)})
	eventually(t, "an attempt for each", func() bool { return q.Stats().Retried >= 2 })
	waiting.Remove()
	eventually(t, "both are forgotten", func() bool {
		st := q.Stats()
		return st.Ready+st.Active+st.Deferred == 0
	})
	time.Sleep(50 * time.Millisecond)
	if st := q.Stats(); st.Deferred+st.Held != 0 {
		t.Errorf("%+v", st)
	}
}
