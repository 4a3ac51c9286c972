package setup

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// followEvery is how often files are looked at, at most: when what they hold is
// asked for.
const followEvery = time.Second

// maxFollowed bounds the size of such a file, in bytes.
const maxFollowed = 4 << 20

// followed is what some files hold together, read anew when they have changed. A
// version that cannot be read leaves the one before in force and is logged once.
type followed[T any] struct {
	what    string // in the log
	files   []string
	read    func() (T, error)
	log     *slog.Logger
	current atomic.Pointer[T]
	failed  atomic.Pointer[error]
	next    atomic.Int64 // when the files are to be looked at again, Unix nanoseconds

	mu   sync.Mutex
	seen []stamp
}

// stamp tells versions of a file apart.
type stamp struct {
	inode          uint64
	size           int64
	changed, wrote syscall.Timespec
	missing        bool
}

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{missing: true}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{size: info.Size()}
	}
	return stamp{inode: st.Ino, size: st.Size, changed: st.Ctim, wrote: st.Mtim}
}

// follow reads the files for the first time.
func follow[T any](what string, files []string, read func() (T, error), log *slog.Logger) (*followed[T], error) {
	f := &followed[T]{what: what, files: files, read: read, log: log}
	f.seen = f.stamps()
	first, err := read()
	if err != nil {
		return nil, err
	}
	f.current.Store(&first)
	f.next.Store(time.Now().Add(followEvery).UnixNano())
	return f, nil
}

func (f *followed[T]) stamps() []stamp {
	all := make([]stamp, len(f.files))
	for i, name := range f.files {
		all[i] = stampOf(name)
	}
	return all
}

// get is what the files hold, as of a second ago. Whoever finds another one looking
// does not wait.
func (f *followed[T]) get() T {
	now := time.Now()
	if now.UnixNano() >= f.next.Load() && f.mu.TryLock() {
		f.look()
		f.next.Store(now.Add(followEvery).UnixNano())
		f.mu.Unlock()
	}
	return *f.current.Load()
}

// look reads the files anew if they have changed.
func (f *followed[T]) look() {
	now := f.stamps()
	same := true
	for i := range now {
		same = same && now[i] == f.seen[i]
	}
	if same {
		return
	}
	f.seen = now // taken before reading: a change meanwhile is seen the next time
	next, err := f.read()
	if err != nil {
		f.failed.Store(&err)
		f.log.Error(f.what+" cannot be taken over, the one before stays in force", "error", err)
		return
	}
	f.failed.Store(nil)
	f.current.Store(&next)
	f.log.Info(f.what+" read anew", "files", f.files)
}

// fault is why the files as they are now are not in force; nil when they are.
func (f *followed[T]) fault() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// readSmall reads a regular file. A secret one must not be readable by everybody.
func readSmall(file string, secret bool) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", file)
	case secret && info.Mode().Perm()&0o007 != 0:
		return nil, fmt.Errorf("%s: its mode is %04o, by which everybody on this host can read or change it, expected 0600, or 0640 with a group of its own: chmod o= %s", file, info.Mode().Perm(), file)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFollowed+1))
	if err == nil && len(data) > maxFollowed {
		err = fmt.Errorf("%s: larger than %d bytes", file, maxFollowed)
	}
	return data, err
}
