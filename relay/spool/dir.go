package spool

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

var errLocked = errors.New("another process uses this spool")

// lockDir makes the directory if it is missing, and sees to it that nobody else uses it.
func lockDir(dir string) (unlock func() error, err error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = fmt.Errorf("%s: %w", name, errLocked)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// makeDir makes a missing directory, and those above it, so that they outlive a crash.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return dirDisk(parent).syncDir(".")
}

// Format 2 has what RFC 3461 and reports need in envelopes and states; all that format 1
// has means the same in it. Programs that know only format 1 must not open it.
const (
	formatName = "format"
	formatLine = "gatepost spool, format 2"
	formatOld  = "gatepost spool, format 1"
)

// prepareDir makes or checks what every spool has: its folders, and the file that says
// what format it is and which mark its records have.
func (s *Spool) prepareDir() error {
	for _, name := range []string{logDir, mailDir, tmpDir, asideDir} {
		if err := s.d.mkdir(name); err != nil {
			return err
		}
	}
	if err := s.d.syncDir("."); err != nil {
		return err
	}
	var old bool
	var err error
	if s.mark, old, err = s.format(); errors.Is(err, os.ErrNotExist) {
		return s.makeFormat()
	}
	if err == nil && old {
		err = s.writeFormat()
	}
	return err
}

// format reads the format file.
func (s *Spool) format() (m mark, old bool, err error) {
	f, err := s.d.open(formatName)
	if err != nil {
		return m, false, err
	}
	defer f.close()
	size, err := f.size()
	if err != nil {
		return m, false, err
	}
	text := make([]byte, min(size, 4096))
	if err := f.readAt(text, 0); err != nil {
		return m, false, err
	}
	return readFormat(string(text))
}

// readFormat reads the text of a format file; old says that it is that of format 1.
func readFormat(text string) (m mark, old bool, err error) {
	line, rest, _ := strings.Cut(text, "\n")
	if line != formatLine && line != formatOld {
		return m, false, fmt.Errorf("%s: this is %q; only %q and the one before can be read", formatName, cut(line, 80), formatLine)
	}
	hexMark, ok := strings.CutPrefix(strings.TrimSuffix(rest, "\n"), "mark ")
	b, err := hex.DecodeString(hexMark)
	if !ok || err != nil || len(b) != len(m) {
		return m, false, fmt.Errorf("%s:2: %q; expected mark and %d hexadecimal digits", formatName, cut(rest, 80), 2*len(m))
	}
	return mark(b), line == formatOld, nil
}

// makeFormat begins a new spool. One that has lost its format file is not new.
func (s *Spool) makeFormat() error {
	for _, dir := range []string{logDir, mailDir} {
		names, err := s.d.names(dir)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return fmt.Errorf("%s is missing, but there is %s/%s", formatName, dir, names[0])
		}
	}
	if _, err := rand.Read(s.mark[:]); err != nil {
		return err
	}
	return s.writeFormat()
}

// writeFormat makes the format file, or replaces it.
func (s *Spool) writeFormat() error {
	const name = tmpDir + "/" + formatName
	if err := s.d.unlink(name); err != nil {
		return err
	}
	f, err := s.d.create(name)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s\nmark %x\n", formatLine, s.mark)
	if err = f.writeAt([][]byte{[]byte(text)}, 0); err == nil {
		err = f.sync()
	}
	if err = errors.Join(err, f.close()); err == nil {
		err = s.d.rename(name, formatName)
	}
	if err != nil {
		return err
	}
	return s.d.syncDir(".")
}
