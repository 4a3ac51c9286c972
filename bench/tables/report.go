package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// report prints the medians.
func (b *bench) report(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "medians of %d rounds\n\n", b.rounds)

	fmt.Fprintln(w, "making\tseconds\tCPU seconds\tmemory MiB\tpeak MiB")
	fmt.Fprintf(w, "gatepost, text to serving\t%.3f\t%.3f\t%.1f\t%.1f\n", b.of("load", "seconds"), b.of("load", "cpu_seconds"),
		b.of("load", "memory_mib"), b.of("load", "peak_mib"))
	fmt.Fprintf(w, "the same, best round\t%.3f\t%.3f\n", b.best("load", "seconds"), b.best("load", "cpu_seconds"))
	for _, typ := range []string{"hash", "btree", "cdb"} {
		what := typ + " load"
		fmt.Fprintf(w, "gatepost, %s database to serving\t%.3f\t%.3f\t%.1f\t%.1f\t%.2f times the text\n", typ, b.of(what, "seconds"), b.of(what, "cpu_seconds"),
			b.of(what, "memory_mib"), b.of(what, "peak_mib"), b.ratio(what, "load", "seconds"))
	}
	for _, peer := range []string{"cdb", "libdb"} {
		fmt.Fprintf(w, "%s, text to database\t%.3f\n", peer, b.of(peer+" make", "seconds"))
	}

	fmt.Fprintln(w, "\nlookup, one thread\tp50 ns\tmean ns\tp50 of gatepost's")
	for _, sample := range []string{"present", "absent"} {
		own := "gatepost " + sample
		for _, program := range []string{"gatepost", "cdb", "libdb"} {
			what := program + " " + sample
			fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.2f\n", what, b.of(what, "p50_ns"), b.of(what, "mean_ns"), b.ratio(what, own, "p50_ns"))
		}
	}

	fmt.Fprintln(w, "\nlookups of two goroutines\tp50 ns\tp99 ns\tfailed")
	fmt.Fprintf(w, "before\t%.0f\t%.0f\n", b.of("reload", "before_p50_ns"), b.of("reload", "before_p99_ns"))
	fmt.Fprintf(w, "during reloads of %.3f s\t%.0f\t%.0f\t%.0f of %.0f\n", b.of("reload", "seconds"), b.of("reload", "during_p50_ns"),
		b.of("reload", "during_p99_ns"), b.total("reload", "failed"), b.total("reload", "during_lookups"))
	fmt.Fprintf(w, "ratio\t%.2f\t%.2f\n", b.duringTo("p50_ns"), b.duringTo("p99_ns"))
}

// duringTo is the median of a figure during reloads to before.
func (b *bench) duringTo(name string) float64 {
	return b.median(func(round int) float64 {
		f := b.results["reload"][round]
		return f["during_"+name] / f["before_"+name]
	})
}

func (b *bench) best(what, name string) float64 {
	var all []float64
	for _, f := range b.results[what] {
		all = append(all, f[name])
	}
	return slices.Min(all)
}

func (b *bench) total(what, name string) (sum float64) {
	for _, f := range b.results[what] {
		sum += f[name]
	}
	return sum
}
