package rewrite

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"gatepost/maps"
	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// taker is a transport that keeps what it gets, as often as it reads it.
type taker struct {
	sender, to, body, again string
	size                    int64
	message                 deliver.Message
	err                     error
}

func (k *taker) String() string { return "taker" }

func (k *taker) Deliver(_ context.Context, _ string, m deliver.Message, recipients []int) []deliver.Result {
	k.message = m
	k.sender, k.size, k.to = m.Envelope().Sender, m.Size(), m.Envelope().Recipients[0].Address
	k.body, k.again, k.err = readTwice(m)
	results := make([]deliver.Result, len(recipients))
	for i := range results {
		results[i].Outcome = deliver.Delivered
	}
	return results
}

// readTwice reads a message from its beginning, after a look at its first bytes.
func readTwice(m deliver.Message) (body, again string, err error) {
	r, err := m.Open()
	if err != nil {
		return "", "", err
	}
	defer r.Close()
	if _, err = io.CopyN(io.Discard, r, min(7, m.Size())); err == nil {
		_, err = r.Seek(0, io.SeekStart)
	}
	if err != nil {
		return "", "", err
	}
	first, err := io.ReadAll(r)
	if err != nil {
		return "", "", err
	}
	if _, err = r.Seek(0, io.SeekStart); err != nil {
		return "", "", err
	}
	second, err := io.ReadAll(r)
	return string(first), string(second), err
}

// stored is a message in a real spool, as the queue hands it over.
type stored struct {
	*spool.Message
	env     spool.Envelope
	settled int
}

func (s *stored) Envelope() spool.Envelope            { return s.env }
func (s *stored) Settled(_ []int, _ []deliver.Result) { s.settled++ }

