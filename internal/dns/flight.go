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
	of map[key]*flight
}

// flight is one question on its way. e is there when landed is closed.
type flight struct {
	landed chan struct{}
	e      *entry
}

func newFlights() flights {
	return flights{room: make(chan struct{}, maxFlights), of: map[key]*flight{}}
}

// join finds the question's flight, or has one begin, for which it waits for room.
func (f *flights) join(ctx context.Context, k key, fly func() *entry) (*flight, error) {
	f.mu.Lock()
	one := f.of[k]
	f.mu.Unlock()
	if one != nil {
		return one, nil
	}
	select {
	case f.room <- struct{}{}:
	default:
		select {
		case f.room <- struct{}{}:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return f.begin(k, fly), nil
}

// begin starts a flight in the room that was taken, unless somebody else has meanwhile.
func (f *flights) begin(k key, fly func() *entry) *flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.of[k]; one != nil {
		<-f.room
		return one
	}
	one := &flight{landed: make(chan struct{})}
	f.of[k] = one
	go func() {
		one.e = fly()
		f.mu.Lock()
		delete(f.of, k)
		f.mu.Unlock()
		<-f.room
		close(one.landed)
	}()
	return one
}
