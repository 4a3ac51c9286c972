package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// small options bring segments to an end soon.
func small() Options {
	return Options{Log: slog.New(slog.DiscardHandler), segmentSize: 64 << 10, inline: 12 << 10, delay: 2 * time.Millisecond, segments: 2}
}

func open(t testing.TB, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func reopen(t testing.TB, s *Spool, dir string, o Options) *Spool {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, o)
}

// envelope is one that has everything.
func envelope(n int) Envelope {
	return Envelope{
		Arrived: time.Unix(1_700_000_000+int64(n), 5), Sender: fmt.Sprintf("s%d@example.com", n), EightBit: n%2 == 0, UTF8: n%3 == 0,
		Recipients: []Recipient{{Address: `"a b"@example.net`}, {Address: fmt.Sprintf("r%d@example.net", n)}},
		Client:     Client{Addr: netip.MustParseAddr("2001:db8::1"), Name: "client.example.com", Helo: "helo", Auth: "user"},
	}
}

// text is a message of n bytes that no other has.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	p := make([]byte, 0, n+8)
	for len(p) < n {
		p = binary.LittleEndian.AppendUint64(p, r.Uint64())
	}
	return p[:n]
}

func put(s *Spool, e Envelope, body []byte) (*Message, error) {
	w, err := s.Create(e)
	if err != nil {
		return nil, err
	}
	for p := range slices.Chunk(body, 5000) {
		if _, err := w.Write(p); err != nil {
			w.Abort()
			return nil, err
		}
	}
	return w.Commit(context.Background())
}

func mustPut(t testing.TB, s *Spool, e Envelope, body []byte) *Message {
	t.Helper()
	m, err := put(s, e, body)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func bodyOf(m *Message) ([]byte, error) {
	r, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// check holds a message to what it should be.
func check(t testing.TB, m *Message, e Envelope, body []byte) {
	t.Helper()
	got, err := m.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	e.ID = m.ID()
	if d := cmp.Diff(e, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("%s: envelope (-want +got):\n%s", m.ID(), d)
	}
	data, err := bodyOf(m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, body) || m.Size() != int64(len(body)) {
		t.Errorf("%s: %d bytes (Size %d) are not the %d written", m.ID(), len(data), m.Size(), len(body))
	}
	if !m.Arrived().Equal(e.Arrived) || m.Held() != (e.Hold != "") {
		t.Errorf("%s: arrived %v, held %v", m.ID(), m.Arrived(), m.Held())
	}
}

var sizes = []int{0, 1, 4000, 8 << 10, 11 << 10, 12 << 10, 13 << 10, 70 << 10, 300_000}

func TestMessagesComeBack(t *testing.T) {
	for name, o := range map[string]Options{"small segments": small(), "standard": {Log: slog.New(slog.DiscardHandler)}, "no memory": {MaxMemory: 1, segmentSize: 256 << 10}} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a", "spool")
			s := open(t, dir, o)
			var ids []string
			for i, n := range sizes {
				m := mustPut(t, s, envelope(i), text(n))
				check(t, m, envelope(i), text(n))
				ids = append(ids, m.ID())
			}
			for round := range 2 {
				s = reopen(t, s, dir, o)
				all := s.Messages()
				if len(all) != len(sizes) {
					t.Fatalf("round %d: %d messages", round, len(all))
				}
				for i, m := range all {
					if m.ID() != ids[i] {
						t.Errorf("message %d is %s, want %s", i, m.ID(), ids[i])
					}
					check(t, m, envelope(i), text(sizes[i]))
				}
			}
			m := mustPut(t, s, envelope(1), nil)
			for _, id := range ids {
				if id == m.ID() {
					t.Errorf("id %s was given twice", id)
				}
			}
			if used := s.chunks.used.Load(); used != 0 {
				t.Errorf("%d bytes of memory are still claimed", used)
			}
		})
	}
}

func TestUpdatesComeBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	next := time.Unix(2_000_000_000, 0)
	for i, n := range []int{100, 100_000} {
		m := mustPut(t, s, envelope(i), text(n))
		if err := m.Update(Update{Attempts: new(3), NextTry: &next, Hold: new("why"), Recipients: []Change{{1, Delivered, "250 ok"}}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Update(Update{Recipients: []Change{{0, Failed, strings.Repeat("x", 1000)}}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Update(Update{Recipients: []Change{{2, Failed, ""}}}); err == nil {
			t.Error("a recipient that is not there was changed")
		}
	}
	for round := range 3 {
		for i, m := range s.Messages() {
			e := envelope(i)
			e.Hold, e.Recipients[1].State, e.Recipients[1].Reply = "why", Delivered, "250 ok"
			e.Recipients[0].State, e.Recipients[0].Reply = Failed, strings.Repeat("x", 512)
			check(t, m, e, text([]int{100, 100_000}[i]))
			if m.Attempts() != 3 || !m.NextTry().Equal(next) {
				t.Errorf("round %d: attempts %d, next %v", round, m.Attempts(), m.NextTry())
			}
		}
		if st := s.Stats(); st.Held != 2 || st.Messages != 2 || st.Bytes != 100_100 {
			t.Errorf("stats %+v", st)
		}
		s = reopen(t, s, dir, small())
	}
}

func TestRemovedStaysAway(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	for i := range 40 {
		m := mustPut(t, s, envelope(i), text(i*1000))
		if i%4 != 0 {
			if err := errors.Join(m.Remove(), m.Remove()); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Envelope(); !errors.Is(err, ErrRemoved) {
				t.Errorf("envelope of a removed message: %v", err)
			}
			if err := m.Update(Update{}); !errors.Is(err, ErrRemoved) {
				t.Errorf("update of a removed message: %v", err)
			}
		}
	}
	s = reopen(t, s, dir, small())
	if n := len(s.Messages()); n != 10 {
		t.Fatalf("%d messages are left, want 10", n)
	}
	for i, m := range s.Messages() {
		check(t, m, envelope(4*i), text(4000*i))
	}
}

func TestAbortedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	for _, n := range sizes {
		w, err := s.Create(envelope(n))
		if err != nil {
			t.Fatal(err)
		}
		w.Write(text(n))
		w.Abort()
		if _, err := w.Write(nil); err == nil {
			t.Error("Write after Abort")
		}
		if _, err := w.Commit(context.Background()); err == nil {
			t.Error("Commit after Abort")
		}
	}
	m := mustPut(t, s, envelope(1), text(50_000))
	names, _ := filepath.Glob(dir + "/tmp/*")
	if len(names) > 0 || s.chunks.used.Load() != 0 {
		t.Errorf("left: %v, %d bytes", names, s.chunks.used.Load())
	}
	s = reopen(t, s, dir, small())
	if len(s.Messages()) != 1 || s.Messages()[0].ID() != m.ID() {
		t.Error("not the one message that was committed")
	}
}

// TestLogStaysSmall has messages come and go, and some stay.
func TestLogStaysSmall(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	kept := map[string]int{}
	var wait sync.WaitGroup
	var mu sync.Mutex
	for k := range 4 {
		wait.Go(func() {
			for i := k; i < 800; i += 4 {
				m, err := put(s, envelope(i), text(3000+i))
				if err != nil {
					t.Error(err)
					return
				}
				if i%50 == 0 {
					err = m.Update(Update{Attempts: new(i)})
					mu.Lock()
					kept[m.ID()] = i
					mu.Unlock()
				} else {
					err = m.Remove()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	until(t, "the log to become small", func() bool { return s.Stats().Segments <= 3 })
	verify := func() {
		t.Helper()
		if len(s.Messages()) != len(kept) {
			t.Errorf("%d messages, want %d", len(s.Messages()), len(kept))
		}
		for _, m := range s.Messages() {
			i := kept[m.ID()]
			check(t, m, envelope(i), text(3000+i))
			if m.Attempts() != i {
				t.Errorf("%d attempts, want %d", m.Attempts(), i)
			}
		}
	}
	verify()
	for range 3 {
		s = reopen(t, s, dir, small())
		verify()
	}
	names, _ := filepath.Glob(dir + "/log/*")
	if len(names) > 12 {
		t.Errorf("%d files in the log: %v", len(names), names)
	}
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// TestReaderOutlivesMessage reads on while its segment is used again.
func TestReaderOutlivesMessage(t *testing.T) {
	s := open(t, t.TempDir(), small())
	m := mustPut(t, s, envelope(1), text(10_000))
	r, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m.Remove()
	for i := range 200 {
		if err := mustPut(t, s, envelope(i), text(9000)).Remove(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the log to become small", func() bool { return s.Stats().Segments <= 2 })
	if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, text(10_000)) {
		t.Errorf("read %d bytes, %v", len(data), err)
	}
}

func TestReaderSeeks(t *testing.T) {
	s := open(t, t.TempDir(), small())
	body := text(10_000)
	for _, n := range []int{10_000, 100_000} {
		body = text(n)
		r, err := mustPut(t, s, envelope(1), body).Open()
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int64{500, 0, int64(n) - 3} {
			if _, err := r.Seek(at, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, body[at:]) {
				t.Errorf("from %d: %d bytes, %v", at, len(data), err)
			}
		}
		if end, err := r.Seek(0, io.SeekEnd); err != nil || end != int64(n) {
			t.Errorf("end %d, %v", end, err)
		}
		r.Close()
	}
}

func TestCommitGivenUp(t *testing.T) {
	dir := t.TempDir()
	d := &faultDisk{disk: dirDisk(dir)}
	o := small()
	o.d = d
	s := open(t, dir, o)
	for _, n := range []int{100, 50_000} {
		hold := make(chan struct{})
		d.set(func(op, name string) error {
			if op == "sync" && strings.HasPrefix(name, "log/") || op == "syncDir" && strings.HasPrefix(name, "mail/") {
				<-hold
			}
			return nil
		})
		w, err := s.Create(envelope(n))
		if err != nil {
			t.Fatal(err)
		}
		w.Write(text(n))
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if _, err := w.Commit(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("commit: %v", err)
		}
		cancel()
		d.set(nil)
		close(hold)
		m := mustPut(t, s, envelope(1), text(n))
		m.Remove()
	}
	until(t, "the messages to go", func() bool { return len(s.Messages()) == 0 })
	if s = reopen(t, s, dir, small()); len(s.Messages()) != 0 {
		t.Errorf("%d messages that nobody was told of", len(s.Messages()))
	}
}

func TestRefusals(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s := open(t, dir, small())
	if _, err := Open(dir, small()); err == nil || !strings.Contains(err.Error(), "another process uses this spool") {
		t.Errorf("second Open: %v", err)
	}
	if _, err := s.Create(Envelope{}); err == nil {
		t.Error("a message to nobody")
	}
	if _, err := s.Create(Envelope{Recipients: make([]Recipient, 1000)}); err == nil {
		t.Error("more recipients than a segment has room for")
	}
	if _, err := s.Create(Envelope{Sender: strings.Repeat("x", 1<<20), Recipients: make([]Recipient, 1)}); err == nil || s.chunks.used.Load() != 0 {
		t.Errorf("a long envelope: %v", err)
	}
	m := mustPut(t, s, envelope(1), nil)
	w, _ := s.Create(envelope(2))
	s.Close()
	if _, err := w.Commit(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("commit after Close: %v", err)
	}
	if _, err := s.Create(envelope(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("create after Close: %v", err)
	}
	if err := errors.Join(m.Remove()); !errors.Is(err, ErrClosed) {
		t.Errorf("remove after Close: %v", err)
	}
	format := filepath.Join(dir, "format")
	old, err := os.ReadFile(format)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"gatepost spool, format 2\nmark 00\n": `this is "gatepost spool, format 2"; only "gatepost spool, format 1" can be read`,
		"gatepost spool, format 1\nmark 00\n": "format:2:", "": `this is ""`,
	} {
		os.WriteFile(format, []byte(text), 0o600)
		if _, err := Open(dir, small()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("format %q: %v", text, err)
		}
	}
	os.Remove(format)
	if _, err := Open(dir, small()); err == nil || !strings.Contains(err.Error(), "format is missing") {
		t.Errorf("no format: %v", err)
	}
	os.WriteFile(format, old, 0o600)
	open(t, dir, small())
	checkModes(t, dir)
}

func checkModes(t *testing.T, dir string) {
	t.Helper()
	filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
		return nil
	})
}
