package dns

import "fmt"

// Error says why a question got no answer. It never means that a name does not
// exist: that is an empty Answer without an error.
type Error struct {
	Name   string // as asked for
	Type   Type
	Server string // the last server tried; "" when none was
	Reason string // "SERVFAIL", "time-out", "CNAME loop", ...
	Err    error  // the cause, if there is one below this package
}

func (e *Error) Error() string {
	s := fmt.Sprintf("dns: %v of %q", e.Type, e.Name)
	if e.Server != "" {
		s += " from " + e.Server
	}
	s += ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause, so that errors.Is finds context.DeadlineExceeded and the like.
func (e *Error) Unwrap() error { return e.Err }

// types are those that an Answer has a place for the records of.
var types = [...]Type{TypeA, TypeAAAA, TypeMX, TypePTR, TypeTXT, TypeTLSA}

// index is the place of a type in types; -1 for others.
func (t Type) index() int {
	for i := range types {
		if types[i] == t {
			return i
		}
	}
	return -1
}
