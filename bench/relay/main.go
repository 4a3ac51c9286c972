// Relay measures gatepost-relay from end to end: clients bring messages, the relay
// makes them durable and hands them to a sink, which counts. With -also another relay
// that delivers to the same sink takes turns with it, for instance a Postfix with
// relayhost = [127.0.0.1]:2599. With -backlog it is the queue that is measured. What is printed is the median of the rounds, and of
// their ratios to that relay. Run it from the top of the repository.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "relay:", err)
		os.Exit(1)
	}
}

// work is what clients bring.
type work struct {
	name  string
	size  int  // bytes of a message
	reuse bool // a client keeps its connection
	count int
}

var works = []work{
	{"4 KB, connections kept", 4 << 10, true, 10000},
	{"4 KB, a connection each", 4 << 10, false, 5000},
	{"100 KB, connections kept", 100 << 10, true, 1500},
}

// result is what came of it.
type result struct {
	perSecond float64 // messages at the sink
	cpu       float64 // ms of the relay a message; 0: not known
	syncs     float64 // a message; likewise
	peak      float64 // MiB of anonymous memory; likewise
}

func run(args []string) error {
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	rounds := flags.Int("rounds", 3, "how often each figure is taken")
	clients := flags.Int("clients", 20, "clients at a time")
	program := flags.String("program", "bin/gatepost-relay", "what is measured")
	also := flags.String("also", "", "`HOST:PORT` of another relay, to compare with")
	sinkAddr := flags.String("sink", "127.0.0.1:2599", "where relays deliver to")
	backlogs := flags.Bool("backlog", false, "measure the queue instead: dead destinations, starts, memory (needs root)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *backlogs {
		return measureBacklogs(*program)
	}
	s, err := listenSink(*sinkAddr)
	if err != nil {
		return err
	}
	defer s.close()
	ours, theirs := map[string][]result{}, map[string][]result{}
	for range *rounds {
		for _, w := range works {
			if *also != "" {
				r, err := bring(*also, s, w, *clients)
				if err != nil {
					return fmt.Errorf("%s: %w", *also, err)
				}
				theirs[w.name] = append(theirs[w.name], r)
			}
			r, err := measure(*program, *sinkAddr, s, w, *clients)
			if err != nil {
				return err
			}
			ours[w.name] = append(ours[w.name], r)
		}
	}
	return report(ours, theirs, *clients, *rounds)
}

func report(ours, theirs map[string][]result, clients, rounds int) error {
	fmt.Printf("%d clients, medians of %d rounds\n\n", clients, rounds)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "work\tmessages/s\tratio\tCPU ms each\tsyncs each\tpeak MiB")
	for _, k := range works {
		of := func(field func(result) float64) float64 { return median(ours[k.name], field) }
		ratio := "-"
		if len(theirs[k.name]) > 0 {
			var list []float64
			for i, r := range ours[k.name] {
				list = append(list, r.perSecond/theirs[k.name][i].perSecond)
			}
			slices.Sort(list)
			ratio = fmt.Sprintf("%.2f", list[len(list)/2])
		}
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%.2f\t%.2f\t%.1f\n", k.name, of(func(r result) float64 { return r.perSecond }), ratio,
			of(func(r result) float64 { return r.cpu }), of(func(r result) float64 { return r.syncs }), of(func(r result) float64 { return r.peak }))
	}
	return w.Flush()
}

func median(of []result, field func(result) float64) float64 {
	var list []float64
	for _, r := range of {
		list = append(list, field(r))
	}
	slices.Sort(list)
	return list[len(list)/2]
}
