package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// sampleSize is how many keys are looked up, over and over.
const sampleSize = 100_000

// files is what is measured, and with what.
type files struct {
	text    string // an access table: key, tab, value
	present string // keys that it has, one a line, in random order
	absent  string // keys that it has not
	edited  string // the same table with another value in its last line
}

func filesIn(dir string) files {
	return files{
		text: filepath.Join(dir, "access"), present: filepath.Join(dir, "present"),
		absent: filepath.Join(dir, "absent"), edited: filepath.Join(dir, "access.edited"),
	}
}

// generate writes an access table of distinct keys and samples of keys, the same
// ones for the same number of lines: addresses and names that connect, senders and
// recipients, 37 bytes a line on average.
func generate(f files, lines int) error {
	g := generator{rng: rand.New(rand.NewPCG(2026, 4)), seen: make(map[string]bool, lines)}
	keys := g.keys(lines)
	err := errors.Join(
		writeLines(f.text, len(keys), func(i int) string { return keys[i] + "\t" + value(i) }),
		writeLines(f.edited, len(keys), func(i int) string {
			if i == len(keys)-1 {
				return keys[i] + "\tHATER"
			}
			return keys[i] + "\t" + value(i)
		}),
		writeLines(f.present, sampleSize, func(int) string { return keys[g.rng.IntN(len(keys))] }))
	absent := g.keys(sampleSize)
	return errors.Join(err, writeLines(f.absent, len(absent), func(i int) string { return absent[i] }))
}

func value(i int) string {
	values := []string{"REJECT", "OK", "RELAY", "DISCARD", "550 5.7.1 Access denied", "ERROR:4.7.1:450 try later"}
	return values[i%len(values)]
}

type generator struct {
	rng  *rand.Rand
	seen map[string]bool
}

// keys makes keys that were not made before.
func (g *generator) keys(n int) []string {
	keys := make([]string, 0, n)
	for len(keys) < n {
		if k := g.key(); !g.seen[k] {
			g.seen[k] = true
			keys = append(keys, k)
		}
	}
	return keys
}

func (g *generator) key() string {
	switch kind := g.rng.IntN(20); {
	case kind < 8:
		return fmt.Sprintf("connect:%d.%d.%d.%d", 11+g.rng.IntN(212), g.rng.IntN(256), g.rng.IntN(256), g.rng.IntN(256))
	case kind < 9:
		return fmt.Sprintf("connect:%d.%d.%d", 11+g.rng.IntN(212), g.rng.IntN(256), g.rng.IntN(256))
	case kind < 10:
		return fmt.Sprintf("connect:%s.%s.example", g.word(2), g.word(4))
	case kind < 13:
		return fmt.Sprintf("from:%s.example", g.word(6))
	case kind < 15:
		return fmt.Sprintf("from:%s@%s.example", g.word(3), g.word(4))
	case kind < 16:
		return fmt.Sprintf("to:%s.example", g.word(6))
	}
	return fmt.Sprintf("to:%s@%s.example", g.word(4), g.word(3))
}

// word is some syllables.
func (g *generator) word(syllables int) string {
	const consonants, vowels = "bdfghklmnprstvz", "aeiou"
	w := make([]byte, 0, 2*syllables)
	for range syllables {
		w = append(w, consonants[g.rng.IntN(len(consonants))], vowels[g.rng.IntN(len(vowels))])
	}
	return string(w)
}

func writeLines(path string, n int, line func(i int) string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	for i := range n {
		w.WriteString(line(i))
		w.WriteByte('\n')
	}
	return errors.Join(w.Flush(), f.Close())
}
