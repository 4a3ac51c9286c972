package miltertest

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// MTA is whose manner a Client has.
type MTA int

// The two MTAs, as observed: sendmail 8.17.1 and Postfix 3.7.11.
const (
	Sendmail MTA = iota
	Postfix
)

func (m MTA) String() string { return [...]string{"sendmail", "Postfix"}[m] }

// listStages are the command letters of the stages that lists of macros have
// (mfdef.h, SMFIM_*).
const listStages = "CHMRTEN"

// defaults are the macros sent with a command when no list was asked for.
func (m MTA) defaults(cmd byte) []string {
	tls := []string{"{tls_version}", "{cipher}", "{cipher_bits}", "{cert_subject}", "{cert_issuer}"}
	if cmd == 'H' {
		return tls
	}
	if m == Postfix {
		switch cmd {
		case 'C':
			return []string{"j", "{daemon_name}", "{daemon_addr}", "v", "_"}
		case 'M':
			return []string{"i", "{auth_type}", "{auth_authen}", "{auth_author}", "{mail_addr}", "{mail_host}", "{mail_mailer}"}
		case 'R':
			return []string{"i", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}"}
		case 'T', 'N', 'E':
			return []string{"i"}
		}
		return nil
	}
	switch cmd {
	case 'C':
		return []string{"j", "_", "{daemon_name}", "{if_name}", "{if_addr}"}
	case 'M':
		return []string{"i", "{auth_type}", "{auth_authen}", "{auth_ssf}", "{auth_author}", "{mail_mailer}", "{mail_host}", "{mail_addr}"}
	case 'R':
		return []string{"{rcpt_mailer}", "{rcpt_host}", "{rcpt_addr}"}
	case 'E':
		return []string{"{msg_id}"}
	}
	return nil
}

// Peer is an SMTP client, in neither MTA's spelling.
type Peer struct {
	Addr    netip.Addr // invalid: no network connection
	Name    string     // verified name; "" none
	Ptr     string     // name that the address leads to; "" none
	Resolve string     // OK, FAIL, FORGED or TEMP; "": OK with a Name, else FAIL
}

// describe returns the host name and the rest of a connect frame, and sets the
// macros that go with them, all in the MTA's spelling.
func (m MTA) describe(p Peer, macros map[string]string) (host, address string) {
	macros["j"] = "mx.example.com"
	macros["v"] = map[MTA]string{Sendmail: "8.17.1.9", Postfix: "Postfix 3.7.11"}[m]
	macros["{daemon_name}"] = map[MTA]string{Sendmail: "MTA-v4", Postfix: "mx.example.com"}[m]
	if !p.Addr.IsValid() {
		macros["{client_resolve}"], macros["{client_name}"], macros["{client_addr}"] = "OK", "localhost", "127.0.0.1"
		macros["{client_ptr}"] = "localhost"
		return "localhost", "U"
	}
	family, text, macroAddr := m.spell(p.Addr)
	none := "[" + text + "]"
	macroNone := none
	if m == Postfix {
		macroNone = "unknown"
	}
	host, macros["{client_name}"] = none, macroNone
	if p.Name != "" {
		host, macros["{client_name}"] = p.Name, p.Name
	}
	macros["{client_ptr}"] = macroNone
	if p.Ptr != "" {
		macros["{client_ptr}"] = p.Ptr
	}
	resolve := p.Resolve
	if resolve == "" {
		resolve = map[bool]string{true: "OK", false: "FAIL"}[p.Name != ""]
	}
	macros["{client_resolve}"] = resolve
	macros["{client_addr}"] = macroAddr
	macros["_"] = host + " [" + text + "]"
	port := binary.BigEndian.AppendUint16(nil, 40001)
	return host, family + string(port) + text + "\x00"
}

// spell returns family letter, address and {client_addr}.
func (m MTA) spell(a netip.Addr) (family, text, macro string) {
	if a.Is4() {
		return "4", a.String(), a.String()
	}
	if m == Postfix {
		return "6", a.String(), "IPv6:" + a.String()
	}
	words := strings.Split(a.StringExpanded(), ":")
	for i, w := range words {
		if words[i] = strings.TrimLeft(w, "0"); words[i] == "" {
			words[i] = "0"
		}
	}
	full := "IPv6:" + strings.Join(words, ":")
	return "6", full, full
}
