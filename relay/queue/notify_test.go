package queue

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"gatepost/relay/bounce"
	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// answers is a transport whose answer depends on the beginning of the address.
func answers(by map[string]deliver.Result) *counting {
	return &counting{Transport: answering(by)}
}

type answering map[string]deliver.Result

func (answering) String() string { return "answering" }
func (a answering) Deliver(_ context.Context, _ string, m deliver.Message, to []int) []deliver.Result {
	results := make([]deliver.Result, len(to))
	for n, i := range to {
		word, _, _ := strings.Cut(m.Envelope().Recipients[i].Address, "-")
		results[n] = a[word]
		results[n].Relay = "mx"
	}
	return results
}

var usual = map[string]deliver.Result{
	"ok":    {Outcome: deliver.Delivered, Reply: "250 ok"},
	"final": {Outcome: deliver.Delivered, Reply: "stored", Final: true},
	"tells": {Outcome: deliver.Delivered, Reply: "250 ok", Notifies: true},
	"never": {Outcome: deliver.Failed, Reply: "550 no"},
	"later": {Reply: "450 later"},
}

// TestNotify: who is told of what, by what was asked for.
func TestNotify(t *testing.T) {
	const all = spool.NotifySuccess | spool.NotifyFailure | spool.NotifyDelay
	for _, test := range []struct {
		name   string
		to     string
		notify spool.Notify
		null   bool
		age    time.Duration
		want   string // kinds of reports
		left   string // of the message
	}{
		{name: "nothing asked", to: "never", want: "failure"},
		{name: "FAILURE", to: "never", notify: spool.NotifyFailure, want: "failure"},
		{name: "NEVER", to: "never", notify: spool.NotifyNever},
		{name: "SUCCESS only", to: "never", notify: spool.NotifySuccess},
		{name: "null sender", to: "never", notify: spool.NotifyNever, null: true, want: "failure"},
		{name: "delivered", to: "ok"},
		{name: "delivered, SUCCESS", to: "ok", notify: all, want: "success"},
		{name: "delivered, FAILURE", to: "ok", notify: spool.NotifyFailure},
		{name: "the next hop tells", to: "tells", notify: all},
		{name: "null sender, SUCCESS", to: "ok", notify: all, null: true},
		{name: "young", to: "later", left: "pending"},
		{name: "late", to: "later", age: 5 * time.Hour, want: "delay", left: "pending"},
		{name: "late, DELAY", to: "later", notify: spool.NotifyDelay, age: 5 * time.Hour, want: "delay", left: "pending"},
		{name: "late, FAILURE", to: "later", notify: spool.NotifyFailure, age: 5 * time.Hour, left: "pending"},
		{name: "late, null sender", to: "later", null: true, age: 5 * time.Hour, left: "pending"},
		{name: "too late", to: "later", age: 200 * time.Hour, want: "failure"},
	} {
		s := openSpool(t, t.TempDir())
		e := spool.Envelope{Arrived: time.Now().Add(-test.age), Recipients: []spool.Recipient{{Address: test.to + "-a@example.net", Notify: test.notify}}}
		e.Sender = "alice@example.com"
		if test.null {
			e.Sender = ""
		}
		m := put(t, s, e)
		r := &told{}
		tried := make(chan struct{}, 100)
		q, stop := run(t, Config{
			Spool: s, Route: one(answers(usual)), Report: r.report, Warn: 4 * time.Hour,
			Schedule: func(int) time.Duration { return 5 * time.Millisecond },
			Observe:  func(Attempt) { tried <- struct{}{} },
		})
		<-tried
		if test.left == "" {
			eventually(t, test.name+": it is dealt with", func() bool { return len(s.Messages()) == 0 })
		} else {
			<-tried
			<-tried
			<-tried
			if got := states(t, m); !strings.Contains(got, " "+test.left+" ") {
				t.Errorf("%s: the spool says %s", test.name, got)
			}
		}
		stop()
		got, _, _ := strings.Cut(r.String(), " ")
		if got != test.want || strings.Count(r.String(), "\n") > 0 || q.Stats().Held != 0 {
			t.Errorf("%s: told %q", test.name, r)
		}
	}
}

