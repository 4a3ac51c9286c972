package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// disk is every file operation of the spool; names are relative to its directory.
// Tests record them, and make them fail.
type disk interface {
	open(name string) (file, error)   // for reading and writing
	create(name string) (file, error) // must not exist
	rename(from, to string) error
	unlink(name string) error
	mkdir(name string) error // being there already is no error
	names(dir string) ([]string, error)
	syncDir(name string) error
	free() (int64, error) // bytes that we may still use
}

type file interface {
	writeAt(parts [][]byte, off int64) error // one write, if the system takes it as one
	readAt(p []byte, off int64) error        // all of p
	size() (int64, error)
	sync() error // data, and the metadata needed to read it back
	close() error
}

// dirDisk is a directory of the file system.
type dirDisk string

func (d dirDisk) at(name string) string { return filepath.Join(string(d), name) }

func (d dirDisk) open(name string) (file, error) { return openFile(d.at(name), unix.O_RDWR) }

func (d dirDisk) create(name string) (file, error) {
	return openFile(d.at(name), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)
}

func (d dirDisk) rename(from, to string) error { return os.Rename(d.at(from), d.at(to)) }

func (d dirDisk) unlink(name string) error {
	if err := unix.Unlink(d.at(name)); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "unlink", Path: d.at(name), Err: err}
	}
	return nil
}

func (d dirDisk) mkdir(name string) error {
	if err := os.Mkdir(d.at(name), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

func (d dirDisk) names(dir string) ([]string, error) {
	f, err := os.Open(d.at(dir))
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

func (d dirDisk) syncDir(name string) error {
	fd, err := retry(func() (int, error) {
		return unix.Open(d.at(name), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err == nil {
		_, err = retry(func() (int, error) { return 0, unix.Fsync(fd) })
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		return &os.PathError{Op: "fsync", Path: d.at(name), Err: err}
	}
	return nil
}

func (d dirDisk) free() (int64, error) {
	var s unix.Statfs_t
	// Of log/: writes to open files go well even if somebody has removed it.
	if _, err := retry(func() (int, error) { return 0, unix.Statfs(d.at(logDir), &s) }); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: d.at(logDir), Err: err}
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// osFile is a file descriptor without the runtime's poller: files never block.
type osFile struct {
	fd   int
	name string
}

func openFile(name string, flags int) (file, error) {
	fd, err := retry(func() (int, error) { return unix.Open(name, flags|unix.O_CLOEXEC, 0o600) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return &osFile{fd, name}, nil
}

// retry repeats what a signal has interrupted.
func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if err != unix.EINTR {
			return n, err
		}
	}
}

// maxParts is IOV_MAX.
const maxParts = 1024

func (f *osFile) writeAt(parts [][]byte, off int64) error {
	for len(parts) > 0 {
		now := parts[:min(len(parts), maxParts)]
		n, err := retry(func() (int, error) { return unix.Pwritev(f.fd, now, off) })
		if err == nil && n == 0 {
			err = unix.EIO
		}
		if err != nil {
			return &os.PathError{Op: "write", Path: f.name, Err: err}
		}
		off += int64(n)
		parts = skip(parts, n)
	}
	return nil
}

// skip is parts without their first n bytes; parts itself is left alone.
func skip(parts [][]byte, n int) [][]byte {
	for len(parts) > 0 && n >= len(parts[0]) {
		n -= len(parts[0])
		parts = parts[1:]
	}
	if n == 0 {
		return parts
	}
	rest := append([][]byte(nil), parts...)
	rest[0] = rest[0][n:]
	return rest
}

func (f *osFile) readAt(p []byte, off int64) error {
	for len(p) > 0 {
		n, err := retry(func() (int, error) { return unix.Pread(f.fd, p, off) })
		if err == nil && n == 0 {
			err = fmt.Errorf("ends at byte %d", off)
		}
		if err != nil {
			return &os.PathError{Op: "read", Path: f.name, Err: err}
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func (f *osFile) size() (int64, error) {
	var s unix.Stat_t
	if err := unix.Fstat(f.fd, &s); err != nil {
		return 0, &os.PathError{Op: "stat", Path: f.name, Err: err}
	}
	return s.Size, nil
}

func (f *osFile) sync() error {
	if _, err := retry(func() (int, error) { return 0, unix.Fdatasync(f.fd) }); err != nil {
		return &os.PathError{Op: "fdatasync", Path: f.name, Err: err}
	}
	return nil
}

func (f *osFile) close() error { return unix.Close(f.fd) }
