package spool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"
)

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
		if err := m.Update(Update{Attempts: new(3), NextTry: &next, Hold: new("why"), Recipients: []Change{{Index: 1, State: Delivered, Reply: "250 ok"}}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Update(Update{Recipients: []Change{{Index: 0, State: Failed, Reply: strings.Repeat("x", 1000)}}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Update(Update{Recipients: []Change{{Index: 2, State: Failed}}}); err == nil {
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

func TestReaderSeeks(t *testing.T) {
	s := open(t, t.TempDir(), small())
	for _, n := range []int{10_000, 100_000} {
		body := text(n)
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

func TestFind(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	want := map[string]bool{}
	for i := range 60 {
		m := mustPut(t, s, envelope(i), text(i*500))
		want[m.ID()] = i%3 > 0
		if i%3 == 0 {
			m.Remove()
		}
	}
	for range 2 {
		for id, there := range want {
			if m, ok := s.Find(id); ok != there || ok && m.ID() != id {
				t.Errorf("%s: %v, want %v", id, ok, there)
			}
		}
		for _, id := range []string{"", "0", "x y", "zzz", "04000001", strings.Repeat("z", 100)} {
			if m, ok := s.Find(id); ok {
				t.Errorf("%q is %s", id, m.ID())
			}
		}
		s = reopen(t, s, dir, small())
	}
}

// TestSizeOfMessage: there may be a million in the queue.
func TestSizeOfMessage(t *testing.T) {
	if n := unsafe.Sizeof(Message{}); n > 96 {
		t.Errorf("%d bytes", n)
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
		"gatepost spool, format 3\nmark 00\n": `this is "gatepost spool, format 3"; only "gatepost spool, format 2" and the one before can be read`,
		"gatepost spool, format 2\nmark 00\n": "format:2:", "gatepost spool, format 1\nmark 00\n": "format:2:", "": `this is ""`,
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

// TestIndex: messages are found when many are looked for, those that come and go in between
// included, and nothing is kept for it afterwards.
func TestIndex(t *testing.T) {
	s := open(t, t.TempDir(), small())
	kept := mustPut(t, s, envelope(1), text(100))
	for range indexFinds + 1 {
		s.Find(kept.ID())
	}
	if s.index.all == nil {
		t.Fatal("there is no index")
	}
	for _, size := range []int{100, 100_000} { // in the log, and in a file of its own
		m := mustPut(t, s, envelope(2), text(size))
		if got, ok := s.Find(m.ID()); !ok || got != m {
			t.Errorf("a message of %d bytes is not found", size)
		}
		m.Remove()
		if _, ok := s.Find(m.ID()); ok {
			t.Errorf("a message of %d bytes is still found", size)
		}
	}
	if got, ok := s.Find(kept.ID()); !ok || got != kept {
		t.Error("the first one is not found")
	}
	s.forgetIndex()
	s.forgetIndex()
	if s.index.all != nil || s.index.timer != nil {
		t.Error("the index is kept")
	}
}
