package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
)

// sessionsPerPolicy is how many sessions the generator makes under each policy.
const sessionsPerPolicy = 20

// options are the command line.
type options struct {
	seed     uint64
	sessions int
	smtp     int // every n-th policy's sessions are also held by SMTP; 0: none
	workers  int
	root     string
	out      string
	gatepost string
	again    string // file of recorded decisions to record anew
	cases    string // files of kept cases
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		if err := work(ctx, os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "differential:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; 0 means that all agree.
func run(ctx context.Context, args []string, out, bad io.Writer) int {
	var o options
	flags := flag.NewFlagSet("differential", flag.ContinueOnError)
	flags.SetOutput(bad)
	flags.Uint64Var(&o.seed, "seed", 0, "seed of the generator; 0 takes a fresh one")
	flags.IntVar(&o.sessions, "sessions", 1000, "about how many sessions")
	flags.IntVar(&o.smtp, "smtp", 5, "hold the sessions of every n-th policy by SMTP too; 0 for none")
	flags.IntVar(&o.workers, "workers", runtime.NumCPU(), "how many sendmails at a time")
	flags.StringVar(&o.root, "root", "", "directory with sendmail and its libraries, as root.sh makes it")
	flags.StringVar(&o.out, "out", "differential", "directory for what was recorded and for cases that differ")
	flags.StringVar(&o.gatepost, "gatepost", "bin/gatepost", "the program to compare; empty to record only")
	flags.StringVar(&o.again, "again", "", "record the policies of this file anew and compare with what it says")
	flags.StringVar(&o.cases, "cases", "", "also compare the kept cases that this pattern names, as in 'dir/*.jsonl'")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if o.root == "" || flags.NArg() > 0 || o.sessions < 0 {
		fmt.Fprintln(bad, "differential: needs -root, and takes no other arguments")
		return 2
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		fmt.Fprintln(bad, "differential:", err)
		return 2
	}
	var err error
	if o.root, err = filepath.Abs(o.root); err != nil {
		fmt.Fprintln(bad, "differential:", err)
		return 2
	}
	step := o.fresh
	if o.again != "" {
		step = o.recordAgain
	}
	agree, err := step(ctx, out)
	if err != nil {
		fmt.Fprintln(bad, "differential:", err)
		return 2
	}
	if !agree {
		return 1
	}
	return 0
}

// fresh makes policies from the seed, has sendmail decide and compares.
func (o *options) fresh(ctx context.Context, out io.Writer) (bool, error) {
	for o.seed == 0 {
		o.seed = rand.Uint64() >> 16 // shorter to type
	}
	fmt.Fprintf(out, "differential: SEED=%d, about %d sessions\n", o.seed, o.sessions)
	jobs, err := o.keptCases()
	if err != nil {
		return false, err
	}
	n := (o.sessions + sessionsPerPolicy - 1) / sessionsPerPolicy
	for i := range n {
		jobs = append(jobs, job{Policy: generate(o.seed, i), SMTP: o.smtp > 0 && i%o.smtp == 0})
	}
	recorded, notes, err := o.record(ctx, jobs, out)
	if err != nil {
		return false, err
	}
	if err := writePolicies(filepath.Join(o.out, "recorded.jsonl"), recorded); err != nil {
		return false, err
	}
	agree, err := o.compare(ctx, out, recorded)
	return agree && notes == 0, err
}

// keptCases are the cases that once differed, to be recorded and compared again.
func (o *options) keptCases() ([]job, error) {
	files, err := filepath.Glob(o.cases)
	if err != nil {
		return nil, err
	}
	var jobs []job
	for _, file := range files {
		policies, err := readPolicies(file)
		if err != nil {
			return nil, err
		}
		for _, p := range policies {
			jobs = append(jobs, job{Policy: p, SMTP: true})
		}
	}
	return jobs, nil
}

// record has the jobs recorded and prints what test mode and SMTP see differently.
func (o *options) record(ctx context.Context, jobs []job, out io.Writer) (recorded []Policy, notes int, err error) {
	results, err := recordAll(ctx, o.root, o.workers, jobs)
	if err != nil {
		return nil, 0, err
	}
	for _, r := range results {
		if r.Error != "" {
			return nil, 0, fmt.Errorf("recording: %s", r.Error)
		}
		for _, note := range r.Notes {
			fmt.Fprintln(out, "test mode and SMTP differ:", note)
		}
		notes += len(r.Notes)
		recorded = append(recorded, r.Policy)
	}
	return recorded, notes, nil
}
