package maps

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// broken is a map that cannot be asked for one key.
type broken struct {
	Map
	key string
}

func (b broken) Lookup(ctx context.Context, key string) (Entry, bool, error) {
	if key == b.key {
		return Entry{}, false, errors.New("down")
	}
	return b.Map.Lookup(ctx, key)
}

func TestChain(t *testing.T) {
	text := func(file, data string) *Text {
		t.Helper()
		m, _, err := Parse(file, FormatAccess, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first, last := text("/1", "a one\nb one\nx\n"), text("/2", "b two\nc two\nd two\n")
	c := Chain{first, broken{text("/m", ""), "d"}, last}
	for key, want := range map[string]string{
		"a": "one @/1:1", "b": "one @/1:2", "c": "two @/2:2", "d": "error: down", "e": "-",
	} {
		if got := lookupText(t, c, key); got != want {
			t.Errorf("Lookup(%s) = %s, want %s", key, got, want)
		}
	}
	var keys []string
	for key := range c.All() {
		keys = append(keys, key)
	}
	if !slices.Equal(keys, []string{"a", "b", "b", "c", "d"}) {
		t.Errorf("All() has %v", keys)
	}
	if p, n := c.Problems(); n != 1 || len(p) != 1 || p[0].Source.Line != 3 {
		t.Errorf("Problems() = %v, %d", p, n)
	}
	if len(Parts(c)) != 3 || len(Parts(first)) != 1 || Parts(nil) != nil {
		t.Errorf("Parts gave %v, %v, %v", Parts(c), Parts(first), Parts(nil))
	}
}
