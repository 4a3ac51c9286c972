package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	defaultSocketMode fs.FileMode = 0o660

	maxSocketPath = 107 // sun_path of Linux, with its NUL
	backlog       = 4096
	probeWait     = 2 * time.Second
)

// unixListener removes its socket when closed, if it is still the one it made.
type unixListener struct {
	net.Listener
	path   string
	made   fs.FileInfo
	remove sync.Once // a second time it might be a successor's
}

func (l *unixListener) Close() error {
	l.remove.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.made) {
			_ = os.Remove(l.path)
		}
	})
	return l.Listener.Close()
}

// listenUnix binds first, sets owner and mode, and listens last: until then the
// kernel refuses connections, so that the socket is never more open than asked.
func listenUnix(path string, opt SocketOptions) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path has %d bytes, at most %d are possible", len(path), maxSocketPath)
	}
	uid, gid, err := owner(opt)
	if err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer func() { _ = file.Close() }() // FileListener has its own
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	ln, err := ready(file, fd, path, opt.Mode, uid, gid)
	if err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	return ln, nil
}

// ready makes a bound socket ready.
func ready(file *os.File, fd int, path string, mode fs.FileMode, uid, gid int) (net.Listener, error) {
	if mode.Perm() == 0 {
		mode = defaultSocketMode
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Lchown(path, uid, gid); err != nil {
			return nil, fmt.Errorf("set owner: %w", pathCause(err))
		}
	}
	if err := os.Chmod(path, mode.Perm()); err != nil {
		return nil, fmt.Errorf("set mode: %w", pathCause(err))
	}
	made, err := os.Lstat(path)
	if err != nil {
		return nil, pathCause(err)
	}
	if err := syscall.Listen(fd, backlog); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, rootCause(err)
	}
	return &unixListener{Listener: ln, path: path, made: made}, nil
}

// removeStale makes way at path. Only a socket on which nobody listens goes.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return pathCause(err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	c, err := net.DialTimeout("unix", path, probeWait)
	if err == nil {
		_ = c.Close()
		return fmt.Errorf("socket %s is in use by a running daemon", path)
	}
	switch {
	case errors.Is(err, syscall.ENOENT):
		return nil
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("socket %s is in use by a running daemon (which is busy)", path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("socket %s exists, and whether a daemon uses it cannot be told: %w", path, rootCause(err))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove stale socket: %w", pathCause(err))
	}
	return nil
}

// owner looks up who is to own the socket; -1 leaves it.
func owner(opt SocketOptions) (uid, gid int, err error) {
	uid, gid = -1, -1
	if opt.Owner != "" {
		if uid, err = numeric(opt.Owner, func(name string) (string, error) {
			u, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return u.Uid, nil
		}); err != nil {
			return 0, 0, fmt.Errorf("owner %q: %w", opt.Owner, err)
		}
	}
	if opt.Group != "" {
		if gid, err = numeric(opt.Group, func(name string) (string, error) {
			g, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return g.Gid, nil
		}); err != nil {
			return 0, 0, fmt.Errorf("group %q: %w", opt.Group, err)
		}
	}
	return uid, gid, nil
}

func numeric(s string, lookup func(string) (string, error)) (int, error) {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return int(n), nil
	}
	id, err := lookup(s)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(id)
}

// pathCause drops package os's repetition of the path.
func pathCause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
