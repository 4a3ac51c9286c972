package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
)

var background = context.Background()

// asker asks whether a name is listed.
type asker func(name string) (listed bool, err error)

// measure takes one figure and prints it.
func measure(program, server, inFlight, length string) error {
	workers, err := strconv.Atoi(inFlight)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(length)
	if err != nil {
		return err
	}
	ask, err := newAsker(program, server)
	if err != nil {
		return err
	}
	names := 0 // no name twice
	if program == "gatepost, cached" {
		names, workers = 1000, 1
	}
	return json.NewEncoder(os.Stdout).Encode(load(ask, workers, names, d))
}

func newAsker(program, server string) (asker, error) {
	if program == programs[0] {
		return func(name string) (bool, error) {
			c := mdns.Client{Timeout: time.Second}
			m := new(mdns.Msg)
			m.SetQuestion(name+".", mdns.TypeA)
			reply, _, err := c.Exchange(m, server)
			return err == nil && len(reply.Answer) > 0, err
		}, nil
	}
	c, err := dns.NewClient(dns.Config{Servers: []string{server}})
	if err != nil {
		return nil, err
	}
	return func(name string) (bool, error) {
		ans, err := c.Lookup(background, name, dns.TypeA)
		return !ans.Empty(), err
	}, nil
}

// tally is what one worker saw.
type tally struct {
	took           []float32 // microseconds
	failed, listed int
}

// load has workers ask for a time, each for names of its own, or for few over and over.
func load(ask asker, workers, names int, length time.Duration) result {
	tallies := make([]tally, workers)
	if names > 0 {
		tallies[0].ask(ask, known(names), time.Now().Add(100*time.Millisecond))
		tallies[0] = tally{}
	}
	var all sync.WaitGroup
	cpu, begin := spent(), time.Now()
	for i := range tallies {
		next := fresh(uint64(i))
		if names > 0 {
			next = known(names)
		}
		all.Go(func() { tallies[i].ask(ask, next, begin.Add(length)) })
	}
	all.Wait()
	took, used := time.Since(begin), spent()-cpu
	var sum tally
	for _, t := range tallies {
		sum.took = append(sum.took, t.took...)
		sum.failed += t.failed
		sum.listed += t.listed
	}
	slices.Sort(sum.took)
	n := float64(len(sum.took))
	return result{
		PerSecond: n / took.Seconds(), CPU: float64(used.Microseconds()) / n, Failed: sum.failed, Listed: float64(sum.listed) / n,
		Median: float64(sum.took[len(sum.took)/2]), High: float64(sum.took[len(sum.took)*99/100]),
	}
}

const batch = 100 // of known names for one figure: a clock's reading is not much less than an answer

func (t *tally) ask(ask asker, next func() []string, until time.Time) {
	for now := time.Now(); now.Before(until); {
		names := next()
		for _, name := range names {
			listed, err := ask(name)
			if err != nil {
				t.failed++
			}
			if listed {
				t.listed++
			}
		}
		end := time.Now()
		each := float32(end.Sub(now).Nanoseconds()) / 1e3 / float32(len(names))
		for range names {
			t.took = append(t.took, each)
		}
		now = end
	}
}

// fresh gives names that have not been asked for.
func fresh(seed uint64) func() []string {
	random := rand.New(rand.NewPCG(seed, uint64(time.Now().UnixNano())))
	one := make([]string, 1)
	return func() []string {
		one[0] = reverse(address(random))
		return one
	}
}

// known gives few names in turn.
func known(n int) func() []string {
	random := rand.New(rand.NewPCG(3, 4))
	var names []string
	for range n {
		names = append(names, reverse(address(random)))
	}
	at := 0
	return func() []string {
		at = (at + batch) % n
		return names[at : at+batch]
	}
}

func reverse(a [4]byte) string {
	b := make([]byte, 0, 32)
	for i := 3; i >= 0; i-- {
		b = append(strconv.AppendInt(b, int64(a[i]), 10), '.')
	}
	return string(append(b, zone...))
}

// spent is the CPU time of this process.
func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// report prints the medians.
func report(out io.Writer, results map[string][]result) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "program\tanswers/s\tratio\tCPU us each\tratio\tp50 us\tp99 us\tlisted\tfailed")
	for _, p := range programs {
		of := func(field func(result) float64) float64 {
			var list []float64
			for _, r := range results[p] {
				list = append(list, field(r))
			}
			return median(list)
		}
		ratio := func(field func(result) float64) float64 {
			var list []float64
			for i, r := range results[p] {
				list = append(list, field(r)/field(results[programs[0]][i]))
			}
			return median(list)
		}
		rate, cpu := func(r result) float64 { return r.PerSecond }, func(r result) float64 { return r.CPU }
		failed := 0
		for _, r := range results[p] {
			failed += r.Failed
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%d\n", p, of(rate), ratio(rate), of(cpu), ratio(cpu),
			of(func(r result) float64 { return r.Median }), of(func(r result) float64 { return r.High }), of(func(r result) float64 { return r.Listed }), failed)
	}
	return w.Flush()
}
