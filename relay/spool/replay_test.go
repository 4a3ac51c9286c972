package spool

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// belief is what must hold after a crash.
type belief struct {
	made    map[string]made   // by id: what was begun may be there, whole
	kept    map[string]bool   // must be there
	gone    map[string]bool   // must not be there
	at      map[string][2]int // attempts: synced, and written at most
	removed map[string]bool   // may be there
}

type made struct {
	number int
	body   []byte
}

func newBelief() *belief {
	return &belief{map[string]made{}, map[string]bool{}, map[string]bool{}, map[string][2]int{}, map[string]bool{}}
}

// replayWork is one of several that use the spool at the same time. What was updated or
// removed before the commit of a small message is on the disk when that returns.
func replayWork(t *testing.T, s *Spool, r *recorder, seed, from, to int) {
	random := rand.New(rand.NewPCG(uint64(seed), uint64(from)))
	var mine []*Message
	var told []func(*belief)
	for i := from; i < to; i++ {
		w, err := s.Create(envelope(i))
		if err != nil {
			t.Error(err)
			return
		}
		id, body := w.ID(), text(sizeOf(i))
		r.tell(func(b *belief) { b.made[id] = made{i, body} })
		w.Write(body)
		if random.IntN(10) == 0 {
			w.Abort()
			r.tell(func(b *belief) { b.gone[id] = true })
			continue
		}
		m, err := w.Commit(context.Background())
		if err != nil {
			t.Error(err)
			return
		}
		now := append([]func(*belief){func(b *belief) { b.kept[id] = true }}, told...)
		if w.large == nil {
			told = nil
		} else {
			now = now[:1]
		}
		r.tell(func(b *belief) {
			for _, f := range now {
				f(b)
			}
		})
		mine = append(mine, m)
		for range random.IntN(4) {
			k := random.IntN(len(mine))
			if random.IntN(3) == 0 {
				told = append(told, updateSome(t, mine[k], r, i))
			} else if len(mine) > 2 {
				told = append(told, removeSome(t, mine[k], r))
				mine = append(mine[:k], mine[k+1:]...)
			}
			if len(mine) == 0 {
				break
			}
		}
		if random.IntN(15) == 0 {
			time.Sleep(3 * time.Millisecond)
		}
	}
}

func updateSome(t *testing.T, m *Message, r *recorder, attempts int) func(*belief) {
	id := m.ID()
	r.tell(func(b *belief) { b.at[id] = [2]int{b.at[id][0], attempts} })
	if err := m.Update(Update{Attempts: &attempts}); err != nil {
		t.Error(err)
	}
	return func(b *belief) { b.at[id] = [2]int{attempts, b.at[id][1]} }
}

func removeSome(t *testing.T, m *Message, r *recorder) func(*belief) {
	id := m.ID()
	r.tell(func(b *belief) { delete(b.kept, id); b.removed[id] = true })
	if err := m.Remove(); err != nil {
		t.Error(err)
	}
	return func(b *belief) { b.gone[id] = true }
}

// recordWork gives every file operation of a busy life with a restart.
func recordWork(t *testing.T, seed int) *recorder {
	dir := paperDir(t)
	r := newRecorder(lazyDisk{dirDisk(dir)})
	o := small()
	o.d = r
	for life := range 2 {
		s := open(t, dir, o)
		var wait sync.WaitGroup
		for k := range 3 {
			wait.Go(func() { replayWork(t, s, r, seed, 1000*life+100*k, 1000*life+100*k+45) })
		}
		wait.Wait()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// TestCrashAnywhere builds the directory as a crash would leave it after each of many
// operations, with what was not synced there, not there, or torn; then every message
// that was answered must be there, whole, and nothing else that is not whole.
func TestCrashAnywhere(t *testing.T) {
	seed := int(time.Now().UnixNano() % 1_000_000)
	t.Logf("seed %d", seed)
	r := recordWork(t, seed)
	base := paperDir(t)
	const states = 560
	ops := 0
	for _, o := range r.ops {
		if o.kind != "told" {
			ops++
		}
	}
	var count atomic.Int64
	var wait sync.WaitGroup
	for part := range 2 {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(uint64(seed), uint64(part)))
			disk, b := newCrashDisk(random), newBelief()
			for k, o := range r.ops {
				if o.kind == "told" {
					o.told(b)
					continue
				}
				if k%2 == part && random.IntN(ops) < states && !t.Failed() {
					count.Add(1)
					crash(t, base, disk, b, fmt.Sprintf("seed %d, before operation %d (%s %s)", seed, k, o.kind, o.name))
				}
				disk.do(o)
			}
			crash(t, base, disk, b, "at the end")
		})
	}
	wait.Wait()
	if n := count.Load(); n < 450 && !t.Failed() {
		t.Errorf("only %d states", n)
	}
	t.Logf("%d states at %d operations", count.Load(), ops)
}

func crash(t *testing.T, base string, c *crashDisk, b *belief, what string) {
	t.Helper()
	data, names := fate(c.rand.IntN(int(fates))), fate(c.rand.IntN(int(fates)))
	what = fmt.Sprintf("%s, data %d, names %d", what, data, names)
	dir, err := os.MkdirTemp(base, "")
	if err == nil {
		defer os.RemoveAll(dir)
		err = c.build(dir, data, names)
	}
	if err != nil {
		t.Error(err)
		return
	}
	o := small()
	o.d = lazyDisk{dirDisk(dir)}
	compare := func(*Spool) {}
	if c.rand.IntN(3) == 0 && hasFormat(dir) {
		compare = lookFirst(t, dir, what)
	}
	for again := range 1 + c.rand.IntN(3)/2 {
		s, err := Open(dir, o)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		if again == 0 {
			compare(s)
		}
		b.verify(t, s, what)
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if left, err := os.ReadDir(filepath.Join(dir, tmpDir)); err != nil || len(left) > 0 {
			t.Errorf("%s: tmp/ has %d files, %v", what, len(left), err)
		}
		if t.Failed() {
			t.Logf("%s: opened %d times", what, again+1)
			return
		}
	}
}

// hasFormat reports whether the first start came so far that there is a spool.
func hasFormat(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, formatName))
	return err == nil
}

func (b *belief) verify(t *testing.T, s *Spool, what string) {
	there := map[string]bool{}
	for _, m := range s.Messages() {
		id := m.ID()
		there[id] = true
		was, begun := b.made[id]
		if !begun || b.gone[id] {
			t.Errorf("%s: %s is there (begun %v)", what, id, begun)
			continue
		}
		check(t, m, envelope(was.number), was.body)
		if at, n := b.at[id], m.Attempts(); n < at[0] || n > at[1] {
			t.Errorf("%s: %s has %d attempts; synced were %d, written at most %d", what, id, n, at[0], at[1])
		}
	}
	for id := range b.kept {
		if !there[id] {
			t.Errorf("%s: %s is lost", what, id)
		}
	}
}
