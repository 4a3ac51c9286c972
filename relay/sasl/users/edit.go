package users

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gatepost/internal/follow"
	"gatepost/relay/sasl"
)

// What an edit fails with, besides trouble with the file. Test with errors.Is.
var (
	ErrExists   = errors.New("account exists already")
	ErrNotFound = errors.New("no such account")
)

const (
	// lockPatience is how long an edit waits for another one.
	lockPatience = 10 * time.Second
	askAgain     = 20 * time.Millisecond
)

// Add makes an account, and the file when there is none: with mode 0600, for the user
// who calls. name and password are prepared by SASLprep, the password is not kept.
//
// Edits are atomic: the daemon sees the file as it was or as it is, never half of it.
// They keep its owner, mode and comments, wait for each other, and fail for a file
// that does not parse.
func Add(ctx context.Context, path, name, password string, o Options) error {
	return edit(ctx, path, func(f *text) error {
		name, err := sasl.PrepareName(name)
		if err != nil {
			return err
		}
		if _, there := f.content.accounts[name]; there {
			return fmt.Errorf("%s: account %q: %w", path, name, ErrExists)
		}
		line, err := accountLine(name, password, o)
		if err != nil {
			return err
		}
		f.lines = append(f.lines, line+"\n")
		return nil
	})
}

// SetPassword gives an account new secrets. Without options, they are of the kinds that
// it has.
func SetPassword(ctx context.Context, path, name, password string, o *Options) error {
	return edit(ctx, path, func(f *text) error {
		at, name, err := f.find(path, name)
		if err != nil {
			return err
		}
		if o == nil {
			same := kinds(f.content.accounts[name])
			o = &same
		}
		line, err := accountLine(name, password, *o)
		if err != nil {
			return err
		}
		f.lines[at] = line + "\n"
		return nil
	})
}

// Delete takes an account away.
func Delete(ctx context.Context, path, name string) error {
	return edit(ctx, path, func(f *text) error {
		at, _, err := f.find(path, name)
		if err != nil {
			return err
		}
		f.lines = slices.Delete(f.lines, at, at+1)
		return nil
	})
}

// text is a file under an edit.
type text struct {
	lines   []string // with their ends
	content *content
}

// find is the index of an account's line, and its name.
func (f *text) find(path, name string) (int, string, error) {
	prepared, err := sasl.PrepareName(name)
	if err != nil {
		return 0, "", err
	}
	line, ok := f.content.lines[prepared]
	if !ok {
		return 0, "", fmt.Errorf("%s: account %q: %w", path, prepared, ErrNotFound)
	}
	return line - 1, prepared, nil
}

// edit changes the file under a lock of its folder.
func edit(ctx context.Context, path string, change func(*text) error) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	unlock, err := lock(ctx, filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	data, err := follow.Read(path, maxFile, true)
	fresh := errors.Is(err, fs.ErrNotExist)
	if fresh {
		data, err = []byte(head()), nil
	}
	if err != nil {
		return err
	}
	f := &text{}
	if f.content, err = parse(path, data); err != nil {
		return err
	}
	f.lines = slices.Collect(strings.Lines(string(data)))
	if n := len(f.lines); n > 0 && !strings.HasSuffix(f.lines[n-1], "\n") {
		f.lines[n-1] += "\n"
	}
	if err := change(f); err != nil {
		return err
	}
	if f.content.usual.Seed == nil {
		f.lines = slices.Insert(f.lines, min(1, len(f.lines)), newSeed())
	}
	after := strings.Join(f.lines, "")
	if _, err := parse(path, []byte(after)); err != nil {
		return fmt.Errorf("the file would become bad: %w", err)
	}
	return replace(path, after)
}

// lock waits for the edits of others.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { d.Close() }, nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			d.Close()
			return nil, fmt.Errorf("%s: lock: %w", dir, err)
		}
		select {
		case <-ctx.Done():
			d.Close()
			return nil, fmt.Errorf("%s: accounts are being changed by another program: %w", dir, ctx.Err())
		case <-time.After(askAgain):
		}
	}
}

// replace puts a new file in the place of path, with the owner and mode of the old one.
func replace(path, content string) (err error) {
	if len(content) > maxFile {
		return fmt.Errorf("%s: would have more than %d bytes", path, maxFile)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.new") // 0600
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err := f.WriteString(content); err != nil {
		return err
	}
	if err := dress(f, path); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// dress gives the new file the old one's owner and mode. Who may not give it away must
// be its owner.
func dress(f *os.File, path string) error {
	var old, ours unix.Stat_t
	if err := unix.Stat(path, &old); err == unix.ENOENT {
		return nil
	} else if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := unix.Fstat(int(f.Fd()), &ours); err != nil {
		return err
	}
	if old.Uid != ours.Uid || old.Gid != ours.Gid {
		if err := f.Chown(int(old.Uid), int(old.Gid)); err != nil {
			return fmt.Errorf("%s: cannot keep its owner: %w", path, err)
		}
	}
	return f.Chmod(fs.FileMode(old.Mode & 0o770))
}
