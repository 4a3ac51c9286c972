package spool

import (
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
)

// crashDisk is what would be on the disk after a crash, as far as POSIX promises: what
// was synced, and of the rest anything.
type crashDisk struct {
	rand    *rand.Rand
	data    map[int][]byte         // synced content
	writes  map[int][]op           // not synced
	entries map[string]int         // synced names; folders are node -1
	changes map[string][]dirChange // by folder, not synced
}

// dirChange takes a name away, or gives one, or both at once.
type dirChange struct {
	gone, name string
	node       int
}

const folderNode = -1

func newCrashDisk(r *rand.Rand) *crashDisk {
	return &crashDisk{rand: r, data: map[int][]byte{}, writes: map[int][]op{}, entries: map[string]int{}, changes: map[string][]dirChange{}}
}

func (c *crashDisk) change(folder string, d dirChange) {
	c.changes[folder] = append(c.changes[folder], d)
}

// do takes in an operation.
func (c *crashDisk) do(o op) {
	switch o.kind {
	case "create":
		c.data[o.node] = nil
		c.change(path.Dir(o.name), dirChange{name: o.name, node: o.node})
	case "mkdir":
		c.change(path.Dir(o.name), dirChange{name: o.name, node: folderNode})
	case "unlink":
		c.change(path.Dir(o.name), dirChange{gone: o.name})
	case "rename":
		if from, to := path.Dir(o.name), path.Dir(o.to); from == to {
			c.change(to, dirChange{gone: o.name, name: o.to, node: o.node})
		} else {
			c.change(to, dirChange{name: o.to, node: o.node})
			c.change(from, dirChange{gone: o.name})
		}
	case "write":
		c.writes[o.node] = append(c.writes[o.node], o)
	case "sync":
		for _, w := range c.writes[o.node] {
			c.data[o.node] = overlay(c.data[o.node], w.data, w.off)
		}
		delete(c.writes, o.node)
	case "syncDir":
		for _, d := range c.changes[o.name] {
			d.apply(c.entries)
		}
		delete(c.changes, o.name)
	}
}

func (d dirChange) apply(entries map[string]int) {
	if d.gone != "" {
		delete(entries, d.gone)
	}
	if d.name != "" {
		entries[d.name] = d.node
	}
}

func overlay(data, p []byte, off int64) []byte {
	if n := int(off) + len(p); n > len(data) {
		data = append(data, make([]byte, n-len(data))...)
	}
	copy(data[off:], p)
	return data
}

// fate says what becomes of what was not synced.
type fate int

const (
	nothing fate = iota
	everything
	random
	fates
)

func (c *crashDisk) survives(f fate) bool {
	return f == everything || f == random && c.rand.IntN(2) == 0
}

// build makes the directory as the crash leaves it.
func (c *crashDisk) build(dir string, data, names fate) error {
	entries := map[string]int{}
	for name, node := range c.entries {
		entries[name] = node
	}
	for _, changes := range c.changes {
		for _, d := range changes {
			if c.survives(names) {
				d.apply(entries)
			}
		}
	}
	contents := map[int][]byte{}
	for name, node := range entries {
		if !within(entries, path.Dir(name)) {
			continue
		}
		at := filepath.Join(dir, name)
		if node == folderNode {
			if err := os.MkdirAll(at, 0o700); err != nil {
				return err
			}
			continue
		}
		if _, done := contents[node]; !done {
			contents[node] = c.content(node, data)
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(at, contents[node], 0o600); err != nil {
			return err
		}
	}
	return nil
}

// within reports whether a folder is reachable.
func within(entries map[string]int, folder string) bool {
	if folder == "." {
		return true
	}
	node, ok := entries[folder]
	return ok && node == folderNode && within(entries, path.Dir(folder))
}

// content is a file's after the crash: of each page that was written any part.
func (c *crashDisk) content(node int, f fate) []byte {
	data := append([]byte(nil), c.data[node]...)
	for _, w := range c.writes[node] {
		for at := 0; at < len(w.data); at += page {
			part := w.data[at:min(at+page, len(w.data))]
			if !c.survives(f) {
				continue
			}
			if f == random && c.rand.IntN(4) == 0 { // torn within
				cut := c.rand.IntN(len(part) + 1)
				data = overlay(data, part[:cut], w.off+int64(at))
				continue
			}
			data = overlay(data, part, w.off+int64(at))
		}
	}
	return data
}
