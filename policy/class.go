package policy

import (
	"context"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// class is one of sendmail's classes: words from a file and from the program.
type class struct {
	name  string
	words []maps.Map
}

func (c *class) find(ctx context.Context, word string) (maps.Entry, bool, error) {
	for _, m := range c.words {
		if e, found, err := m.Lookup(ctx, word); found || err != nil {
			return e, found, err
		}
	}
	return maps.Entry{}, false, nil
}

// has tells whether word is in the class ($=x).
func (q *inquiry) has(ctx context.Context, c *class, word string) (bool, error) {
	e, found, err := c.find(ctx, word)
	return q.classAnswer(c, word, e, found, err)
}

// endsIn tells whether name ends in a member of the class by whole tokens
// ($* $=x): friend.org takes a.friend.org, not notfriend.org.
func (q *inquiry) endsIn(ctx context.Context, c *class, name string) (bool, error) {
	for i := 0; i < len(name); i++ {
		if !smtp.TokenBoundary(name, i) {
			continue
		}
		if e, found, err := c.find(ctx, name[i:]); found || err != nil {
			return q.classAnswer(c, name[i:], e, found, err)
		}
	}
	return q.classAnswer(c, name, maps.Entry{}, false, nil)
}

// beginsWith tells whether text begins with a member of the class by whole
// tokens ($=x $*): 192.168.5 takes 192.168.5.7, not 192.168.50.7.
func (q *inquiry) beginsWith(ctx context.Context, c *class, text string) (bool, error) {
	for i := len(text); i > 0; i-- {
		if !smtp.TokenBoundary(text, i) {
			continue
		}
		if e, found, err := c.find(ctx, text[:i]); found || err != nil {
			return q.classAnswer(c, text[:i], e, found, err)
		}
	}
	return q.classAnswer(c, text, maps.Entry{}, false, nil)
}

// classAnswer records one question put to a class.
func (q *inquiry) classAnswer(c *class, key string, e maps.Entry, found bool, err error) (bool, error) {
	q.asked = append(q.asked, Answer{Table: c.name, Key: key, Found: found, Source: e.Source, Err: err})
	return found, err
}
