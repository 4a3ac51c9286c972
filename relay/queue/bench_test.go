package queue

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"syscall"
	"testing"
	"time"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkHandOff is what the queue costs for a message that is delivered at once by a
// transport that does nothing: Add to Remove, with its line in the log. Committing is not
// counted.
func BenchmarkHandOff(b *testing.B) {
	s := openSpool(b, b.TempDir())
	x := &nothing{}
	q, _ := run(b, Config{Spool: s, Route: one(x), Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	var all []*spool.Message
	for range b.N {
		all = append(all, commit(b, s, spool.Envelope{}, "bob@example.net"))
	}
	runtime.GC()
	b.ReportAllocs()
	b.ResetTimer()
	begun := cpu()
	for i, m := range all {
		for uint64(i) > q.delivered.Load()+500 { // as many as clients would have under way
			time.Sleep(10 * time.Microsecond)
		}
		q.Add(m)
	}
	for q.delivered.Load() < uint64(b.N) {
		time.Sleep(100 * time.Microsecond)
	}
	b.ReportMetric(float64((cpu()-begun).Nanoseconds())/1000/float64(b.N), "cpu-us/op")
}

type nothing struct{}

func (*nothing) String() string { return "nothing" }
func (*nothing) Deliver(_ context.Context, _ string, m deliver.Message, to []int) []deliver.Result {
	results := make([]deliver.Result, len(to))
	for i := range results {
		results[i] = deliver.Result{Outcome: deliver.Delivered, Reply: "250 2.0.0 taken", Relay: "nowhere"}
	}
	return results
}
