package smtp

// Path is the argument of a MAIL or RCPT command: as the client wrote it, and
// as sendmail understands it. See ParsePath.
type Path struct {
	raw    string
	local  string
	domain string
	fault  Reply
}

// Raw is the argument as the client wrote it.
func (p Path) Raw() string { return p.raw }

// Fault is the reply sendmail gives to an address that it cannot parse; it is
// zero for a good address.
func (p Path) Fault() Reply { return p.fault }
