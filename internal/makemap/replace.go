package makemap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// newMode is the mode of a database that was not there before, as makemap has it.
const newMode = 0o640

// askAgain is the pause between two tries for a lock.
const askAgain = 20 * time.Millisecond

// oldFile is the database that is to be replaced, locked; file is nil when there
// is none.
type oldFile struct {
	file *os.File
	info fs.FileInfo
}

// lockOld opens the database and locks it against other writers. Another one that
// was waited for may have put a new file there: then that is the one to lock.
func lockOld(ctx context.Context, path string) (*oldFile, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return &oldFile{}, nil
		}
		if err != nil {
			return nil, err
		}
		old := &oldFile{file: f}
		if old.info, err = f.Stat(); err == nil && !old.info.Mode().IsRegular() {
			err = fmt.Errorf("%s: is no regular file", path)
		}
		if err == nil {
			err = waitForLock(ctx, f, unix.LOCK_EX)
		}
		if err != nil {
			old.close()
			return nil, err
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(now, old.info) {
			return old, nil
		}
		old.close()
	}
}

// lockShared waits for a reader's lock, for a short time.
func lockShared(f *os.File) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return waitForLock(ctx, f, unix.LOCK_SH)
}

func waitForLock(ctx context.Context, f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: locked by another program: %w", f.Name(), ctx.Err())
		case <-time.After(askAgain):
		}
	}
}

// replace writes a file beside path and puts it in its place.
func (o *oldFile) replace(path string, fill func(io.Writer) error) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".*.new")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if err := fill(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := o.dress(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	o.outdate()
	return syncDir(dir)
}

// dress gives the new file the old one's mode and owner.
func (o *oldFile) dress(f *os.File) error {
	if o.info == nil {
		return f.Chmod(newMode)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(o.file.Fd()), &st); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	return f.Chmod(o.info.Mode().Perm())
}

// outdate makes sendmail's processes that have the old file open look for the new
// one: they compare the time of the file that they hold with that of its opening.
func (o *oldFile) outdate() {
	if o.file != nil {
		now := unix.NsecToTimeval(time.Now().UnixNano())
		_ = unix.Futimes(int(o.file.Fd()), []unix.Timeval{now, now})
	}
}

func (o *oldFile) close() {
	if o.file != nil {
		o.file.Close()
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
