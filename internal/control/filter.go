package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"

	"gatepost/relay/spool"
)

// Filter chooses messages: those that all of its fields fit.
type Filter struct {
	IDs       []string      `json:"ids,omitempty"`
	Recipient string        `json:"recipient,omitempty"` // pattern, see Fits, of one who has not got the mail, or for List and Why of any
	Sender    string        `json:"sender,omitempty"`    // pattern; "<>" is the null sender
	NextHop   string        `json:"next_hop,omitempty"`  // pattern, of where a recipient would go now
	Older     time.Duration `json:"older,omitempty"`     // arrived at least so long ago
	Newer     time.Duration `json:"newer,omitempty"`     // arrived at most so long ago
	State     State         `json:"state,omitempty"`
	All       bool          `json:"all,omitempty"` // all are meant: needed where nothing else is said and something is changed
}

const (
	maxIDs     = 50_000
	maxPattern = 1000 // bytes
)

func (f *Filter) empty() bool {
	return len(f.IDs) == 0 && f.Recipient == "" && f.Sender == "" && f.NextHop == "" && f.Older == 0 && f.Newer == 0 && f.State == ""
}

// enveloped tells that the envelope must be read to see what fits.
func (f *Filter) enveloped() bool { return f.Recipient != "" || f.Sender != "" || f.NextHop != "" }

func (f *Filter) check() error {
	switch {
	case len(f.IDs) > maxIDs:
		return fmt.Errorf("%d ids, at most %d are possible", len(f.IDs), maxIDs)
	case f.Older < 0 || f.Newer < 0:
		return errors.New("an age is negative")
	case f.State != "" && !slices.Contains(States(), f.State):
		return fmt.Errorf("unknown state %q", f.State)
	}
	for _, p := range []string{f.Recipient, f.Sender, f.NextHop} {
		if _, err := path.Match(p, ""); err != nil && !strings.HasSuffix(p, "]") || len(p) > maxPattern {
			return fmt.Errorf("%q is no pattern", p)
		}
	}
	return nil
}

// choose goes through the messages that fit. An id that is not there is told to lost.
func (f *Filter) choose(ctx context.Context, q Queue, op Op, found func(Message, *Item) error, lost func(id string, err error) error) error {
	now := time.Now()
	one := func(m Message) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !f.fitsCheaply(m, now) || op == Flush && len(f.IDs) == 0 && m.State() == Held {
			return nil
		}
		item, err := f.read(ctx, m, op)
		if err != nil || item == nil {
			return err
		}
		return found(m, item)
	}
	for _, id := range f.IDs {
		m, ok := q.Find(id)
		err := error(nil)
		if ok {
			err = one(m)
		} else {
			err = lost(id, ErrGone)
		}
		if err != nil {
			return err
		}
	}
	if len(f.IDs) > 0 {
		return nil
	}
	for m := range q.Messages() {
		if err := one(m); err != nil {
			return err
		}
	}
	return nil
}

// read reads as much of a message as is needed. It returns nil for one that does not fit,
// or has left the queue.
func (f *Filter) read(ctx context.Context, m Message, op Op) (*Item, error) {
	if !op.reads() && !f.enveloped() {
		return &Item{ID: m.ID()}, nil
	}
	item, err := m.Read(ctx, op == Why || f.NextHop != "")
	switch {
	case errors.Is(err, ErrGone):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", m.ID(), err)
	case !f.fits(&item, op):
		return nil, nil
	}
	return &item, nil
}

// fitsCheaply tells whether a message may be meant, before its envelope is read.
func (f *Filter) fitsCheaply(m Message, now time.Time) bool {
	age := now.Sub(m.Arrived())
	return (f.State == "" || f.State == m.State()) && (f.Older == 0 || age >= f.Older) && (f.Newer == 0 || age <= f.Newer)
}

func (f *Filter) fits(i *Item, op Op) bool {
	if !f.enveloped() {
		return true
	}
	if i.Fault != "" {
		return false // nobody knows
	}
	if f.Sender != "" && !Fits(f.Sender, i.Sender) {
		return false
	}
	if f.Recipient == "" && f.NextHop == "" {
		return true
	}
	return slices.ContainsFunc(i.Recipients, func(r Recipient) bool {
		// What is left of a message is not deleted for one who has got it.
		done := r.State == spool.Delivered.String() || r.State == spool.Reported.String()
		return (op.reads() || !done) && (f.Recipient == "" || Fits(f.Recipient, r.Address)) && (f.NextHop == "" || r.NextHop != "" && f.hopMatches(r.NextHop))
	})
}

// Fits tells whether an address fits a pattern, in which * stands for any characters, ?
// for one, and [ab] for one of some. Case does not matter. A pattern without @ is about
// the domain, unless it begins with *; "<>" fits the null sender.
func Fits(pattern, address string) bool {
	if address == "" {
		return pattern == "<>" || pattern == "*"
	}
	if !strings.Contains(pattern, "@") && !strings.HasPrefix(pattern, "*") {
		address = address[strings.LastIndexByte(address, '@')+1:]
	}
	return glob(pattern, address)
}

// glob is path.Match that takes / for an ordinary character, and text for itself.
func glob(pattern, text string) bool {
	if strings.EqualFold(pattern, text) {
		return true
	}
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "/", "\x00") }
	ok, err := path.Match(plain(pattern), plain(text))
	return ok && err == nil
}

// hopMatches tells whether a next hop is meant: as it is written, one of its list, or
// the host of one.
func (f *Filter) hopMatches(nextHop string) bool {
	if glob(f.NextHop, nextHop) {
		return true
	}
	for hop := range strings.SplitSeq(nextHop, ",") {
		hop = strings.TrimPrefix(strings.TrimPrefix(hop, "smtp:"), "lmtp:")
		host := hop
		if h, _, err := net.SplitHostPort(hop); err == nil {
			host = h
		}
		bare := strings.NewReplacer("[", "", "]", "")
		if glob(f.NextHop, hop) || glob(f.NextHop, bare.Replace(hop)) || glob(f.NextHop, bare.Replace(host)) {
			return true
		}
	}
	return false
}
