package spool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// traces are all that can be seen of a directory: names, modes, times, and contents.
func traces(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var data []byte
		if info.Mode().IsRegular() {
			if data, err = os.ReadFile(name); err != nil {
				return err
			}
		}
		all[name] = fmt.Sprint(info.Mode(), info.ModTime(), info.Size(), sha256.Sum256(data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// glimpse is what there is to see of a message.
type glimpse struct {
	ID                      string
	Envelope                Envelope
	Size                    int64
	Attempts                int
	Held                    bool
	Arrived, Since, NextTry time.Time
	Body                    string
}

type lookedAt interface {
	ID() string
	Envelope() (Envelope, error)
	Size() int64
	Attempts() int
	Held() bool
	Arrived() time.Time
	Since() time.Time
	NextTry() time.Time
	Open() (io.ReadSeekCloser, error)
}

func glimpseOf(m lookedAt) (glimpse, error) {
	g := glimpse{ID: m.ID(), Size: m.Size(), Attempts: m.Attempts(), Held: m.Held(), Arrived: m.Arrived(), Since: m.Since(), NextTry: m.NextTry()}
	var err error
	if g.Envelope, err = m.Envelope(); err != nil {
		return g, err
	}
	r, err := m.Open()
	if err != nil {
		return g, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	g.Body = fmt.Sprintf("%x", sha256.Sum256(body))
	return g, err
}

// lookFirst looks at a spool before it is opened. What it returns holds the spool that was
// opened to that: the same messages, and nothing changed by looking.
func lookFirst(t testing.TB, dir, what string) (compare func(*Spool)) {
	t.Helper()
	before := traces(t, dir)
	compare = lookAt(t, dir, what)
	if d := cmp.Diff(before, traces(t, dir)); d != "" {
		t.Errorf("%s: looking has changed the directory:\n%s", what, d)
	}
	return compare
}

func lookAt(t testing.TB, dir, what string) (compare func(*Spool)) {
	t.Helper()
	v, err := Look(dir)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return func(*Spool) {}
	}
	var seen []glimpse
	for _, m := range v.Messages() {
		g, err := glimpseOf(m)
		if err != nil {
			t.Errorf("%s: looking at %s: %v", what, m.ID(), err)
		}
		seen = append(seen, g)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	return func(s *Spool) {
		t.Helper()
		var there []glimpse
		for _, m := range s.Messages() {
			g, err := glimpseOf(m)
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			there = append(there, g)
		}
		if d := cmp.Diff(there, seen, cmp.Comparer(func(a, b Client) bool { return a == b })); d != "" {
			t.Errorf("%s: looked at (-is +seen):\n%s", what, d)
		}
	}
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, small())
	for i := range 50 {
		m := mustPut(t, s, envelope(i), text(i*997))
		switch i % 5 {
		case 0:
			m.Remove()
		case 1:
			next := time.Unix(2_000_000_000, 0)
			if err := m.Update(Update{Attempts: new(i), NextTry: &next, Warned: new(true), Recipients: []Change{{Index: 1, State: Failed, Reply: "550 no"}}}); err != nil {
				t.Fatal(err)
			}
		case 2:
			if err := m.Update(Update{Hold: new("why")}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.Close()
	compare := lookFirst(t, dir, "closed")
	o := small()
	o.segments = 1000 // nothing is moved
	s = open(t, dir, o)
	compare(s)
	lookAt(t, dir, "while it is open")(s)
	v, err := Look(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := v.Messages()[7]
	if found, ok := v.Find(m.ID()); !ok || found != m || len(v.Trouble) > 0 {
		t.Errorf("%v %v, %q", found, ok, v.Trouble)
	}
	r, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(v.Close(), v.Close()); err != nil {
		t.Error(err)
	}
	if data, err := io.ReadAll(r); err != nil || int64(len(data)) != m.Size() {
		t.Errorf("%d bytes after Close, %v", len(data), err)
	}
	r.Close()
	if _, err := m.Envelope(); !errors.Is(err, ErrClosed) {
		t.Errorf("envelope after Close: %v", err)
	}
}

func TestLookAtOldFormat(t *testing.T) {
	dir := oldSpool(t)
	compare := lookFirst(t, dir, "format 1")
	s := open(t, dir, small())
	checkOld(t, s)
	compare(s)
}

// TestLookAtDamage shows the same messages as the next start, and says what it cannot show.
func TestLookAtDamage(t *testing.T) {
	dir := t.TempDir()
	places, segment, _ := three(t, dir)
	spoil(t, segment, places[1]+80, []byte("damage"))
	s := open(t, dir, small())
	own := mustPut(t, s, envelope(4), text(50_000))
	s.Close()
	spoil(t, filepath.Join(dir, mailName(own.id)), 70, []byte("damage"))
	if err := unix.Mkfifo(filepath.Join(dir, mailDir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := Look(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if len(v.Messages()) != 2 || !strings.Contains(strings.Join(v.Trouble, "\n"), own.ID()) {
		t.Errorf("%d messages, trouble %q", len(v.Messages()), v.Trouble)
	}
	os.Remove(filepath.Join(dir, mailDir, "fifo"))
	lookFirst(t, dir, "damaged")(open(t, dir, small()))
}

func TestLookAtNothing(t *testing.T) {
	empty := t.TempDir()
	if _, err := Look(filepath.Join(empty, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
	if _, err := Look(empty); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), formatName) {
		t.Errorf("no spool: %v", err)
	}
	names, err := os.ReadDir(empty)
	if err != nil || len(names) > 0 {
		t.Errorf("made %v, %v", names, err)
	}
	dir := filepath.Join(empty, "new")
	open(t, dir, small()).Close()
	lookFirst(t, dir, "empty")
}

// TestLookWhileItRuns looks at a spool that is at work, moves messages and uses segments
// again: what stays in the queue is in every view.
func TestLookWhileItRuns(t *testing.T) {
	dir := paperDir(t)
	o := small()
	o.d = lazyDisk{dirDisk(dir)}
	s := open(t, dir, o)
	var ids []string
	for i := range 40 {
		ids = append(ids, mustPut(t, s, envelope(i), text(1000*i)).ID())
	}
	time.Sleep(10 * o.delay)
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for k := range 2 {
		wait.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				m, err := put(s, envelope(i), text(5000+1000*(i%10)))
				if err != nil {
					t.Error(err)
					return
				}
				if stays, ok := s.Find(ids[(i*2+k)%len(ids)]); !ok || stays.Update(Update{Attempts: new(i)}) != nil {
					t.Errorf("update of what stays: %v", ok)
				}
				m.Remove()
			}
		})
	}
	looks, late := 0, 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); looks++ {
		v, err := Look(dir)
		if errors.Is(err, errMoved) {
			late++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		there := v.Messages()
		for _, id := range ids {
			k := slices.IndexFunc(there, func(m Seen) bool { return m.ID() == id })
			if k < 0 {
				if late++; v.settled() {
					t.Errorf("look %d: %s is missing; trouble %q", looks, id, v.Trouble)
				}
				continue
			}
			if _, err := glimpseOf(there[k]); err != nil && !errors.Is(err, ErrRemoved) && !errors.Is(err, ErrDamaged) {
				t.Errorf("look %d: %v", looks, err)
			}
		}
		v.Close()
	}
	close(stop)
	wait.Wait()
	t.Logf("%d looks, %d times something was too late", looks, late)
	if looks == late {
		t.Error("nothing was seen")
	}
}
