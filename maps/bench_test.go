package maps

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
)

// million is an access table of 1,000,000 lines, with some keys that it has and
// some that it has not.
func million() (text []byte, hits, misses []string) {
	rng := rand.New(rand.NewPCG(1, 2))
	keys := make([]string, 1_000_000)
	for i := range keys {
		switch rng.IntN(3) {
		case 0:
			keys[i] = fmt.Sprintf("Connect:%d.%d.%d.%d", 1+i>>16, i>>8&255, i&255, rng.IntN(256))
		case 1:
			keys[i] = fmt.Sprintf("From:user%06d@host%d.example.org", i, rng.IntN(1000))
		default:
			keys[i] = fmt.Sprintf("To:host-%07d.example.com", i)
		}
	}
	for i, k := range keys {
		text = append(append(text, k...), "\tERROR:5.7.1:550 no\n"...)
		if i%10 == 0 {
			hits = append(hits, k)
			misses = append(misses, k+"x")
		}
	}
	rng.Shuffle(len(hits), func(i, j int) { hits[i], hits[j] = hits[j], hits[i] })
	rng.Shuffle(len(misses), func(i, j int) { misses[i], misses[j] = misses[j], misses[i] })
	return text, hits, misses
}

// pairsOf yields the keys and values of an access table.
func pairsOf(text []byte) func(func(key, value []byte) error) error {
	return func(yield func(key, value []byte) error) error {
		for line := range bytes.Lines(text) {
			key, value, _ := bytes.Cut(line[:len(line)-1], []byte("\t"))
			if err := yield(key, value); err != nil {
				return err
			}
		}
		return nil
	}
}

func BenchmarkMillion(b *testing.B) {
	text, hits, misses := million()
	table, _, err := Parse("/f", FormatAccess, text)
	if err != nil || table.Len() != 1_000_000 {
		b.Fatalf("Len() = %d, error %v", table.Len(), err)
	}
	b.Run("load", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := Parse("/f", FormatAccess, text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pairs", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := NewPairs("/f", pairsOf(text)); err != nil {
				b.Fatal(err)
			}
		}
	})
	lookup := func(keys []string, want bool) func(*testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, found, _ := table.Lookup(context.Background(), keys[i%len(keys)]); found != want {
					b.Fatalf("Lookup(%q) found=%v", keys[i%len(keys)], found)
				}
			}
		}
	}
	b.Run("hit", lookup(hits, true))
	b.Run("miss", lookup(misses, false))
}
