package policy

import (
	"net/netip"

	"gatepost/internal/smtp"
	"gatepost/policy/dnsbl"
)

// Facts is what is known when a question is asked, in stage order: forgetting
// from a stage on zeroes a tail. What a front was not told stays at its zero
// value, which always means "not supplied" and never grants anything.
type Facts struct {
	Conn Conn
	Helo Helo
	TLS  TLS
	Auth Auth
	Mail Mail
	Rcpt Rcpt

	Memory *Memory // what DNS lists answered in this session; nil: each decision asks them anew
}

// Conn is the client's connection.
type Conn struct {
	Addr    netip.Addr // invalid: not supplied. IPv4-mapped addresses are unmapped by the front
	Local   bool       // no network connection: sendmail -bs on this host
	Name    string     // {client_name}: verified name, without final dot; "" unless Resolve is ResolveOK
	Ptr     string     // {client_ptr}: reverse name, verified or not; "" when there is none or it was not supplied
	Resolve Resolve
	Daemon  string // {daemon_name}, for the log
	Routes  bool   // the server follows % and ! in local parts whatever the features say, as Postfix does
	Rate    int    // {client_rate}: connections of this client in the window, this one included; 0 not counted
	Open    int    // {client_connections}: connections of this client that are open, this one included; 0 not counted
}

// Memory is what DNS lists answered in a session. It belongs to the session, one
// goroutine at a time; the zero Memory is empty.
type Memory = dnsbl.Memory

// Resolve is {client_resolve}: how the client's reverse name was verified.
type Resolve uint8

// The values of {client_resolve} (sendmail operations guide, 5.2).
const (
	ResolveUnknown Resolve = iota // not supplied
	ResolveOK
	ResolveFail   // no reverse name
	ResolveForged // the reverse name does not lead back to the address
	ResolveTemp   // the reverse lookup failed temporarily
)

// ParseResolve reads the value of {client_resolve}; anything else is ResolveUnknown.
func ParseResolve(s string) Resolve {
	switch s {
	case "OK":
		return ResolveOK
	case "FAIL":
		return ResolveFail
	case "FORGED":
		return ResolveForged
	case "TEMP":
		return ResolveTemp
	}
	return ResolveUnknown
}

func (r Resolve) String() string {
	return [...]string{"", "OK", "FAIL", "FORGED", "TEMP"}[r]
}

// Helo is the greeting. Given is false for a client that never sent one.
type Helo struct {
	Given bool
	Name  string
}

// TLS is what STARTTLS made known. Only Verify "OK" and "TRUSTED" let the names count.
type TLS struct {
	Verify      string // {verify}: OK, NO, FAIL, NONE, ...; "" not supplied
	CertSubject string // {cert_subject}, as sendmail writes it
	CertIssuer  string // {cert_issuer}
}

// Auth is a successful SMTP AUTH; Type is "" when there was none.
type Auth struct {
	Type   string // {auth_type}: the SASL mechanism
	Authen string // {auth_authen}: the user
}

// Mail is the transaction's MAIL command.
type Mail struct {
	Sender  smtp.Path
	QueueID string // {i}, for the log; "" not supplied
}

// Rcpt is one RCPT command.
type Rcpt struct {
	Recipient smtp.Path
}
