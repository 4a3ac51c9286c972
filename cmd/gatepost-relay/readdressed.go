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
		one.Notify = one.Notify.And(env.Recipients[i].Notify)
	}
	return env
}
