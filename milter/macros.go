package milter

import "strings"

// macro is one of the MTA's macros that the policy wants to know.
type macro uint8

const (
	macroQueueID macro = iota
	macroDaemonName
	macroClientName
	macroClientPtr
	macroClientResolve
	macroVerify
	macroCertSubject
	macroCertIssuer
	macroAuthType
	macroAuthAuthen
	macroVersion
	macroCount
)

// macroOf knows a macro by its name. Braces are taken or left: Postfix sends the
// names of its own settings as the administrator wrote them.
func macroOf(name string) (macro, bool) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "{"), "}")
	switch name {
	case "i":
		return macroQueueID, true
	case "v":
		return macroVersion, true
	case "daemon_name":
		return macroDaemonName, true
	case "client_name":
		return macroClientName, true
	case "client_ptr":
		return macroClientPtr, true
	case "client_resolve":
		return macroClientResolve, true
	case "verify":
		return macroVerify, true
	case "cert_subject":
		return macroCertSubject, true
	case "cert_issuer":
		return macroCertIssuer, true
	case "auth_type":
		return macroAuthType, true
	case "auth_authen":
		return macroAuthAuthen, true
	}
	return 0, false
}

// The commands that macros come with, in the order of a session. Those of
// others are of no use to us.
const macroStages = "CHMRTNE"

// macros holds the macros of a connection as they stand now. Unlike the
// library's table it keeps those of CONNECT and HELO over an ABORT: MTAs do not
// send them again.
type macros struct {
	values [macroCount]string
	stage  [macroCount]uint8 // 1 + index in macroStages; 0: not supplied
}

// get returns the value, and whether the MTA supplied it at all.
func (m *macros) get(name macro) (string, bool) {
	return m.values[name], m.stage[name] != 0
}

// set takes in the data of a checked macro frame: a command letter, then names
// and values. It forgets what that and later stages had.
func (m *macros) set(data []byte) {
	stage := strings.IndexByte(macroStages, data[0])
	if stage < 0 {
		return
	}
	m.forget(uint8(stage + 1))
	rest := string(data[1:])
	for rest != "" {
		var name, value string
		name, rest, _ = strings.Cut(rest, "\x00")
		value, rest, _ = strings.Cut(rest, "\x00")
		if id, known := macroOf(name); known && mayCome(id, data[0]) {
			m.values[id], m.stage[id] = value, uint8(stage+1)
		}
	}
}

// mayCome keeps a login to the command that it is told with: taken from elsewhere
// it could outlive the session that logged in.
func mayCome(id macro, cmd byte) bool {
	return cmd == cmdMail || id != macroAuthType && id != macroAuthAuthen
}

// ended forgets what does not outlive a command: a message's macros are told anew
// with the next MAIL, or not at all.
func (m *macros) ended(cmd byte) {
	switch cmd {
	case cmdQuitNC:
		*m = macros{}
	case cmdAbort, cmdHelo, cmdEndBody:
		m.forget(uint8(strings.IndexByte(macroStages, cmdMail) + 1))
	}
}

func (m *macros) forget(from uint8) {
	for i := range m.stage {
		if m.stage[i] >= from {
			m.values[i], m.stage[i] = "", 0
		}
	}
}
