package spool

import (
	"sync/atomic"
)

// faultDisk asks before each operation whether it is to fail.
type faultDisk struct {
	disk
	before atomic.Pointer[func(op, name string) error]
}

func (d *faultDisk) set(f func(op, name string) error) {
	if f == nil {
		d.before.Store(nil)
	} else {
		d.before.Store(&f)
	}
}

func (d *faultDisk) ask(op, name string) error {
	if f := d.before.Load(); f != nil {
		return (*f)(op, name)
	}
	return nil
}

func (d *faultDisk) file(op, name string, open func(string) (file, error)) (file, error) {
	if err := d.ask(op, name); err != nil {
		return nil, err
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{f, d, name}, nil
}

func (d *faultDisk) open(name string) (file, error)   { return d.file("open", name, d.disk.open) }
func (d *faultDisk) create(name string) (file, error) { return d.file("create", name, d.disk.create) }

func (d *faultDisk) rename(from, to string) error {
	if err := d.ask("rename", from+">"+to); err != nil {
		return err
	}
	return d.disk.rename(from, to)
}

func (d *faultDisk) unlink(name string) error {
	if err := d.ask("unlink", name); err != nil {
		return err
	}
	return d.disk.unlink(name)
}

func (d *faultDisk) mkdir(name string) error {
	if err := d.ask("mkdir", name); err != nil {
		return err
	}
	return d.disk.mkdir(name)
}

func (d *faultDisk) names(dir string) ([]string, error) {
	if err := d.ask("names", dir); err != nil {
		return nil, err
	}
	return d.disk.names(dir)
}

func (d *faultDisk) syncDir(name string) error {
	if err := d.ask("syncDir", name); err != nil {
		return err
	}
	return d.disk.syncDir(name)
}

func (d *faultDisk) free() (int64, error) {
	if err := d.ask("free", ""); err != nil {
		return 0, err
	}
	return d.disk.free()
}

type faultFile struct {
	file
	d    *faultDisk
	name string
}

func (f *faultFile) writeAt(parts [][]byte, off int64) error {
	if err := f.d.ask("write", f.name); err != nil {
		return err
	}
	return f.file.writeAt(parts, off)
}

func (f *faultFile) readAt(p []byte, off int64) error {
	if err := f.d.ask("read", f.name); err != nil {
		return err
	}
	return f.file.readAt(p, off)
}

func (f *faultFile) sync() error {
	if err := f.d.ask("sync", f.name); err != nil {
		return err
	}
	return f.file.sync()
}

// lazyDisk does not sync: the tests that crash do so on paper.
type lazyDisk struct{ disk }

type lazyFile struct{ file }

func lazy(f file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return lazyFile{f}, nil
}

func (d lazyDisk) open(name string) (file, error)   { return lazy(d.disk.open(name)) }
func (d lazyDisk) create(name string) (file, error) { return lazy(d.disk.create(name)) }
func (lazyDisk) syncDir(string) error               { return nil }
func (lazyFile) sync() error                        { return nil }
