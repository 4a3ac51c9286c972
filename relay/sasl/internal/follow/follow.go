// Package follow keeps what a file of accounts says, and reads it again when it has
// changed.
package follow

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// every is how often the file is looked at, at most.
	every = time.Second
	// settled is how old a file is before its time is believed: until then it may be
	// written to once more within the same tick of the clock.
	settled = 2 * time.Second
)

// File is a file and what it said when it was last good. It is safe for concurrent use.
type File[T any] struct {
	path  string
	most  int64
	parse func([]byte) (*T, error)
	log   *slog.Logger

	last atomic.Pointer[T]
	look sync.Mutex // held by who looks at the file; the others take what is there
	next atomic.Int64
	seen sighting
	said string // the last complaint
}

// sighting is what tells that a file is another one.
type sighting struct {
	dev, ino   uint64
	size       int64
	mode       fs.FileMode
	mtime      int64
	ctime      int64
	unsettled  bool
	unreadable string
}

// Open reads the file, which must be there, regular, of no more than most bytes, and
// not for every user of the host to read or change. Errors of parse say where in the
// file.
func Open[T any](path string, most int64, parse func([]byte) (*T, error), log *slog.Logger) (*File[T], error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f := &File[T]{path: path, most: most, parse: parse, log: log}
	content, seen, err := read(path, most)
	if err != nil {
		return nil, err
	}
	value, err := parse(content)
	if err != nil {
		return nil, err
	}
	f.seen = seen
	f.last.Store(value)
	f.next.Store(time.Now().Add(every).UnixNano())
	return f, nil
}

// Get is what the file says, as of a second ago; after a bad edit, what it said before.
// The bad edit is logged once.
func (f *File[T]) Get() *T {
	if now := time.Now(); now.UnixNano() >= f.next.Load() && f.look.TryLock() {
		defer f.look.Unlock()
		f.next.Store(now.Add(every).UnixNano())
		f.refresh()
	}
	return f.last.Load()
}

func (f *File[T]) refresh() {
	now := sight(f.path)
	if now == f.seen && !now.unsettled {
		return
	}
	content, seen, err := read(f.path, f.most)
	if err == nil {
		var value *T
		if value, err = f.parse(content); err == nil {
			f.last.Store(value)
			f.seen = seen
			if f.said != "" {
				f.log.Info("accounts: file is good again", "file", f.path)
				f.said = ""
			}
			return
		}
	}
	f.seen = now
	// Somebody may be in the middle of writing it.
	if !now.unsettled && f.said != err.Error() {
		f.said = err.Error()
		f.log.Error("accounts: file cannot be used; what it said before stays in force", "error", err)
	}
}

func sight(path string) sighting {
	info, err := os.Stat(path)
	if err != nil {
		return sighting{unreadable: err.Error()}
	}
	return sightingOf(info)
}

func sightingOf(info fs.FileInfo) sighting {
	s := sighting{size: info.Size(), mode: info.Mode(), mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino, s.ctime = uint64(st.Dev), st.Ino, st.Ctim.Nano()
	}
	age := time.Since(info.ModTime())
	s.unsettled = age >= 0 && age < settled
	return s
}

// read is the content of a file that did not change while it was read.
func read(path string, most int64) ([]byte, sighting, error) {
	var none sighting
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, none, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, none, err
	}
	if err := check(path, before, most); err != nil {
		return nil, none, err
	}
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, none, fmt.Errorf("%s: %w", path, err)
	}
	after, err := f.Stat()
	if err != nil {
		return nil, none, err
	}
	if int64(len(content)) != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return nil, none, fmt.Errorf("%s: changed while it was read", path)
	}
	return content, sightingOf(after), nil
}

// Read is the content of a file of accounts, under the same conditions as Open.
func Read(path string, most int64) ([]byte, error) {
	content, _, err := read(path, most)
	return content, err
}

func check(path string, info fs.FileInfo, most int64) error {
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return fmt.Errorf("%s: not a regular file", path)
	case mode.Perm()&0o007 != 0:
		return fmt.Errorf("%s: mode %04o lets every user of this host in; expected 0600, 0640 or 0660", path, mode.Perm())
	case info.Size() > most:
		return fmt.Errorf("%s: has %d bytes; expected at most %d", path, info.Size(), most)
	}
	return nil
}