// put is commit for an envelope that is complete, the null sender included.
func put(t testing.TB, s *spool.Spool, e spool.Envelope) *spool.Message {
	t.Helper()
	w, err := s.Create(e)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := io.WriteString(w, body4k); err != nil {
		t.Fatal(err)
	}
	m, err := w.Commit(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestReceipt: what is final and what is not, in one report; others wait.
func TestReceipt(t *testing.T) {
	s := openSpool(t, t.TempDir())
	var mu sync.Mutex
	var got []bounce.Report
	put(t, s, spool.Envelope{Sender: "alice@example.com", Recipients: []spool.Recipient{
		{Address: "later-a@example.net"}, {Address: "final-a@example.net", Notify: spool.NotifySuccess},
		{Address: "ok-a@example.net", Notify: spool.NotifySuccess}, {Address: "ok-b@example.net"},
	}})
	run(t, Config{Spool: s, Route: one(answers(usual)), Report: func(_ context.Context, r *bounce.Report) ([]*spool.Message, error) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, *r)
		return nil, nil
	}})
	eventually(t, "several attempts", func() bool { m := s.Messages(); return len(m) == 1 && m[0].Attempts() > 2 })
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 1 || got[0].Kind != bounce.Success || len(got[0].Recipients) != 2 || len(got[0].Final) != 1 || got[0].Final[0] != 1 {
		t.Fatalf("%+v", got)
	}
	if want := "later-a@example.net pending 450 later\nfinal-a@example.net reported stored\nok-a@example.net reported 250 ok\nok-b@example.net delivered 250 ok\n"; states(t, s.Messages()[0]) != want {
		t.Errorf("the spool says %s", states(t, s.Messages()[0]))
	}
}

// TestReportFails: as long as the sender cannot be told, the message stays, and is not
// tried again; a panic is no more than that.
func TestReportFails(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	m := commit(t, s, spool.Envelope{}, "never-a@example.net")
	x := answers(usual)
	r := &told{err: spool.ErrFull}
	calls := 0
	q, stop := run(t, Config{Spool: s, Route: one(x), Report: func(ctx context.Context, b *bounce.Report) ([]*spool.Message, error) {
		if calls++; calls == 2 {
			panic("oops")
		}
		return r.report(ctx, b)
	}})
	eventually(t, "it fails", func() bool { return q.Stats().Failed == 1 })
	time.Sleep(100 * time.Millisecond)
	if got := states(t, m); got != "never-a@example.net failed 550 no\n" || x.count() != 1 {
		t.Errorf("the spool says %s, %d attempts", got, x.count())
	}
	stop()
	s.Close()
	s = openSpool(t, dir)
	r.fails(nil)
	run(t, Config{Spool: s, Route: one(x), Report: r.report})
	eventually(t, "it is dealt with", func() bool { return len(s.Messages()) == 0 })
	if r.String() != "failure never-a@example.net failed  550 no" || x.count() != 1 {
		t.Errorf("told %q, %d attempts", r, x.count())
	}
}

// TestReportDelivered: with real reports, the sender's server gets one, about one that
// nobody takes the postmaster gets one, and then nothing is left.
func TestReportDelivered(t *testing.T) {
	s := openSpool(t, t.TempDir())
	w := bounce.New(bounce.Config{Spool: s, HostName: "relay.example.com", Size: 1 << 20, DoubleTo: "ok-post@example.com", Log: slog.New(slog.DiscardHandler)})
	x := answers(usual)
	put(t, s, spool.Envelope{Sender: "never-alice@example.com", Recipients: []spool.Recipient{{Address: "never-a@example.net"}}})
	q, _ := run(t, Config{Spool: s, Route: one(x), Report: w.Write})
	eventually(t, "all is dealt with", func() bool { return len(s.Messages()) == 0 && q.Stats().Delivered == 1 })
	if st := q.Stats(); st.Failed != 2 || st.Reports[bounce.Failure] != 2 || x.count() != 3 {
		t.Errorf("%+v, %d attempts", st, x.count())
	}
}

