package main

import (
	"slices"

	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// readdressed is a message one of whose recipients has another address.
type readdressed struct {
	deliver.Message
	recipient int
	address   string
}

func (m readdressed) Envelope() spool.Envelope {
	env := m.Message.Envelope()
	env.Recipients = slices.Clone(env.Recipients) // it is shared
	env.Recipients[m.recipient].Address = m.address
	return env
}
