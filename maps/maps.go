// Package maps reads the administrator's tables: the access table as makemap
// reads it, and class files such as relay-domains. Tables are immutable
// snapshots that remember where each entry came from; a Table keeps the last
// good snapshot of a file and follows its edits.
package maps

import (
	"context"
	"strconv"
)

// A Map answers one exact key. Keys are compared without regard to ASCII case.
// found=false with a nil error means "certainly absent"; an error means "could
// not be asked", and must never be taken for absence.
type Map interface {
	Lookup(ctx context.Context, key string) (entry Entry, found bool, err error)
}

// Entry is a table entry: its value as written, and where it stands.
type Entry struct {
	Value  string
	Source Source
}

// Source says where an entry came from.
type Source struct {
	File string
	Line int // from 1; 0 where lines have no meaning
}

func (s Source) String() string {
	if s.Line == 0 {
		return s.File
	}
	return s.File + ":" + strconv.Itoa(s.Line)
}
