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

// parse makes a snapshot of a file's bytes, with so many goroutines.
func (s *Spec) parse(kind Kind, file, data string, workers int) (Snapshot, error) {
	how := making{check: s.Check, workers: workers}
	switch kind {
	case KindText:
		return snapshotOr(makeText(file, s.Format, data, how))
	case KindDB, KindCDB, KindLMDB:
		return snapshotOr(parseDatabase(kind, file, data, how))
	case KindCIDR:
		return s.checked(snapshotOr(parseNetworks(file, s.Format, data)))
	case KindRegex:
		return s.checked(snapshotOr(parsePatterns(file, data)))
	}
	return nil, fmt.Errorf("%s: a %s map is no file", file, kind)
}

// snapshotOr keeps a nil pointer from becoming a Snapshot that is not nil.
func snapshotOr[S Snapshot](s S, err error) (Snapshot, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// checked asks the Spec's Check about each entry.
func (s *Spec) checked(snapshot Snapshot, err error) (Snapshot, error) {
	if err != nil || s.Check == nil {
		return snapshot, err
	}
	for key, e := range snapshot.All() {
		if err := s.Check(key, e.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Source, err)
		}
	}
	return snapshot, nil
}

// Current is the file that is to be read now: the table's own, or the one beside it.
func (s Spec) Current() string { return s.current() }

// Parse makes a snapshot of the bytes of one of the table's files, for whoever has read
// it himself. It fails as Open does for what is in a file.
func (s Spec) Parse(file, data string) (snapshot Snapshot, err error) {
	defer func() {
		if r := recover(); r != nil {
			snapshot, err = nil, fmt.Errorf("%s: fault in the program while reading: %v", file, r)
		}
	}()
	return s.parse(s.kindOf(file), file, data, 1)
}
