package maps

import (
	"context"
	"iter"
)

// Chain is a list of maps that is asked as one: each key is asked of every map in
// order, and the first that has it answers. A map that cannot be asked ends the
// search with its error, since what it holds might come first.
type Chain []Map

// Lookup implements Map.
func (c Chain) Lookup(ctx context.Context, key string) (Entry, bool, error) {
	for _, m := range c {
		if e, found, err := m.Lookup(ctx, key); found || err != nil {
			return e, found, err
		}
	}
	return Entry{}, false, nil
}

// All walks over the entries of the maps that can be listed, one map after the other.
func (c Chain) All() iter.Seq2[string, Entry] {
	return func(yield func(string, Entry) bool) {
		for _, m := range c {
			s, ok := m.(Snapshot)
			if !ok {
				continue
			}
			for key, e := range s.All() {
				if !yield(key, e) {
					return
				}
			}
		}
	}
}

// Problems are those of all maps that can be listed.
func (c Chain) Problems() (first []Problem, all int) {
	for _, m := range c {
		if s, ok := m.(Snapshot); ok {
			some, n := s.Problems()
			first, all = append(first, some...), all+n
		}
	}
	return first, all
}

// Parts are the maps that m asks: those of a Chain, else m itself; none for nil.
func Parts(m Map) []Map {
	switch m := m.(type) {
	case nil:
		return nil
	case Chain:
		return append([]Map{}, m...)
	}
	return []Map{m}
}
