package maps

import "log/slog"

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
	switch spec.Kind {
	case KindRedis:
		return storeOr(openRedis(spec, log))
	case KindSocketmap, KindLDAP:
		return storeOr(openServer(spec, log))
	}
	return storeOr(Open(spec, log))
}

// storeOr keeps a nil pointer from becoming a Store that is not nil.
func storeOr[S Store](s S, err error) (Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Is implements Store.
func (t *Table) Is(spec Spec) bool {
	return t.spec.Name == spec.Name && t.spec.Kind == spec.Kind && t.spec.Path == spec.Path && t.spec.Beside == spec.Beside
}
