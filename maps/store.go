package maps

import (
	"fmt"
	"log/slog"
)

// A Store is one map of a table, kept open: a file that is followed, or a server.
// The set of its kinds is closed.
type Store interface {
	// Map is what a policy asks. Of a file it is the snapshot in force.
	Map() Map
	// Status is its state.
	Status() Status
	// Reload reads it now, whether it looks changed or not. After an error, which
	// has been logged, what was in force stays in force.
	Reload() (changed bool, err error)
	// Is tells whether it was opened by a Spec like this one.
	Is(Spec) bool
}

// OpenStore opens a map of any kind. A file must be there and be good, unless it
// is optional; a server may be down, and the map then cannot be asked until it is
// back.
func OpenStore(spec Spec, log *slog.Logger) (Store, error) {
	if !spec.Kind.remote() {
		return Open(spec, log)
	}
	return nil, fmt.Errorf("table %s: no %s maps yet", spec.Name, spec.Kind)
}

// Is implements Store.
func (t *Table) Is(spec Spec) bool {
	return t.spec.Name == spec.Name && t.spec.Kind == spec.Kind && t.spec.Path == spec.Path && t.spec.Beside == spec.Beside
}
