package maps

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
)

const (
	// chunkSize is how many bytes are read in one go: little enough to stay in the
	// processor's cache.
	chunkSize = 1 << 16
	// maxWorkers is how many goroutines are of use; one fills the slots alone.
	maxWorkers = 8
)

func (m making) workerCount(jobs int) int {
	n := m.workers
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return min(n, jobs, maxWorkers)
}

// indexLines numbers the lines. It ends with false when there is a NUL byte.
func (t *Text) indexLines(how making) (clean bool) {
	t.lines = newLineIndex(len(t.data))
	var dirty atomic.Bool
	how.each(len(t.lines.spans), func(span int) {
		t.lines.count(t.data, span)
		from := span * lineSpan
		if strings.IndexByte(t.data[from:min(from+lineSpan, len(t.data))], 0) >= 0 {
			dirty.Store(true)
		}
	})
	t.lines.number()
	return !dirty.Load()
}

// chunks parts the text at ends of lines.
func (t *Text) chunks() []chunk {
	chunks := make([]chunk, 0, len(t.data)/chunkSize+1)
	for from := 0; from < len(t.data); {
		to := min(from+chunkSize, len(t.data))
		if i := strings.IndexByte(t.data[to:], '\n'); i >= 0 {
			to += i + 1
		} else {
			to = len(t.data)
		}
		chunks = append(chunks, chunk{from: from, to: to, line: t.lineAt(from)})
		from = to
	}
	return chunks
}

// build fills the slots. The first entry of a key stays.
func (t *Text) build(chunks []chunk, how making) error {
	var n atomic.Int64
	how.each(len(chunks), func(i int) {
		here := chunks[i].entries
		if here > 0 {
			n.Add(int64(here))
			return
		}
		s := scanner{format: t.format}
		s.entry = func(int, int, string, string) bool { here++; return true }
		s.scan(t.data, chunks[i])
		n.Add(int64(here))
	})
	t.slots = newSlots(int(n.Load()))
	f := filler{text: t, check: how.check}
	how.inOrder(len(chunks), func(i int, b *batch) { f.read(chunks[i], b) }, f.fill)
	if f.doubtful {
		return t.checkAll(how.check)
	}
	return nil
}

// checkAll asks for each entry that counts, in the order of the file.
func (t *Text) checkAll(check func(key, value string) error) error {
	for key, entry := range t.All() {
		if err := check(key, entry.Value); err != nil {
			if entry.Source.Line == 0 {
				return fmt.Errorf("%s: key %s: %w", entry.Source, key, err)
			}
			return fmt.Errorf("%s: %w", entry.Source, err)
		}
	}
	return nil
}

// each calls job for 0 to n-1, some at the same time.
func (m making) each(n int, job func(i int)) {
	m.inOrder(n, func(i int, _ *batch) { job(i) }, func(*batch) {})
}
