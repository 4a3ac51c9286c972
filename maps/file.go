package maps

import (
	"fmt"
	"hash/maphash"
	"os"
)

// fileSeed makes the sums by which a file that was only touched is told from one
// that says something else.
var fileSeed = maphash.MakeSeed()

// current is the file to read: the table's own, or the one beside it.
func (s *Spec) current() string {
	if s.Beside.Path == "" {
		return s.Path
	}
	beside, err := os.Stat(s.Beside.Path)
	if err != nil || !beside.Mode().IsRegular() {
		return s.Path
	}
	own, err := os.Stat(s.Path)
	if os.IsNotExist(err) || err == nil && s.Beside.IfNewer && beside.ModTime().After(own.ModTime()) {
		return s.Beside.Path
	}
	return s.Path
}

// files are the files that a table may be read from.
func (s *Spec) files() []string {
	if s.Beside.Path == "" {
		return []string{s.Path}
	}
	return []string{s.Path, s.Beside.Path}
}

func (s *Spec) kindOf(file string) Kind {
	if file == s.Beside.Path && file != s.Path {
		return s.Beside.Kind
	}
	return s.Kind
}

// parse makes a snapshot of a file's bytes.
func (s *Spec) parse(kind Kind, file, data string) (Snapshot, error) {
	switch kind {
	case KindText:
		return parseText(file, s.Format, data)
	case KindCIDR:
		return parseNetworks(file, data)
	case KindRegex:
		return parsePatterns(file, data)
	}
	return nil, fmt.Errorf("%s: a %s map is no file", file, kind)
}

// at is where an entry stands, for a message: in a database only its key tells.
func (e Entry) at(key string) string {
	if e.Source.Line == 0 {
		return fmt.Sprintf("%s: key %s", e.Source, key)
	}
	return e.Source.String()
}
