package dnsbl

import (
	"gatepost/internal/dns"
)

// Memory is what the lists answered in one session, and which could not be
// asked: a second recipient does not wait again for a list that is silent. The
// zero Memory is empty. It is for one goroutine.
type Memory struct{ known []remembered }

type remembered struct {
	name   string
	t      dns.Type
	answer dns.Answer
	err    error
}

// maxMemory bounds the answers of one session. One that sends many messages
// forgets the first of them.
const maxMemory = 64

// Recall finds an answer. A nil Memory has none.
func (m *Memory) Recall(name string, t dns.Type) (a dns.Answer, known bool, err error) {
	if m == nil {
		return dns.Answer{}, false, nil
	}
	for i := range m.known {
		if k := &m.known[i]; k.t == t && k.name == name {
			return k.answer, true, k.err
		}
	}
	return dns.Answer{}, false, nil
}

// Remember keeps an answer, or that there was none. A nil Memory keeps nothing.
func (m *Memory) Remember(name string, t dns.Type, a dns.Answer, err error) {
	if m == nil {
		return
	}
	if len(m.known) >= maxMemory {
		m.known = append(m.known[:0], m.known[maxMemory/2:]...)
	}
	m.known = append(m.known, remembered{name, t, a, err})
}
