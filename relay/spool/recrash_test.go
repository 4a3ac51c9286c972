package spool

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// load takes a directory as it is for what is on the disk, and tells the recorder.
func (c *crashDisk) load(dir string, r *recorder) error {
	return filepath.WalkDir(dir, func(at string, entry fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(dir, at)
		if err != nil || relErr != nil || name == "." || name == "lock" {
			return err
		}
		if entry.IsDir() {
			c.entries[name] = folderNode
			return nil
		}
		r.last++
		r.nodes[name], c.entries[name] = r.last, r.last
		c.data[r.last], err = os.ReadFile(at)
		return err
	})
}

// TestCrashInRecovery crashes, and then each run that recovers from it somewhere on its
// way, or a little later, while it puts things in order and takes one more message.
func TestCrashInRecovery(t *testing.T) {
	seed := int(time.Now().UnixNano() % 1_000_000)
	t.Logf("seed %d", seed)
	r := recordWork(t, seed)
	base := paperDir(t)
	rnd := rand.New(rand.NewPCG(uint64(seed), 9))
	disk, b := newCrashDisk(rnd), newBelief()
	const states = 60
	chains := 0
	for k, o := range r.ops {
		if o.kind == "told" {
			o.told(b)
			continue
		}
		if rnd.IntN(len(r.ops)) < states && !t.Failed() {
			chains++
			crashChain(t, base, disk, b, fmt.Sprintf("seed %d, before operation %d (%s %s)", seed, k, o.kind, o.name))
		}
		disk.do(o)
	}
	crashChain(t, base, disk, b, "at the end")
	t.Logf("%d states", chains+1)
}

func crashChain(t *testing.T, base string, c *crashDisk, b *belief, what string) {
	t.Helper()
	made, kept := maps.Clone(b.made), maps.Clone(b.kept)
	defer func() { b.made, b.kept = made, kept }()
	b.made, b.kept = maps.Clone(made), maps.Clone(kept)
	for depth := range 5 {
		data, names := fate(c.rand.IntN(int(fates))), fate(c.rand.IntN(int(fates)))
		what = fmt.Sprintf("%s; %d %d", what, data, names)
		dir, err := os.MkdirTemp(base, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		r := newRecorder(lazyDisk{dirDisk(dir)})
		next := newCrashDisk(c.rand)
		if err = c.build(dir, data, names); err == nil {
			err = next.load(dir, r)
		}
		if err != nil {
			t.Fatal(err)
		}
		ops, stop := liveOn(t, dir, r, b, c.rand, what, depth)
		if t.Failed() {
			return
		}
		for _, o := range ops[:stop] {
			if o.kind == "told" {
				o.told(b)
			} else {
				next.do(o)
			}
		}
		c = next
	}
}

// liveOn opens what a crash has left, takes a message, and gives all operations, and at
// which of them it crashes.
func liveOn(t *testing.T, dir string, r *recorder, b *belief, random *rand.Rand, what string, depth int) (ops []op, stop int) {
	t.Helper()
	o := small()
	o.d = r
	s, err := Open(dir, o)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return nil, 0
	}
	defer s.Close()
	b.verify(t, s, what)
	number := 5000 + depth
	body := text(sizeOf(number))
	w, err := s.Create(envelope(number))
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return nil, 0
	}
	id := w.ID()
	if _, taken := b.made[id]; taken {
		t.Errorf("%s: %s is given again", what, id)
	}
	r.tell(func(b *belief) { b.made[id] = made{number, body} })
	w.Write(body)
	if _, err := w.Commit(t.Context()); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	r.tell(func(b *belief) { b.kept[id] = true })
	time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()
	ops = append([]op(nil), r.ops...)
	return ops, random.IntN(len(ops) + 1)
}
