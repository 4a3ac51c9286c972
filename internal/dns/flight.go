package dns

import (
	"context"
	"sync"
)

// flights are the questions that are being asked: each once however many want to
// know, and not more at a time than there is room for.
type flights struct {
	room chan struct{} // holds one for each

	mu sync.Mutex
	of map[key]*flight // nil as long as nobody waits but the one who asks
}

// flight is a question whose outcome others wait for. e is there when landed is closed.
type flight struct {
	landed chan struct{}
	e      entry
}

func newFlights() flights {
	return flights{room: make(chan struct{}, maxFlights), of: map[key]*flight{}}
}

// join finds the question's flight. Without one the caller has to ask, and to call
// land when there is an outcome; before that it waits for room.
func (f *flights) join(ctx context.Context, k key) (one *flight, ask bool, err error) {
	select {
	case f.room <- struct{}{}:
		one, ask = f.begin(k, true)
		if !ask {
			<-f.room
		}
		return one, ask, nil
	default:
	}
	if one, _ = f.begin(k, false); one != nil {
		return one, false, nil
	}
	select {
	case f.room <- struct{}{}:
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	if one, ask = f.begin(k, true); !ask {
		<-f.room
	}
	return one, ask, nil
}

// begin finds the question's flight, or begins one if there is room.
func (f *flights) begin(k key, room bool) (one *flight, begun bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one, flying := f.of[k]
	switch {
	case flying && one == nil:
		one = &flight{landed: make(chan struct{})}
		f.of[k] = one
	case !flying && room:
		f.of[k] = nil
		return nil, true
	}
	return one, false
}

// land gives the outcome to all who wait for it.
func (f *flights) land(k key, e entry) {
	f.mu.Lock()
	one := f.of[k]
	delete(f.of, k)
	f.mu.Unlock()
	<-f.room
	if one != nil {
		one.e = e
		close(one.landed)
	}
}
