package dns

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// How long answers are kept at most. A mail server that has been moved or
// listed is noticed within the hour whatever its TTL says.
const (
	maxTTL       = time.Hour
	maxAbsentTTL = 15 * time.Minute // RFC 2308, 5 allows hours; a new domain should not wait that long
	noSOATTL     = 5 * time.Second  // absence without an SOA has no TTL (RFC 2308, 5): only the same burst shares it
	failureTTL   = 3 * time.Second  // RFC 9520, 3.2: from 1 s; RFC 2308, 7: at most 5 min
)

func seconds(d time.Duration) uint32 { return uint32(d / time.Second) }

// key is a question: the name in lower case without final dot.
type key struct {
	name string
	t    Type
}

// entry is the outcome of a question. It is small and mostly without pointers to
// more: most names in lists are not there.
type entry struct {
	ans       *Answer  // nil: the name has no records of the type
	failure   *failure // not nil: no answer was had
	server    *server  // who answered
	absent    bool     // the name does not exist at all
	authentic bool     // see Answer
	ttl       time.Duration
	expires   time.Time
}

// failure is the outcome of a question that got no answer.
type failure struct {
	err        *Error
	remembered *Error // for those who come later
	last       *entry // the records there were before, if they may stand in
}

// failed is the outcome of a question that got no answer.
func failed(err *Error) entry {
	remembered := *err
	if err.Server != "" {
		remembered.Server = "cache of " + err.Server
	}
	return entry{failure: &failure{err: err, remembered: &remembered}}
}

// fresh is the outcome for one who waited for it.
func (e *entry) fresh(name string) (Answer, error) {
	if e.failure != nil {
		return Answer{}, e.failure.err
	}
	return e.answer(name, e.ttl, e.server.name), nil
}

// remembered is the outcome for one who came later.
func (e *entry) remembered(name string, now time.Time) (Answer, error) {
	if e.failure != nil {
		return Answer{}, e.failure.remembered
	}
	return e.answer(name, e.expires.Sub(now), e.server.cached), nil
}

// answer has the name as it was asked for, unless it is an alias.
func (e *entry) answer(name string, ttl time.Duration, server string) Answer {
	var ans Answer
	if e.ans != nil {
		ans = *e.ans
	}
	if ans.Name == "" {
		ans.Name = name
	}
	ans.TTL, ans.Server, ans.Authentic = ttl, server, e.authentic
	return ans
}

// cache keeps entries until they expire or room is needed for other names.
type cache struct {
	names    *lru.Cache[string, known]
	staleFor time.Duration // after their end entries may stand in for an answer
}

// known is what is known of a name: an entry, and those of other types.
type known struct {
	t Type // 0: of all types, of a name that does not exist
	entry
	others *known
}

// of finds the entry of a type.
func (n *known) of(t Type) *entry {
	for ; n != nil; n = n.others {
		if n.t == t || n.t == 0 {
			return &n.entry
		}
	}
	return nil
}

// without is what is known of other types.
func (n *known) without(t Type) *known {
	switch {
	case n == nil:
		return nil
	case n.t == t || n.t == 0:
		return n.others.without(t)
	}
	return &known{n.t, n.entry, n.others.without(t)}
}

func newCache(size int, staleFor time.Duration) (cache, error) {
	names, err := lru.New[string, known](size)
	return cache{names, staleFor}, err
}

// get finds the question's entry if there is one that is still good.
func (c cache) get(k key, now time.Time) (e entry, found bool) {
	n, ok := c.names.Get(k.name)
	if !ok {
		return entry{}, false
	}
	if e := n.of(k.t); e != nil && now.Before(e.expires) {
		return *e, true
	}
	return entry{}, false
}

// put keeps an entry for ttl. Nothing is kept of an answer with TTL 0.
func (c cache) put(k key, e entry, now time.Time, ttl time.Duration) {
	if ttl <= 0 {
		return
	}
	e.expires = now.Add(ttl)
	if e.failure != nil {
		e.failure.last = c.lastGood(k, now)
	}
	n := known{t: k.t, entry: e}
	if e.absent {
		n.t = 0
	}
	if old, ok, _ := c.names.PeekOrAdd(k.name, n); ok {
		if !e.absent {
			n.others = old.without(k.t)
		}
		c.names.Add(k.name, n)
	}
}

// lastGood finds the question's last answer with records, no older than may stand in.
func (c cache) lastGood(k key, now time.Time) *entry {
	if c.staleFor == 0 {
		return nil
	}
	n, ok := c.names.Peek(k.name)
	if !ok {
		return nil
	}
	e := n.of(k.t)
	if e != nil && e.failure != nil {
		e = e.failure.last
	}
	if e == nil || e.ans == nil || e.ans.Empty() || now.After(e.expires.Add(c.staleFor)) {
		return nil
	}
	return e
}
