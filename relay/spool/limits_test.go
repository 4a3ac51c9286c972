package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestManyRecipients has as many recipients as are taken, each with the longest answer:
// the state must be readable wherever it stands.
func TestManyRecipients(t *testing.T) {
	dir := paperDir(t)
	o := Options{Log: slog.New(slog.DiscardHandler), delay: time.Millisecond}
	s := open(t, dir, o)
	e := envelope(1)
	e.Recipients = nil
	var u Update
	for i := range s.o.mostRecipients() {
		e.Recipients = append(e.Recipients, Recipient{Address: fmt.Sprintf("recipient%d@%0150d.example.net", i, i)})
		u.Recipients = append(u.Recipients, Change{Index: i, Reply: strings.Repeat("x", maxReply), Status: strings.Repeat("5", maxStatus)})
	}
	m := mustPut(t, s, e, text(100))
	if _, err := m.s.Create(Envelope{Recipients: append(e.Recipients, e.Recipients[0])}); err == nil {
		t.Error("one more is taken")
	}
	if err := m.Update(u); err != nil {
		t.Fatal(err)
	}
	for i := range e.Recipients {
		e.Recipients[i].Reply, e.Recipients[i].Status = u.Recipients[i].Reply, u.Recipients[i].Status
	}
	written := func(s *Spool) {
		t.Helper()
		if len(s.Messages()) != 1 {
			t.Fatalf("%d messages", len(s.Messages()))
		}
		got, err := s.Messages()[0].Envelope()
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range got.Recipients {
			if r != e.Recipients[i] {
				t.Fatalf("recipient %d has an answer of %d bytes", i, len(r.Reply))
			}
		}
	}
	until(t, "the state to be written", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.pending[m] == nil
	})
	written(s)
	s = reopen(t, s, dir, o)
	written(s)

	m = s.Messages()[0]
	if err := s.appendStates(m.latestSegment, []*Message{m}); err != nil {
		t.Fatal(err)
	}
	written(s)
	mv, err := s.copyOut(m)
	if err == nil {
		err = s.settleMoved([]moved{mv})
	}
	if err != nil {
		t.Fatal(err)
	}
	written(s)
	s = reopen(t, s, dir, o)
	written(s)
	if body, err := bodyOf(s.Messages()[0]); err != nil || !bytes.Equal(body, text(100)) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}

// TestRecipientsOfTheConfiguration: as many as relay.max_recipients can be, each with the
// longest address that is taken (smtp.MaxPath), and the longest ORCPT.
func TestRecipientsOfTheConfiguration(t *testing.T) {
	dir := paperDir(t)
	s := open(t, dir, Options{Log: slog.New(slog.DiscardHandler)})
	e := envelope(1)
	e.Recipients = make([]Recipient, 10_000)
	for i := range e.Recipients {
		e.Recipients[i].Address = fmt.Sprintf("%0255d", i)
		e.Recipients[i].Notify, e.Recipients[i].ORcpt = NotifyNever, fmt.Sprintf("rfc822;%0493d", i)
	}
	check(t, mustPut(t, s, e, text(100)), e, text(100))
}

// TestEmptyMessageWithLongEnvelope fits into no batch with other records.
func TestEmptyMessageWithLongEnvelope(t *testing.T) {
	dir := paperDir(t)
	o := Options{Log: slog.New(slog.DiscardHandler)}
	s := open(t, dir, o)
	e := Envelope{Arrived: time.Now(), Recipients: make([]Recipient, 15_000)}
	for i := range e.Recipients {
		e.Recipients[i].Address = strings.Repeat("a", 275)
	}
	st := stateOf(&e)
	rest := int(s.o.mostHead()) - len(appendState(appendEnvelope(nil, &e), &st))
	e.Sender = strings.Repeat("s", rest)
	for len(appendState(appendEnvelope(nil, &e), &st)) > int(s.o.mostHead()) {
		e.Sender = e.Sender[1:]
	}
	w, err := s.Create(e)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := w.Commit(ctx); err != nil {
		t.Errorf("commit: %v", err)
	}
	if n := s.Stats().Segments; n > 2 {
		t.Errorf("%d segments", n)
	}
	if s = reopen(t, s, dir, o); len(s.Messages()) != 1 {
		t.Fatalf("%d messages", len(s.Messages()))
	}
	check(t, s.Messages()[0], e, nil)
}

// TestSizesAtEveryEdge has messages whose records end about where a chunk, a page, the
// limit of the log, and a segment end.
func TestSizesAtEveryEdge(t *testing.T) {
	dir := paperDir(t)
	o := small()
	o.d = lazyDisk{dirDisk(dir)}
	s := open(t, dir, o)
	e := envelope(7)
	st := stateOf(&e)
	head := headerSize + len(appendState(appendEnvelope(nil, &e), &st))
	sizes := map[string]int{}
	for _, edge := range []int{head, page, smallChunk, 2 * page, smallChunk + 1, int(o.inline), smallChunk + bigChunk, int(o.segmentSize), int(o.segmentSize) + page} {
		for by := -2; by <= 2; by++ {
			n := max(0, edge-head+by)
			sizes[mustPut(t, s, e, text(n)).ID()] = n
			// The next batch begins at another place in the segment.
			sizes[mustPut(t, s, e, text(n%977)).ID()] = n % 977
		}
	}
	for range 3 {
		if len(s.Messages()) != len(sizes) {
			t.Fatalf("%d messages, want %d", len(s.Messages()), len(sizes))
		}
		for _, m := range s.Messages() {
			check(t, m, e, text(sizes[m.ID()]))
		}
		s = reopen(t, s, dir, o)
	}
}

// TestReadAgain: what is read a second time is checked a second time.
func TestReadAgain(t *testing.T) {
	for _, first := range []int{100, 5000, 30_000} {
		dir := t.TempDir()
		s := open(t, dir, small())
		m := mustPut(t, s, envelope(1), text(30_000))
		r, err := m.Open()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := readN(r, first); err != nil {
			t.Fatal(err)
		}
		spoil(t, dir+"/"+mailName(m.id), 2000, []byte("damage"))
		if _, err := r.Seek(0, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := readN(r, 30_000); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d bytes read before: %v", first, err)
		}
	}
}

func readN(r interface{ Read([]byte) (int, error) }, n int) (int, error) {
	buf, done := make([]byte, 1000), 0
	for done < n {
		k, err := r.Read(buf[:min(len(buf), n-done)])
		if done += k; err != nil {
			return done, err
		}
	}
	return done, nil
}
