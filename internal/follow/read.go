package follow

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// sighting is what tells that a file is another one.
type sighting struct {
	dev, ino     uint64
	size         int64
	mode         fs.FileMode
	mtime, ctime int64
	unsettled    bool
	unreadable   string
}

// same tells whether nothing but its age is another.
func (s sighting) same(t sighting) bool {
	s.unsettled, t.unsettled = false, false
	return s == t
}

func sight(path string) sighting {
	info, err := os.Stat(path)
	if err != nil {
		return sighting{unreadable: err.Error()}
	}
	s := sighting{size: info.Size(), mode: info.Mode(), mtime: info.ModTime().UnixNano()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.dev, s.ino, s.ctime = uint64(st.Dev), st.Ino, st.Ctim.Nano()
	}
	age := time.Since(info.ModTime())
	s.unsettled = age >= 0 && age < settled
	return s
}

// Read is the content of a regular file of at most most bytes that does not change
// while it is read. A secret one must not be open to every user of the host.
func Read(path string, most int64, secret bool) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, err
	}
	switch mode := before.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("%s: not a regular file", path)
	case secret && mode.Perm()&0o007 != 0:
		return nil, fmt.Errorf("%s: its mode is %04o, by which everybody on this host can read or change it; expected 0600, 0640 or 0660: chmod o= %s", path, mode.Perm(), path)
	case before.Size() > most:
		return nil, fmt.Errorf("%s: has %d bytes; expected at most %d", path, before.Size(), most)
	}
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	after, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if int64(len(content)) != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return nil, fmt.Errorf("%s: changed while it was read", path)
	}
	return content, nil
}
