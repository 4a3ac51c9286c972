package spool

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// logged opens the spool and gives what it says.
func logged(t *testing.T, dir string, o Options) (*Spool, *bytes.Buffer) {
	t.Helper()
	log := &bytes.Buffer{}
	o.Log = slog.New(slog.NewTextHandler(&syncWriter{w: log}, nil))
	return open(t, dir, o), log
}

func mustContain(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("the log does not say %q:\n%s", p, text)
		}
	}
}

// three puts three messages with a sync for each into a new spool, and gives their places.
func three(t *testing.T, dir string) (places [3]int64, segment string, ids [3]string) {
	t.Helper()
	s := open(t, dir, small())
	for i := range places {
		m := mustPut(t, s, envelope(i), text(3000))
		places[i], segment, ids[i] = m.at().off, filepath.Join(dir, segmentName(m.atSegment.number)), m.ID()
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return places, segment, ids
}

func spoil(t *testing.T, name string, at int64, p []byte) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(p, at); err != nil {
		t.Fatal(err)
	}
}

func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	places, segment, ids := three(t, dir)
	spoil(t, segment, places[2]+1000, []byte("torn"))
	s, log := logged(t, dir, small())
	if len(s.Messages()) != 2 {
		t.Errorf("%d messages", len(s.Messages()))
	}
	mustContain(t, log.String(), "torn", "segment=log/"+filepath.Base(segment), "offset=8192", "bytes=", "id="+ids[2])
	s.Close()
	s, log = logged(t, dir, small())
	if len(s.Messages()) != 2 || strings.Contains(log.String(), "torn") {
		t.Errorf("second start: %d messages; %s", len(s.Messages()), log)
	}
}

func TestDamageInTheMiddle(t *testing.T) {
	for name, at := range map[string]int64{"header": 20, "envelope": 80, "body": 1000} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			places, segment, ids := three(t, dir)
			spoil(t, segment, places[1]+at, []byte("damage"))
			s, log := logged(t, dir, small())
			all := s.Messages()
			if len(all) != 2 || all[0].ID() != ids[0] || all[1].ID() != ids[2] {
				t.Fatalf("%d messages", len(all))
			}
			check(t, all[1], envelope(2), text(3000))
			mustContain(t, log.String(), "level=ERROR", "damaged", "offset=4096", "bytes=4096", "aside/")
			for _, m := range all {
				m.Remove()
			}
			aside := filepath.Join(dir, asideDir, filepath.Base(segment))
			until(t, "the damaged segment to be kept aside", func() bool { _, err := os.Stat(aside); return err == nil })
			s.Close()
			if s, log := logged(t, dir, small()); len(s.Messages()) != 0 || strings.Contains(log.String(), "damaged") {
				t.Errorf("second start: %d messages; %s", len(s.Messages()), log)
			}
		})
	}
}

// TestDamageNoticedLater has a message spoilt while the spool is open.
func TestDamageNoticedLater(t *testing.T) {
	for _, size := range []int{5000, 50_000} {
		dir := t.TempDir()
		s := open(t, dir, small())
		m := mustPut(t, s, envelope(1), text(size))
		name, at := filepath.Join(dir, mailName(m.id)), int64(size-100)
		if m.atSegment != nil {
			name, at = filepath.Join(dir, segmentName(m.atSegment.number)), m.at().off+at
		}
		spoil(t, name, at, []byte("damage"))
		if _, err := bodyOf(m); err == nil || !strings.Contains(err.Error(), ErrDamaged.Error()) {
			t.Errorf("%d bytes: %v", size, err)
		}
		spoil(t, name, at-int64(size)+170, []byte("damage"))
		if m.atSegment == nil {
			if _, err := m.Envelope(); err == nil || !strings.Contains(err.Error(), ErrDamaged.Error()) {
				t.Errorf("envelope: %v", err)
			}
			s.Close()
			s, log := logged(t, dir, small())
			mustContain(t, log.String(), "level=ERROR", "kept in aside/", m.ID())
			if _, err := os.Stat(filepath.Join(dir, asideDir, m.ID())); err != nil || len(s.Messages()) != 0 {
				t.Error(err, len(s.Messages()))
			}
		}
	}
}

// TestForgedRecord has a message that holds a record of an older life of the spool, and
// what else a sender could know, and is itself damaged, so that records are looked for.
func TestForgedRecord(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	at := int64(headerSize + 100)
	forged := make([]byte, headerSize)
	h := header{kind: kindMessage, segment: 1, seq: 50, at: uint32(at), id: 1 << 40}
	h.put(forged, mark{}) // a sender does not know the mark
	m := mustPut(t, s, envelope(1), bytes.Repeat(forged, 100))
	copied := append([]byte(nil), forged...)
	h.put(copied, s.mark) // a sender who does know it cannot know the offset
	m2 := mustPut(t, s, envelope(1), bytes.Repeat(copied, 100))
	for _, m := range []*Message{m, m2} {
		spoil(t, filepath.Join(dir, segmentName(m.atSegment.number)), m.at().off+8, []byte{0xff})
	}
	last := mustPut(t, s, envelope(2), nil)
	if s = reopen(t, s, dir, small()); len(s.Messages()) != 1 || s.Messages()[0].ID() != last.ID() {
		t.Errorf("%d messages", len(s.Messages()))
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	three(t, dir)
	os.Mkdir(filepath.Join(dir, "mail", "00"), 0o700)
	names := []string{"log/notes", "mail/00/README", "mail/00/zz", "mail/notes"}
	for _, name := range append(names, "tmp/left") {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, log := logged(t, dir, small())
	if len(s.Messages()) != 3 {
		t.Errorf("%d messages", len(s.Messages()))
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
		mustContain(t, log.String(), name)
	}
	if _, err := os.Stat(filepath.Join(dir, "tmp/left")); err == nil {
		t.Error("tmp/left is still there")
	}
}

// TestOpenIsFast opens a spool of 100,000 messages, and counts what each takes of the
// memory.
func TestOpenIsFast(t *testing.T) {
	const n = 100_000
	dir := t.TempDir()
	o := Options{Log: slog.New(slog.DiscardHandler)}
	s := open(t, dir, o)
	body := text(4000)
	var wait sync.WaitGroup
	for k := range 100 {
		wait.Go(func() {
			for i := k; i < n; i += 100 {
				if _, err := put(s, envelope(7), body); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	start := time.Now()
	s = open(t, dir, o)
	took := time.Since(start)
	most := 3 * time.Second
	if raceDetector {
		most *= 5
	}
	each := float64(heap()-before) / n
	t.Logf("opened in %v, %.0f bytes a message", took, each)
	if len(s.Messages()) != n || took > most || each > 110 {
		t.Errorf("%d messages in %v, %.0f bytes each", len(s.Messages()), took, each)
	}
	check(t, s.Messages()[n/2], envelope(7), body)
}
