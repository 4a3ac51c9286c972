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
	c := conveyor{work: work, free: make(chan *batch, 2*workers), done: make(chan *batch, 2*workers), n: n}
	for range cap(c.free) {
		c.free <- &batch{}
	}
	var crew sync.WaitGroup
	defer crew.Wait()
	defer close(c.free)
	for range workers {
		crew.Go(c.run)
	}
	c.deliver(take)
}

// A conveyor has free batches go to the workers, and done ones come back.
type conveyor struct {
	n    int
	next atomic.Int64
	work func(i int, b *batch)
	free chan *batch // closed: no more work
	done chan *batch // has room for all, so that no worker waits there
}

// run has one worker do work. It takes a batch before a number, so that the lowest
// number in work can always be done.
func (c *conveyor) run() {
	for b := range c.free {
		b.number = int(c.next.Add(1)) - 1
		if b.number >= c.n {
			return
		}
		c.attempt(b)
		c.done <- b
	}
}

func (c *conveyor) attempt(b *batch) {
	defer func() { b.panicked = recover() }()
	c.work(b.number, b)
}

// deliver takes the batches in their order, and gives them free again.
func (c *conveyor) deliver(take func(b *batch)) {
	early := map[int]*batch{}
	for i := range c.n {
		for early[i] == nil {
			b := <-c.done
			early[b.number] = b
		}
		b := early[i]
		delete(early, i)
		if b.panicked != nil {
			panic(b.panicked)
		}
		take(b)
		c.free <- b
	}
}
