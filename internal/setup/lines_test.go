package setup

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestLinesKeepOrder: every line arrives once, whole, in the order of its writer.
func TestLinesKeepOrder(t *testing.T) {
	var out bytes.Buffer
	l := newLineWriter(&out)
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 500 {
				fmt.Fprintf(l, "%d %d\n", w, i)
			}
		})
	}
	all.Wait()
	l.close(t.Context())
	next := [4]int{}
	for line := range strings.Lines(out.String()) {
		var w, i int
		if _, err := fmt.Sscanf(line, "%d %d\n", &w, &i); err != nil || i != next[w] {
			t.Fatalf("line %q, want number %d of its writer (%v)", line, next[w], err)
		}
		next[w]++
	}
	if next != [4]int{500, 500, 500, 500} || l.dropped.Load() != 0 {
		t.Errorf("%v lines arrived, %d dropped; want 500 of each, none dropped", next, l.dropped.Load())
	}
}

// stuckReader is a stderr that nobody reads.
type stuckReader struct{ release chan struct{} }

func (s stuckReader) Write(p []byte) (int, error) {
	<-s.release
	return len(p), nil
}

// TestStuckStderr: a log that is not taken costs lines, never time.
func TestStuckStderr(t *testing.T) {
	s := stuckReader{make(chan struct{})}
	l := newLineWriter(s)
	line := []byte(strings.Repeat("x", 1023) + "\n")
	start := time.Now()
	for range 3 * maxWaiting / len(line) {
		if _, err := l.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("3 MiB of lines took %v, want no waiting", took)
	}
	if l.dropped.Load() == 0 {
		t.Error("nothing dropped, so that memory is not bounded")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	l.close(ctx)
	if ctx.Err() == nil {
		t.Error("close said that the lines are written, but they are stuck")
	}
	close(s.release)
	<-l.done
}
