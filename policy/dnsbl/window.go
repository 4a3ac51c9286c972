package dnsbl

import "time"

const (
	windowSize  = 50               // distinct clients in a window
	windowMost  = 49               // so many of them listed is nearly everybody
	windowUsual = 0.85             // a zone that usually lists more is not suspected: this host hears of little but spam
	firstRest   = 10 * time.Minute // after the first such window
	longestRest = 6 * time.Hour    // the rest doubles each time
)

// window watches how many of the clients a list has entries for. A zone that was
// turned into a wildcard, or whose owner wants to be rid of it, lists everybody.
type window struct {
	clients map[string]struct{}
	listed  int
	usual   float64 // share of listed clients in the windows so far
	windows int     // how many there were, without those that tripped
	tripped bool    // the last window did, and nobody has seen to it
	rest    time.Duration
}

// add takes one client; it tells whether the window is full and too many of it
// were listed.
func (w *window) add(who string, listed bool) bool {
	if w.tripped {
		return false
	}
	if w.clients == nil {
		w.clients = make(map[string]struct{}, windowSize)
	}
	if _, again := w.clients[who]; again {
		return false
	}
	w.clients[who] = struct{}{}
	if listed {
		w.listed++
	}
	if len(w.clients) < windowSize {
		return false
	}
	share := float64(w.listed) / windowSize
	if w.listed >= windowMost && (w.windows == 0 || w.usual < windowUsual) {
		w.tripped = true
		w.rest = min(max(2*w.rest, firstRest), longestRest)
	} else {
		w.usual = (w.usual*float64(min(w.windows, 3)) + share) / float64(min(w.windows, 3)+1)
		w.windows++
		w.rest = 0
	}
	clear(w.clients)
	w.listed = 0
	return w.tripped
}
