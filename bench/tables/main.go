// Tables measures what a table of a million lines costs, beside libdb and tinycdb
// that read the same lines. Each figure is taken in a process of its own, the
// programs take turns, and what is printed is the median of the rounds, and of
// their ratios.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "tables:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) > 1 && args[0] == "measure" {
		return measure(args[1:])
	}
	flags := flag.NewFlagSet("tables", flag.ContinueOnError)
	b := bench{results: map[string][]figures{}}
	flags.IntVar(&b.rounds, "rounds", 5, "how often each figure is taken")
	flags.StringVar(&b.seconds, "seconds", "1", "how long lookups are made for a figure")
	flags.StringVar(&b.dir, "dir", filepath.Join(os.TempDir(), "gatepost-bench"), "where files are made")
	lines := flags.Int("lines", 1_000_000, "lines of the table")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := b.prepare(*lines); err != nil {
		return err
	}
	if err := b.measure(); err != nil {
		return err
	}
	b.report(os.Stdout)
	return nil
}

// measure takes one figure, in a process of its own.
func measure(args []string) error {
	f := filesIn(args[1])
	switch args[0] {
	case "load":
		return measureLoad(f.text)
	case "hash", "btree", "cdb":
		return measureLoad(databases(args[1])[args[0]])
	case "present", "absent":
		seconds, err := strconv.ParseFloat(args[2], 64)
		if err != nil {
			return err
		}
		return measureLookups(f.text, filepath.Join(args[1], args[0]), seconds)
	case "reload":
		seconds, err := strconv.ParseFloat(args[2], 64)
		if err != nil {
			return err
		}
		return measureReload(f, seconds)
	}
	return fmt.Errorf("measure: unknown figure %q", args[0])
}

// figures are what one process has printed: name=number.
type figures map[string]float64

type bench struct {
	rounds       int
	seconds, dir string
	self, peers  string
	results      map[string][]figures // by what was measured, one for each round
}

// prepare makes the files, the peers' program and their databases.
func (b *bench) prepare(lines int) (err error) {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "generating %d lines in %s\n", lines, b.dir)
	if err := generate(filesIn(b.dir), lines); err != nil {
		return err
	}
	if err := makeDatabases(b.dir, filesIn(b.dir).text); err != nil {
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	b.peers = filepath.Join(b.dir, "peers")
	build := exec.Command("bench/peers/build.sh", b.peers)
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("bench/peers/build.sh (run from the top of the repository): %w", err)
	}
	return nil
}

func (b *bench) measure() error {
	text := filesIn(b.dir).text
	database := func(kind string) string { return filepath.Join(b.dir, kind) }
	for round := range b.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, b.rounds)
		commands := [][]string{
			{"load", b.self, "measure", "load", b.dir},
			{"hash load", b.self, "measure", "hash", b.dir},
			{"btree load", b.self, "measure", "btree", b.dir},
			{"cdb load", b.self, "measure", "cdb", b.dir},
			{"cdb make", b.peers, "cdb", "make", text, database("cdb")},
			{"libdb make", b.peers, "libdb", "make", text, database("libdb")},
		}
		for _, sample := range []string{"present", "absent"} {
			commands = append(commands,
				[]string{"libdb " + sample, b.peers, "libdb", "get", database("libdb"), database(sample), b.seconds},
				[]string{"gatepost " + sample, b.self, "measure", sample, b.dir, b.seconds},
				[]string{"cdb " + sample, b.peers, "cdb", "get", database("cdb"), database(sample), b.seconds})
		}
		commands = append(commands, []string{"reload", b.self, "measure", "reload", b.dir, b.seconds})
		for _, c := range commands {
			if err := b.take(c[0], c[1:]...); err != nil {
				return err
			}
		}
	}
	return nil
}

// take runs a process and keeps the figures that it prints.
func (b *bench) take(what string, command ...string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %s: %w", what, strings.Join(command, " "), err)
	}
	f := figures{}
	for _, word := range strings.Fields(string(out)) {
		name, number, _ := strings.Cut(word, "=")
		if f[name], err = strconv.ParseFloat(number, 64); err != nil {
			return fmt.Errorf("%s: %s: %q is no figure", what, strings.Join(command, " "), word)
		}
	}
	b.results[what] = append(b.results[what], f)
	return nil
}

// median is the middle of what f makes of each round.
func (b *bench) median(f func(round int) float64) float64 {
	all := make([]float64, b.rounds)
	for i := range all {
		all[i] = f(i)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// of is the median of a figure.
func (b *bench) of(what, name string) float64 {
	return b.median(func(round int) float64 { return b.results[what][round][name] })
}

// ratio is the median of the rounds' ratios of a figure of two programs.
func (b *bench) ratio(one, other, name string) float64 {
	return b.median(func(round int) float64 { return b.results[one][round][name] / b.results[other][round][name] })
}
