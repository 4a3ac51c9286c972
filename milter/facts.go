package milter

import (
	"net/netip"
	"strings"

	"gatepost/policy"
)

// clientFacts makes one form of the two in which sendmail and Postfix describe a
// client. The library has parsed the address by then; family is its word for it.
//
// A client without network address is local only if the MTA says so: sendmail
// -bs and Postfix's smtpd on a pipe give host localhost and family unknown.
// Everything else without address stays unknown: Addr is invalid, Local false.
func clientFacts(host, family, addr string, m *macros) policy.Conn {
	c := policy.Conn{Local: family == "unknown" && host == "localhost"}
	if family == "tcp4" || family == "tcp6" {
		addr = strings.TrimPrefix(addr, "IPv6:")
		if a, err := netip.ParseAddr(strings.Trim(addr, "[]")); err == nil {
			c.Addr = a.Unmap().WithZone("")
		}
	}
	c.Daemon, _ = m.get(macroDaemonName)
	c.Routes = !isSendmail(m)
	ptr, _ := m.get(macroClientPtr)
	c.Ptr = realName(ptr)
	c.Resolve, c.Name = resolved(host, m)
	return c
}

// resolved finds how the client's name was verified, and the name if it was.
// Where the MTA did not say, a host in brackets (sendmail) or "unknown" (Postfix)
// was not.
func resolved(host string, m *macros) (policy.Resolve, string) {
	given, _ := m.get(macroClientName)
	name := realName(given)
	if name == "" {
		name = realName(host)
	}
	word, _ := m.get(macroClientResolve)
	switch r := policy.ParseResolve(word); {
	case r == policy.ResolveUnknown && realName(host) == "", r == policy.ResolveOK && name == "":
		return policy.ResolveFail, ""
	case r == policy.ResolveUnknown, r == policy.ResolveOK:
		return policy.ResolveOK, name
	default:
		return r, ""
	}
}

// saysResolve tells whether the MTA says how the client's name was verified.
func saysResolve(m *macros) bool {
	word, _ := m.get(macroClientResolve)
	return policy.ParseResolve(word) != policy.ResolveUnknown
}

// isSendmail tells by {v}, the version: sendmail's begins with a digit, Postfix
// puts its name first. A server that does not say is taken for one that follows
// routes in local parts.
func isSendmail(m *macros) bool {
	v, _ := m.get(macroVersion)
	return v != "" && v[0] >= '0' && v[0] <= '9'
}

// realName drops what MTAs write where there is no name, and a final dot.
func realName(s string) string {
	if s == "unknown" || strings.HasPrefix(s, "[") {
		return ""
	}
	return strings.TrimSuffix(s, ".")
}

// takeTLS overwrites what the MTA told anew. Postfix has no {verify}: it stays
// "" there, and a certificate grants nothing.
func takeTLS(t *policy.TLS, m *macros) {
	if v, ok := m.get(macroVerify); ok {
		t.Verify = v
	}
	if v, ok := m.get(macroCertSubject); ok {
		t.CertSubject = v
	}
	if v, ok := m.get(macroCertIssuer); ok {
		t.CertIssuer = v
	}
}

func authFacts(m *macros) policy.Auth {
	var a policy.Auth
	a.Type, _ = m.get(macroAuthType)
	a.Authen, _ = m.get(macroAuthAuthen)
	return a
}
