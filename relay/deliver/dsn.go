package deliver

import "gatepost/relay/spool"

// What a sender wants to be told (RFC 3461) is passed on to servers that offer DSN, as it
// was given. To others it is not, and reports stay our business.

// mailDSN adds the parameters of MAIL (RFC 3461, 4.3 and 4.4).
func (c *conn) mailDSN(env *spool.Envelope) {
	if !c.can.dsn {
		return
	}
	if env.Ret == "FULL" || env.Ret == "HDRS" {
		c.out = append(append(c.out, " RET="...), env.Ret...)
	}
	if isParameter(env.EnvID) {
		c.out = append(append(c.out, " ENVID="...), env.EnvID...)
	}
}

// rcptDSN adds the parameters of RCPT (RFC 3461, 4.1 and 4.2).
func (c *conn) rcptDSN(r *spool.Recipient) {
	if !c.can.dsn {
		return
	}
	separator := " NOTIFY="
	for _, n := range [...]struct {
		notify spool.Notify
		word   string
	}{{spool.NotifyNever, "NEVER"}, {spool.NotifySuccess, "SUCCESS"}, {spool.NotifyFailure, "FAILURE"}, {spool.NotifyDelay, "DELAY"}} {
		if r.Notify&n.notify == 0 {
			continue
		}
		c.out = append(append(c.out, separator...), n.word...)
		if separator = ","; n.notify == spool.NotifyNever {
			break // it stands alone
		}
	}
	if isParameter(r.ORcpt) {
		c.out = append(append(c.out, " ORCPT="...), r.ORcpt...)
	}
}

// isParameter tells whether a value can be one, so that nothing in a spool makes another
// command of it. RFC 3461, 5.1 has 500 bytes at most.
func isParameter(value string) bool {
	for i := range len(value) {
		if value[i] <= ' ' || value[i] >= 0x7f {
			return false
		}
	}
	return value != "" && len(value) <= 500
}
