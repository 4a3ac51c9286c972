package dns

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"
)

// downPause is how long a silent server is left alone before it is tried again.
const downPause = 3 * time.Second

var errDown = errors.New("the server is silent")

// health tells a server that is gone from a question that it cannot answer: who
// asks about a domain whose own servers are dead waits in vain as well, and that
// says nothing of others. When a question got no answer, and the server said
// nothing else meanwhile, it is asked for the name servers of the root, which
// every resolver knows. If that is in vain, too, the server is down: it is asked
// nothing for a while, so that the time-out is not had for each question. Then one
// question, and that about the root again, try whether it is back.
type health struct {
	log     *slog.Logger
	timeout time.Duration // of the trial
	pause   time.Duration

	heard atomic.Uint64 // answers
	down  atomic.Bool

	mu      sync.Mutex
	trying  bool
	retryAt time.Time
}

// answered notes a sign of life.
func (h *health) answered() {
	h.heard.Add(1)
	if h.down.Load() && h.down.CompareAndSwap(true, false) {
		h.log.Info("the dns server answers again")
	}
}

// usable tells whether a question may be put to the server. When it is down, that
// is one question after each pause.
func (h *health) usable(s *server) bool {
	if !h.down.Load() {
		return true
	}
	h.mu.Lock()
	due := !h.trying && !time.Now().Before(h.retryAt)
	h.mu.Unlock()
	return due && h.try(s)
}

// silent is told that a question had no answer while the server said nothing else.
func (h *health) silent(s *server) {
	if !h.down.Load() {
		h.try(s)
	}
}

// try asks about the root, unless that is being done.
func (h *health) try(s *server) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.trying {
		return false
	}
	h.trying = true
	go h.trial(s)
	return true
}

func (h *health) trial(s *server) {
	before := h.heard.Load()
	w, err := newWait(".", Type(mdns.TypeNS), true)
	until := time.Now().Add(h.timeout)
	if err == nil && s.vc {
		_, err = s.exchangeTCP(context.Background(), w.query, until)
	} else if err == nil {
		err = s.udp.exchange(context.Background(), w, until)
	}
	waits.Put(w)
	if err == nil {
		h.answered()
	}
	gone := err != nil && isTimeout(err) && h.heard.Load() == before
	h.mu.Lock()
	h.trying, h.retryAt = false, time.Now().Add(h.pause)
	h.mu.Unlock()
	if gone && h.down.CompareAndSwap(false, true) {
		h.log.Warn("the dns server is silent, and is left alone", "for", h.pause)
	}
	if gone {
		s.udp.cut(errDown)
	}
}