// TestReportSurvivesCrash: the spool's files are copied at the moment when the report is on
// the disk and what it means for the message is not. After that crash there is a report,
// perhaps one more, and nobody gets the message twice.
func TestReportSurvivesCrash(t *testing.T) {
	dir, after := t.TempDir(), t.TempDir()
	s := openSpool(t, dir)
	w := bounce.New(bounce.Config{Spool: s, HostName: "relay.example.com", Log: slog.New(slog.DiscardHandler)})
	m := commit(t, s, spool.Envelope{}, "never-a@example.net")
	q, stop := run(t, Config{Spool: s, Route: func(_ context.Context, _, to string) (Route, error) {
		if strings.HasPrefix(to, "alice") {
			return Route{}, errors.New("not now")
		}
		return Route{Transport: answers(usual)}, nil
	}, Report: func(ctx context.Context, r *bounce.Report) ([]*spool.Message, error) {
		written, err := w.Write(ctx, r)
		if err == nil {
			err = os.CopyFS(after, os.DirFS(dir))
		}
		return written, err
	}})
	eventually(t, "it is reported", func() bool { return q.Stats().Reports[bounce.Failure] == 1 })
	stop()
	s = openSpool(t, after)
	left := s.Messages()
	if len(left) != 2 || left[0].ID() != m.ID() {
		t.Fatalf("%d messages after the crash", len(left))
	}
	if env, err := left[1].Envelope(); err != nil || env.Sender != "" || env.Recipients[0].Address != "alice@example.com" {
		t.Errorf("%+v, %v", env, err)
	}
}

// TestSettled: what one of several transactions of an attempt has come to is written down
// before the attempt ends.
func TestSettled(t *testing.T) {
	s := openSpool(t, t.TempDir())
	m := commit(t, s, spool.Envelope{}, "ok-a@example.net", "later-b@example.net", "never-c@example.net", "ok-d@example.net")
	seen := make(chan string, 10)
	q, _ := run(t, Config{Spool: s, Route: one(&twoStep{seen: func() { seen <- states(t, m) }}), Report: (&told{}).report, Schedule: func(int) time.Duration { return time.Hour }})
	if got := <-seen; got != "ok-a@example.net delivered 250 ok\nlater-b@example.net pending \nnever-c@example.net failed 550 no\nok-d@example.net pending \n" {
		t.Errorf("after the first transaction the spool says %s", got)
	}
	eventually(t, "the round has ended", func() bool { return q.Stats().Retried == 1 })
	if got := states(t, m); got != "ok-a@example.net delivered 250 ok\nlater-b@example.net pending 450 later\nnever-c@example.net reported 550 no\nok-d@example.net delivered 250 ok\n" {
		t.Errorf("at the end the spool says %s", got)
	}
	if st := q.Stats(); st.Delivered != 2 || st.Failed != 1 {
		t.Errorf("%+v", st)
	}
}

// twoStep tells of its first three recipients before it goes on with the rest.
type twoStep struct{ seen func() }

func (*twoStep) String() string { return "two steps" }
func (x *twoStep) Deliver(ctx context.Context, _ string, m deliver.Message, to []int) []deliver.Result {
	results := answering(usual).Deliver(ctx, "", m, to)
	m.(interface{ Settled([]int, []deliver.Result) }).Settled(to[:3], results[:3])
	x.seen()
	return results
}

// TestReportHalfFails: a report that is on the disk is not written again because another
// one about the same message could not be.
func TestReportHalfFails(t *testing.T) {
	s := openSpool(t, t.TempDir())
	put(t, s, spool.Envelope{Sender: "alice@example.com", Recipients: []spool.Recipient{
		{Address: "never-a@example.net"}, {Address: "ok-b@example.net", Notify: spool.NotifySuccess},
	}})
	r := &told{}
	failures := 0
	run(t, Config{Spool: s, Route: one(answers(usual)), Report: func(ctx context.Context, b *bounce.Report) ([]*spool.Message, error) {
		if b.Kind == bounce.Success && failures < 3 {
			failures++
			return nil, spool.ErrFull
		}
		return r.report(ctx, b)
	}})
	eventually(t, "it is dealt with", func() bool { return len(s.Messages()) == 0 })
	if got := r.String(); strings.Count(got, "failure") != 1 || strings.Count(got, "success") != 1 {
		t.Errorf("told\n%s", got)
	}
}
