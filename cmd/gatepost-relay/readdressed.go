package main

import (
	"slices"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// readdressed is a message one of whose recipients has another address, and stands for
// several.
type readdressed struct {
	deliver.Message
	recipients []int // the first of them is sent for all
	address    string
}

func (m readdressed) Envelope() spool.Envelope {
	env := m.Message.Envelope()
	env.Recipients = slices.Clone(env.Recipients) // it is shared
	one := &env.Recipients[m.recipients[0]]
	one.Address = m.address
	for _, i := range m.recipients[1:] {
		one.Notify = wanted(one.Notify, env.Recipients[i].Notify)
	}
	return env
}

// wanted is what a sender wants to be told of one who stands for two: all that is asked of
// either of them (RFC 3461).
func wanted(a, b spool.Notify) spool.Notify {
	const standard = spool.NotifyFailure | spool.NotifyDelay
	switch {
	case a == b, b == spool.NotifyNever:
		return a
	case a == spool.NotifyNever:
		return b
	case a == 0:
		a = standard
	case b == 0:
		b = standard
	}
	return a | b
}
