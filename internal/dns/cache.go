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

// key is a question: the name in lower case without final dot. Type 0 stands
// for all types, of a name that does not exist.
type key struct {
	name string
	t    Type
}

// entry is the outcome of a question, shared by all who asked it.
type entry struct {
	ans     Answer
	err     *Error // not nil: no answer was had
	aliased bool   // ans.Name is the target of a CNAME, not the name asked for
	absent  bool   // the name does not exist
	expires time.Time
	last    *entry // of a failure: the records there were before, if they may stand in

	rememberedFrom string // ans.Server (or err.Server) of an answer out of the cache
	rememberedErr  *Error
}

func newEntry(ans Answer, err *Error) *entry {
	e := &entry{ans: ans, err: err}
	if err == nil {
		e.rememberedFrom = "cache of " + ans.Server
		return e
	}
	remembered := *err
	if err.Server != "" {
		remembered.Server = "cache of " + err.Server
	}
	e.rememberedErr = &remembered
	return e
}

// fresh is the outcome for one who waited for it.
func (e *entry) fresh(name string) (Answer, error) {
	if e.err != nil {
		return Answer{}, e.err
	}
	return e.answer(name, e.ans.TTL, e.ans.Server), nil
}

// remembered is the outcome for one who came later.
func (e *entry) remembered(name string, now time.Time) (Answer, error) {
	if e.rememberedErr != nil {
		return Answer{}, e.rememberedErr
	}
	return e.answer(name, e.expires.Sub(now), e.rememberedFrom), nil
}

func (e *entry) answer(name string, ttl time.Duration, server string) Answer {
	ans := e.ans
	if !e.aliased {
		ans.Name = name
	}
	ans.TTL, ans.Server = ttl, server
	return ans
}

// cache keeps entries until they expire or room is needed for others.
type cache struct {
	entries  *lru.Cache[key, *entry]
	staleFor time.Duration // after their end they may stand in for an answer
}

func newCache(size int, staleFor time.Duration) (cache, error) {
	entries, err := lru.New[key, *entry](size)
	return cache{entries, staleFor}, err
}

// get finds the question's entry, or that the name does not exist at all; nil if there is none that is still good.
func (c cache) get(k key, now time.Time) *entry {
	if e, ok := c.entries.Get(k); ok && now.Before(e.expires) {
		return e
	}
	if e, ok := c.entries.Get(key{name: k.name}); ok && now.Before(e.expires) {
		return e
	}
	return nil
}

// put keeps an entry for ttl. Nothing is kept of an answer with TTL 0.
func (c cache) put(k key, e *entry, now time.Time, ttl time.Duration) {
	e.expires = now.Add(ttl)
	if ttl <= 0 {
		return
	}
	if e.absent && !e.aliased {
		c.entries.Remove(k) // no records are left that could stand in
		k.t = 0
	}
	if e.err != nil {
		e.last = c.lastGood(k, now)
	}
	c.entries.Add(k, e)
}

// lastGood finds the question's last answer with records, no older than may stand in.
func (c cache) lastGood(k key, now time.Time) *entry {
	e, ok := c.entries.Peek(k)
	if ok && e.err != nil {
		e = e.last
	}
	if c.staleFor == 0 || !ok || e == nil || e.ans.Empty() || now.After(e.expires.Add(c.staleFor)) {
		return nil
	}
	return e
}
