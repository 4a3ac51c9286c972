package config

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// checkListeners fills in what tables [[listener]] leave to the rest of the file, and
// finds what no single key of them can tell.
func (r *reader) checkListeners(c *Config) {
	isMTA := func(l Listener) bool { return l.Kind == ListenMTA }
	if _, said := r.doc.lines["relay.listen"]; !said && slices.ContainsFunc(c.Listeners, isMTA) {
		c.Relay.Listen = nil
	}
	if len(c.Relay.Listen) == 0 && len(c.Listeners) == 0 {
		r.fault("relay.listen", "relay.listen is an empty list and there is no [[listener]], expected one of them")
	}
	for i := range c.Listeners {
		l, path := &c.Listeners[i], fmt.Sprintf("listener[%d]", i)
		if l.TLS == "" {
			l.TLS = c.defaultTLS(l.Kind)
		}
		same := func(o Listener) bool { return l.Name != "" && strings.EqualFold(o.Name, l.Name) }
		if slices.ContainsFunc(c.Listeners[:i], same) {
			r.fault(path+".name", "%s has the name %q, which another one has", path, l.Name)
		} else if strings.EqualFold(l.Name, listenerName) && len(c.Relay.Listen) > 0 {
			r.fault(path+".name", "%s has the name %q, which relay.listen has", path, l.Name)
		}
		r.checkListenerTLS(c, l, path)
		r.checkListenerAuth(c, l, path)
		r.checkDevice(l, path)
	}
	r.checkAddresses(c)
}

func (r *reader) checkListenerTLS(c *Config, l *Listener, path string) {
	switch {
	case l.Kind == ListenSMTPS && l.TLS != TLSImplicit:
		r.fault(path+".tls", "%s.tls is %q, but kind \"smtps\" is TLS from the first byte, expected \"implicit\" or no tls", path, l.TLS)
	case l.Kind != ListenSMTPS && l.TLS == TLSImplicit:
		r.fault(path+".tls", "%s.tls is \"implicit\", expected kind = \"smtps\" with it", path)
	case l.TLS != TLSNone && c.Relay.ServerCert == "" && c.Relay.ServerKey == "":
		r.fault(path, "%s is of kind %q with tls = %q, which needs relay.server_cert and relay.server_key", path, l.Kind, l.TLS)
	}
	switch {
	case l.MinTLS == 0:
	case l.TLS == TLSNone:
		r.fault(path+".min_tls", "%s.min_tls means nothing without TLS", path)
	case l.MinTLS < tls.VersionTLS12 && l.Kind != ListenDevice:
		r.fault(path+".min_tls", "%s.min_tls is older than \"1.2\", which only a listener of kind \"device\" may have: passwords and mail would be open to known attacks", path)
	}
}

func (r *reader) checkListenerAuth(c *Config, l *Listener, path string) {
	if l.RequireAuth && !l.Auth {
		r.fault(path+".require_auth", "%s.require_auth is true and auth is not, so that nobody could send, expected auth = true or require_auth = false", path)
	}
	clear := l.TLS == TLSNone || l.Kind == ListenSubmission && l.TLS == TLSMay
	switch {
	case l.Kind == ListenDevice: // checkDevice
	case l.Auth && clear && !l.PlainAuth:
		r.fault(path, "%s has AUTH and tls = %q, by which passwords would be sent in the clear, expected tls = \"required\"; or allow_plaintext_auth = true, and networks that it is fenced to", path, l.TLS)
	case l.PlainAuth && (!l.Auth || l.TLS == TLSRequired || l.TLS == TLSImplicit):
		r.fault(path+".allow_plaintext_auth", "%s.allow_plaintext_auth means nothing where there is no AUTH, or only after TLS", path)
	case l.PlainAuth && len(l.Networks) == 0 && !onLoopback(l.Listen):
		r.fault(path+".allow_plaintext_auth", "%s.allow_plaintext_auth is true for everybody, expected networks = [...], whose wires you trust, or loopback addresses in listen", path)
	}
}

// onLoopback tells whether all addresses are this machine's own.
func onLoopback(listen []string) bool {
	return !slices.ContainsFunc(listen, func(s string) bool {
		host, _, _ := net.SplitHostPort(s)
		addr, _ := netip.ParseAddr(host)
		return !addr.IsLoopback() && host != "localhost"
	})
}

func (r *reader) checkDevice(l *Listener, path string) {
	if l.Kind != ListenDevice {
		if l.Sender != "" {
			r.fault(path+".sender", "%s.sender is for kind \"device\"; whom logged-in users may send as, relay.sender_binding says", path)
		}
		return
	}
	if _, said := r.doc.lines[path+".networks"]; !said {
		r.fault(path, "%s is of kind \"device\", which takes mail for everybody without a login, and needs networks, expected networks = [\"192.0.2.64/26\"], those of the devices", path)
	}
	if _, said := r.doc.lines[path+".sender"]; !said {
		r.fault(path, "%s is of kind \"device\", which needs an envelope sender for all its mail, expected sender = \"scanner@example.com\"", path)
	}
	if l.Auth || l.RequireAuth || l.PlainAuth {
		r.fault(path, "%s is of kind \"device\", which has no AUTH, expected kind = \"submission\" or \"smtps\" for clients that can log in", path)
	}
	if l.TLS == TLSRequired {
		r.fault(path+".tls", "%s.tls is \"required\", expected \"none\" or \"may\" for kind \"device\"; kind \"submission\" for clients that can do better", path)
	}
}

// checkAddresses finds addresses that two listeners have, and the smart host at one.
func (r *reader) checkAddresses(c *Config) {
	where := map[string]string{}
	note := func(list []string, path string) {
		for i, a := range list {
			if _, port, _ := net.SplitHostPort(a); where[a] != "" && port != "0" {
				at, where := path, where[a]
				if at == where {
					where = "twice"
				} else {
					where = "which " + where + " has too"
				}
				if _, said := r.doc.lines[fmt.Sprintf("%s[%d]", path, i)]; said {
					at = fmt.Sprintf("%s[%d]", path, i)
				}
				r.fault(at, "%s has %q %s", path, a, where)
			}
			where[a] = path
		}
	}
	note(c.Relay.Listen, "relay.listen")
	for i, l := range c.Listeners {
		path := fmt.Sprintf("listener[%d].listen", i)
		note(l.Listen, path)
		if slices.ContainsFunc(l.Listen, c.smartHostAt) {
			r.fault("relay.smart_host", "relay.smart_host is %q, where %s has us ourselves: mail would go round in circles", c.Relay.SmartHost, path)
		}
	}
}
