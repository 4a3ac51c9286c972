// Dns measures what a question about a client in a DNS list costs, beside the usual
// way to ask: miekg/dns with a socket for each query. The list is rbldnsd's, with a
// million addresses and networks. Each figure is taken in a process of its own, the
// programs take turns, and what is printed is the median of the rounds, and of
// their ratios.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dns:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 5 && args[0] == "measure" {
		return measure(args[1], args[2], args[3], args[4])
	}
	flags := flag.NewFlagSet("dns", flag.ContinueOnError)
	rounds := flags.Int("rounds", 5, "how often each figure is taken")
	length := flags.Duration("length", 2*time.Second, "how long questions are asked for a figure")
	inFlight := flags.Int("inflight", 64, "questions at a time")
	dir := flags.String("dir", filepath.Join(os.TempDir(), "gatepost-bench"), "where files are made")
	entries := flags.Int("entries", 1_000_000, "entries of the list")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server, stop, err := startList(*dir, *entries)
	if err != nil {
		return err
	}
	defer stop()
	results, err := takeTurns(server, *rounds, *inFlight, *length)
	if err != nil {
		return err
	}
	fmt.Printf("%d questions at a time, medians of %d rounds\n\n", *inFlight, *rounds)
	return report(os.Stdout, results)
}

// result is one figure of one program.
type result struct {
	PerSecond float64 // answers
	CPU       float64 // microseconds of the process for each
	Median    float64 // microseconds to an answer
	High      float64 // at the 99th percentile
	Failed    int
	Listed    float64 // share of the answers
}

// programs are what is measured, the one that others are compared with first.
var programs = []string{"a socket a query", "gatepost", "gatepost, cached"}

func takeTurns(server string, rounds, inFlight int, length time.Duration) (map[string][]result, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	results := map[string][]result{}
	for range rounds {
		for _, p := range programs {
			cmd := exec.Command(self, "measure", p, server, strconv.Itoa(inFlight), length.String())
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", p, err)
			}
			var r result
			if err := json.Unmarshal(out, &r); err != nil {
				return nil, fmt.Errorf("%s: %w", p, err)
			}
			results[p] = append(results[p], r)
		}
	}
	return results, nil
}

func median(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
