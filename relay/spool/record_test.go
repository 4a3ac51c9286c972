package spool

import (
	"path"
	"sync"
)

// op is one file operation, or something that the workload was told.
type op struct {
	kind     string // create, write, sync, rename, unlink, mkdir, syncDir; told
	name, to string
	node     int // of create, write, sync
	off      int64
	data     []byte
	told     func(*belief)
}

// recorder writes down what is done to a disk, in the order in which it happened.
type recorder struct {
	disk
	mu    sync.Mutex
	ops   []op
	nodes map[string]int // what a name is now
	last  int
}

func newRecorder(d disk) *recorder { return &recorder{disk: d, nodes: map[string]int{}} }

// tell puts down what must be true of every crash from now on.
func (r *recorder) tell(f func(*belief)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op{kind: "told", told: f})
}

func (r *recorder) open(name string) (file, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.disk.open(name)
	if err != nil {
		return nil, err
	}
	return &recordedFile{f, r, r.nodes[name]}, nil
}

func (r *recorder) create(name string) (file, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := r.disk.create(name)
	if err != nil {
		return nil, err
	}
	r.last++
	r.nodes[name] = r.last
	r.ops = append(r.ops, op{kind: "create", name: name, node: r.last})
	return &recordedFile{f, r, r.last}, nil
}

// named records an operation on names that went well.
func (r *recorder) named(o op, do func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := do(); err != nil {
		return err
	}
	switch o.kind {
	case "rename":
		r.nodes[o.to] = r.nodes[o.name]
		delete(r.nodes, o.name)
		o.node = r.nodes[o.to]
	case "unlink":
		delete(r.nodes, o.name)
	}
	r.ops = append(r.ops, o)
	return nil
}

func (r *recorder) rename(from, to string) error {
	return r.named(op{kind: "rename", name: from, to: to}, func() error { return r.disk.rename(from, to) })
}

func (r *recorder) unlink(name string) error {
	return r.named(op{kind: "unlink", name: name}, func() error { return r.disk.unlink(name) })
}

func (r *recorder) mkdir(name string) error {
	return r.named(op{kind: "mkdir", name: name}, func() error { return r.disk.mkdir(name) })
}

func (r *recorder) syncDir(name string) error {
	return r.named(op{kind: "syncDir", name: path.Clean(name)}, func() error { return r.disk.syncDir(name) })
}

type recordedFile struct {
	file
	r    *recorder
	node int
}

func (f *recordedFile) writeAt(parts [][]byte, off int64) error {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	var data []byte
	for _, p := range parts {
		data = append(data, p...)
	}
	f.r.ops = append(f.r.ops, op{kind: "write", node: f.node, off: off, data: data})
	return f.file.writeAt(parts, off)
}

func (f *recordedFile) sync() error {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.r.ops = append(f.r.ops, op{kind: "sync", node: f.node})
	return f.file.sync()
}
