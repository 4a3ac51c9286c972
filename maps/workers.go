package maps

import (
	"sync"
	"sync/atomic"
)

// inOrder calls work for 0 to n-1 from several goroutines, each time with a batch
// to put the outcome in, and take for each batch in this order, from the calling
// goroutine alone. A panic in work becomes one of the caller.
func (m making) inOrder(n int, work func(i int, b *batch), take func(b *batch)) {
	workers := m.workerCount(n)
	if workers <= 1 {
		var b batch
		for i := range n {
			work(i, &b)
			take(&b)
		}
		return
	}
	l := line{work: work, free: make(chan *batch, 2*workers), done: make(chan *batch, 2*workers), n: n}
	for range cap(l.free) {
		l.free <- &batch{}
	}
	var crew sync.WaitGroup
	defer crew.Wait()
	defer close(l.free)
	for range workers {
		crew.Go(l.run)
	}
	l.deliver(take)
}

// A line of production: free batches go to the workers, done ones come back.
type line struct {
	n    int
	next atomic.Int64
	work func(i int, b *batch)
	free chan *batch // closed: no more work
	done chan *batch // has room for all, so that no worker waits there
}

// run has one worker do work. It takes a batch before a number, so that the lowest
// number in work can always be done.
func (l *line) run() {
	for b := range l.free {
		b.number = int(l.next.Add(1)) - 1
		if b.number >= l.n {
			return
		}
		l.attempt(b)
		l.done <- b
	}
}

func (l *line) attempt(b *batch) {
	defer func() { b.panicked = recover() }()
	l.work(b.number, b)
}

// deliver takes the batches in their order, and gives them free again.
func (l *line) deliver(take func(b *batch)) {
	early := map[int]*batch{}
	for i := range l.n {
		for early[i] == nil {
			b := <-l.done
			early[b.number] = b
		}
		b := early[i]
		delete(early, i)
		if b.panicked != nil {
			panic(b.panicked)
		}
		take(b)
		l.free <- b
	}
}
