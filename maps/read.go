package maps

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A sighting is what one look at a file shows of it, for comparison with the
// next look. ctime and inode tell edits apart that keep size and mtime.
type sighting struct {
	path         string
	fault        string // why there is no regular, readable file; the rest is then zero
	dev, ino     uint64
	size         int64
	mtime, ctime unix.Timespec
}

// observe looks at a file without reading it. It opens it, as only that makes
// NFS ask its server, and shows a file that may not be read.
func observe(path string) sighting {
	f, s, err := openRegular(path)
	if err != nil {
		return sighting{path: path, fault: err.Error()}
	}
	f.Close()
	return s
}

// openRegular opens a file for reading and never hangs on a FIFO or wakes a
// device: anything but a regular file is an error. Symbolic links are followed.
func openRegular(path string) (*os.File, sighting, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, sighting{}, err
	}
	if !info.Mode().IsRegular() {
		return nil, sighting{}, notRegular(path, info.Mode())
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, sighting{}, err
	}
	s, err := sightingOf(f)
	if err != nil {
		f.Close()
		return nil, sighting{}, err
	}
	return f, s, nil
}

func notRegular(path string, mode os.FileMode) error {
	what := "a special file"
	switch {
	case mode.IsDir():
		what = "a directory"
	case mode&os.ModeNamedPipe != 0:
		what = "a named pipe"
	case mode&os.ModeSocket != 0:
		what = "a socket"
	case mode&os.ModeDevice != 0:
		what = "a device"
	}
	return fmt.Errorf("%s: is %s, a table must be a regular file", path, what)
}

func sightingOf(f *os.File) (sighting, error) {
	info, err := f.Stat() // again, on what was opened: the path may have changed hands
	if err != nil {
		return sighting{}, err
	}
	if !info.Mode().IsRegular() {
		return sighting{}, notRegular(f.Name(), info.Mode())
	}
	var st unix.Stat_t
	for {
		switch err := unix.Fstat(int(f.Fd()), &st); err {
		case nil:
			return sighting{path: f.Name(), dev: uint64(st.Dev), ino: uint64(st.Ino), size: st.Size, mtime: st.Mtim, ctime: st.Ctim}, nil
		case unix.EINTR:
		default:
			return sighting{}, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
		}
	}
}

// What to do about a file that another program has locked or is writing to.
type insistence uint8

const (
	askOnce     insistence = iota // errLocked or errChanging at once
	askPatient                    // wait for up to patience; a lock is then ignored
	askUnlocked                   // do not ask for the lock
)

const (
	// patience bounds the wait for another program's lock and for a file to be at
	// rest. A lock held longer is ignored: whoever may read a file can lock it,
	// and must not be able to stop its edits, or the daemon's start, for ever.
	patience = 5 * time.Second
	// askAgain is the pause between two tries.
	askAgain = 50 * time.Millisecond
)

var (
	errLocked   = errors.New("is locked by another program")
	errChanging = errors.New("is being written")
)

// contents is what one reading of a file gave.
type contents struct {
	data    string
	seen    sighting
	ignored bool // another program's lock was ignored
}

// readFile reads a whole table under a shared flock(2). With want, a file that
// no longer looks like that is errChanging.
func readFile(path string, how insistence, want *sighting, workers int) (contents, error) {
	deadline := time.Now().Add(patience)
	for {
		c, err := readOnce(path, how != askUnlocked, want, workers)
		if how != askPatient || !isBusy(err) {
			c.ignored = how == askUnlocked && err == nil
			return c, err
		}
		if time.Now().After(deadline) {
			if errors.Is(err, errLocked) {
				return readFile(path, askUnlocked, want, workers)
			}
			return c, err
		}
		time.Sleep(askAgain)
	}
}

// isBusy tells faults that are over when another program has done its work.
func isBusy(err error) bool { return errors.Is(err, errLocked) || errors.Is(err, errChanging) }

func readOnce(path string, lock bool, want *sighting, workers int) (contents, error) {
	f, before, err := openRegular(path)
	if err != nil {
		before = sighting{path: path, fault: err.Error()}
	} else {
		defer f.Close()
	}
	c := contents{seen: before}
	if want != nil && before != *want {
		return c, fmt.Errorf("%s: %w", path, errChanging)
	}
	if err != nil {
		return c, err
	}
	if lock && heldElsewhere(f) {
		return c, fmt.Errorf("%s: %w", path, errLocked)
	}
	if err := checkSize(path, before.size); err != nil {
		return c, &contentError{err}
	}
	c.data, err = readAll(f, before.size, making{workers: workers})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return c, fmt.Errorf("%s: %w", path, errChanging)
	}
	if err != nil {
		return c, err
	}
	after, err := sightingOf(f)
	if err != nil {
		return c, err
	}
	if after != before {
		return c, fmt.Errorf("%s: %w", path, errChanging)
	}
	return c, nil
}

// heldElsewhere takes shared locks of both kinds, which closing the file gives
// back: makemap and postmap lock with flock(2), postmap with fcntl(2) where it is
// built so and for LMDB. File systems without locks have none to respect.
func heldElsewhere(f *os.File) bool {
	flock := func() error { return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) }
	fcntl := func() error {
		return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Whence: io.SeekStart})
	}
	for _, lock := range []func() error{flock, fcntl} {
		err := lock()
		for err == unix.EINTR {
			err = lock()
		}
		if err == unix.EWOULDBLOCK || err == unix.EACCES {
			return true
		}
	}
	return false
}

// A contentError is a fault in what a file says. Reading it again does not help
// before someone has edited it.
type contentError struct{ err error }

func (e *contentError) Error() string { return e.err.Error() }
func (e *contentError) Unwrap() error { return e.err }