func store(t *testing.T, sender, to, body string) *stored {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w, err := s.Create(spool.Envelope{Sender: sender, Recipients: []spool.Recipient{{Address: to}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, body); err != nil {
		t.Fatal(err)
	}
	m, err := w.Commit(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	env, err := m.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	return &stored{Message: m, env: env}
}

func TestTransport(t *testing.T) {
	long := strings.Repeat("From: ann@lan.example in the text\r\n", 5000)
	account := site("masquerade_envelope")
	account.c.Accounts.Hosts = map[string]string{"isp.example": "joe@isp.example"}
	for name, c := range map[string]struct {
		r                    *Rewriter
		mailer               Mailer
		sender, to, body     string
		newSender, newTo     string
		newBody, destination string
	}{
		"header":            {site(), Relay, "ann@lan.example", "x@y.example", "From: ann@lan.example\r\n\r\n" + long, "ann@lan.example", "x@y.example", "From: ann@example.com\r\n\r\n" + long, ""},
		"envelope":          {site("masquerade_envelope"), SMTP, "ann@lan.example", "ann", "\r\nFrom: ann@lan.example\r\n", "ann@example.com", "ann@gw.lan.example", "\r\nFrom: ann@lan.example\r\n", ""},
		"local":             {site("masquerade_envelope", "local_no_masquerade"), Local, "ann@lan.example", "ann", "From: ann@lan.example\r\n\r\n", "ann@lan.example", "ann", "From: ann@lan.example\r\n\r\n", ""},
		"header alone":      {site(), Relay, "", "x@y.example", "From: ann@lan.example\r\n", "", "x@y.example", "From: ann@example.com\r\n", ""},
		"empty":             {site(), Relay, "", "x@y.example", "", "", "x@y.example", "", ""},
		"account":           {account, Relay, "ann@lan.example", "x@y.example", "From: ann@lan.example\r\n\r\n" + long, "joe@isp.example", "x@y.example", "From: joe@isp.example\r\nReply-To: ann@example.com\r\n\r\n" + long, "[isp.example]:587"},
		"account, null":     {account, Relay, "", "x@y.example", "From: ann@other.example\r\n\r\n", "", "x@y.example", "From: joe@isp.example\r\nReply-To: ann@other.example\r\n\r\n", "[isp.example]:587"},
		"account elsewhere": {account, SMTP, "ann@lan.example", "x@y.example", "From: ann@other.example\r\n\r\n", "ann@example.com", "x@y.example", "From: ann@other.example\r\n\r\n", "[other.example]"},
		"folded end":        {site(), Relay, "", "x@y.example", "From: ann@lan.example\r\n \r\n\r\nbody\r\n", "", "x@y.example", "From: ann@example.com\r\n \r\n\r\nbody\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := store(t, c.sender, c.to, c.body)
			next := &taker{}
			tr := &Transport{Next: next, Mailer: c.mailer, Rewriter: func() *Rewriter { return c.r }}
			if got := tr.Deliver(t.Context(), c.destination, m, []int{0}); len(got) != 1 || got[0].Outcome != deliver.Delivered {
				t.Fatalf("results %v", got)
			}
			if next.sender != c.newSender || next.to != c.newTo {
				t.Errorf("from %q to %q, want from %q to %q", next.sender, next.to, c.newSender, c.newTo)
			}
			if next.body != c.newBody || next.again != c.newBody || next.err != nil {
				t.Errorf("the message is %.200q, then %.200q (error %v), want %.200q", next.body, next.again, next.err, c.newBody)
			}
			if next.size != int64(len(c.newBody)) {
				t.Errorf("size %d, want %d", next.size, len(c.newBody))
			}
			if m.env.Sender != c.sender || m.env.Recipients[0].Address != c.to {
				t.Error("the queue's own envelope was changed")
			}
			unchanged := c.sender == c.newSender && c.to == c.newTo && c.body == c.newBody
			if (next.message == deliver.Message(m)) != unchanged {
				t.Error("there is a message in between, or none, against what was to be changed")
			}
		})
	}
}

// TestNothingConfigured: what has nothing to do with rewriting costs nothing.
func TestNothingConfigured(t *testing.T) {
	m := store(t, "ann", "x@y.example", "From: ann\r\n\r\n")
	for _, r := range []*Rewriter{nil, New(Config{HostName: "gw.lan.example"})} {
		next := &taker{}
		tr := &Transport{Next: next, Rewriter: func() *Rewriter { return r }}
		tr.Deliver(t.Context(), "", m, []int{0})
		if next.message != deliver.Message(m) {
			t.Error("the message was wrapped")
		}
	}
}

func TestSettledIsPassedOn(t *testing.T) {
	m := store(t, "ann@lan.example", "x@y.example", "From: ann@lan.example\r\n\r\n")
	next := &taker{}
	(&Transport{Next: next, Rewriter: func() *Rewriter { return site() }}).Deliver(t.Context(), "", m, []int{0})
	next.message.(interface{ Settled([]int, []deliver.Result) }).Settled([]int{0}, nil)
	if m.settled != 1 {
		t.Errorf("told %d times", m.settled)
	}
}

// damaged is a message whose reader finds damage at its end, as the spool's does.
type damaged struct{ *stored }

func (d damaged) Open() (io.ReadSeekCloser, error) {
	r, err := d.stored.Open()
	return &damagedReader{ReadSeekCloser: r, left: d.Size()}, err
}

type damagedReader struct {
	io.ReadSeekCloser
	left int64
}

func (r *damagedReader) Read(p []byte) (int, error) {
	n, err := r.ReadSeekCloser.Read(p)
	if r.left -= int64(n); r.left <= 0 {
		return 0, spool.ErrDamaged
	}
	return n, err
}

func (r *damagedReader) Seek(off int64, whence int) (int64, error) {
	r.left += 7 // what was read before, by readTwice
	return r.ReadSeekCloser.Seek(off, whence)
}

func TestDamageComesOut(t *testing.T) {
	for name, c := range map[string]struct {
		body    string
		refused bool // before the next transport is asked
	}{
		"in the text":   {"From: ann@lan.example\r\n\r\n" + strings.Repeat("text\r\n", 20_000), false},
		"in the header": {"From: ann@lan.example\r\n", true},
	} {
		next := &taker{}
		tr := &Transport{Next: next, Rewriter: func() *Rewriter { return site() }}
		got := tr.Deliver(t.Context(), "", damaged{store(t, "", "x@y.example", c.body)}, []int{0})
		switch {
		case c.refused && (got[0].Outcome != deliver.Failed || got[0].Reply != spool.ErrDamaged.Error() || next.message != nil):
			t.Errorf("%s: %v", name, got)
		case !c.refused && !errors.Is(next.err, spool.ErrDamaged):
			t.Errorf("%s: read with error %v", name, next.err)
		}
	}
}

func TestNotSentAsItIs(t *testing.T) {
	r := New(Config{HostName: "gw.lan.example", MasqueradeAs: "example.com", Local: []maps.Map{broken{}}})
	next := &taker{}
	tr := &Transport{Next: next, Rewriter: func() *Rewriter { return r }}
	got := tr.Deliver(t.Context(), "", store(t, "", "x@y.example", "From: a@lan.example\r\n\r\n"), []int{0, 0})
	if next.message != nil || len(got) != 2 || got[1].Outcome != deliver.Deferred {
		t.Errorf("results %v, message %v", got, next.message)
	}
}

// asked counts the questions to a table.
type asked struct{ n int }

func (a *asked) Lookup(context.Context, string) (maps.Entry, bool, error) {
	a.n++
	return maps.Entry{}, false, nil
}

// TestManyRecipients: a delivery asks about its own recipients. A message for many places
// would ask the tables about each for each.
func TestManyRecipients(t *testing.T) {
	class := &asked{}
	r := New(Config{HostName: "gw.lan.example", MasqueradeAs: "example.com", Local: []maps.Map{class}})
	m := letter{spool.Envelope{Recipients: make([]spool.Recipient, 1000)}, []byte("From: a@lan.example\r\n\r\n")}
	for i := range m.env.Recipients {
		m.env.Recipients[i].Address = "joe@pc"
	}
	m.env.Recipients[7].Address = "joe"
	next := &taker{}
	tr := &Transport{Next: next, Mailer: SMTP, Rewriter: func() *Rewriter { return r }}
	tr.Deliver(t.Context(), "", m, []int{7})
	if got := next.message.Envelope().Recipients[7].Address; got != "joe@gw.lan.example" || class.n > 10 {
		t.Errorf("for %s the tables were asked %d times", got, class.n)
	}
}

func TestSeek(t *testing.T) {
	m := store(t, "", "x@y.example", "From: ann@lan.example\r\n\r\nbody\r\n")
	out, err := site().message(t.Context(), Relay, "", m, []int{0})
	if err != nil {
		t.Fatal(err)
	}
	r, err := out.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const whole = "From: ann@example.com\r\n\r\nbody\r\n"
	for _, off := range []int64{30, 3, 0, 23, 24, int64(len(whole)), 100} {
		at, err := r.Seek(off-int64(len(whole)), io.SeekEnd)
		if at != off || err != nil {
			t.Fatalf("seek to %d gave %d, %v", off, at, err)
		}
		rest, err := io.ReadAll(r)
		if want := whole[min(off, int64(len(whole))):]; string(rest) != want || err != nil {
			t.Errorf("from %d: %q, %v", off, rest, err)
		}
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("a seek to before the message succeeded")
	}
}
