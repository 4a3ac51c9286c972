package policy

import (
	"fmt"
	"strings"

	"gatepost/internal/smtp"
)

// errorText is the right-hand side of a rule that refuses: an enhanced code, and
// a text in the notation of .mc files: quoted strings, words and $&{macros}.
// It becomes a reply when it is known of whom it speaks.
type errorText struct {
	enhanced smtp.EnhancedCode
	text     string
	bare     smtp.Reply // instead of a reply that cannot be sent
}

// newErrorText checks a text as far as it can be without a session.
func newErrorText(enhanced, text string, bare smtp.Reply) (errorText, error) {
	e, _ := smtp.ParseEnhancedCode(enhanced)
	t := errorText{enhanced: e, text: text, bare: bare}
	expanded, err := expand(text, func(name string) (string, bool) { return "x", knownMacro(name) })
	if err != nil {
		return t, err
	}
	if _, err := buildReply(e, normalise(expanded)); err != nil {
		return t, fmt.Errorf("message %s: %w; expected a 4xx or 5xx code and a text", text, err)
	}
	return t, nil
}

// reply fills in the macros.
func (t *errorText) reply(q *inquiry) smtp.Reply {
	expanded, err := expand(t.text, q.macro)
	if err != nil {
		return t.bare
	}
	r, err := buildReply(t.enhanced, normalise(expanded))
	if err != nil {
		return t.bare
	}
	return r
}

// expand puts in values for $&{name}, $&x, ${name} and $x.
func expand(text string, value func(name string) (string, bool)) (string, error) {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		after = strings.TrimPrefix(after, "&")
		var name string
		if inner, ok := strings.CutPrefix(after, "{"); ok {
			if name, text, ok = strings.Cut(inner, "}"); !ok {
				return "", fmt.Errorf("message: %q has no closing brace", "$"+after)
			}
		} else if after != "" {
			name, text = after[:1], after[1:]
		}
		v, ok := value(name)
		if !ok {
			return "", fmt.Errorf("message: macro %q is not known here", name)
		}
		b.WriteString(v)
	}
}

func knownMacro(name string) bool {
	_, ok := (&inquiry{policy: &Policy{}, facts: &Facts{}}).macro(name)
	return ok
}

// macro is the value of a sendmail macro in a message.
func (q *inquiry) macro(name string) (string, bool) {
	f := q.facts
	if q.stage == StageConnect {
		f = &Facts{Conn: f.Conn} // the rest comes later
	}
	switch name {
	case "client_addr":
		return q.clientAddr, true
	case "client_name":
		return q.clientName, true
	case "client_ptr":
		return q.clientPtr(), true
	case "client_resolve":
		return f.Conn.Resolve.String(), true
	case "auth_type":
		return f.Auth.Type, true
	case "auth_authen":
		return f.Auth.Authen, true
	case "verify":
		return f.TLS.Verify, true
	case "cert_subject":
		return f.TLS.CertSubject, true
	case "cert_issuer":
		return f.TLS.CertIssuer, true
	case "j":
		return q.policy.host, true
	case "m":
		return q.policy.domain, true
	case "s":
		return f.Helo.Name, true
	case "f":
		return unquote(f.Mail.Sender.Text()), true
	}
	return "", false
}

// clientPtr is {client_ptr} as sendmail writes it.
func (q *inquiry) clientPtr() string {
	if q.facts.Conn.Ptr == "" {
		return "[" + q.clientAddr + "]"
	}
	return q.facts.Conn.Ptr
}

// useMessages takes the three texts that can be replaced.
func (p *Policy) useMessages(m *Messages) (err error) {
	denied := replyDenied
	if len(p.features.TrustAuthMech) > 0 {
		denied = replyDeniedAuth
	}
	for _, one := range []struct {
		to       *errorText
		text     string
		enhanced string
		usual    smtp.Reply
	}{
		{&p.rejected, m.Reject, "", replyAccessDenied},
		{&p.blocked, m.RcptRej, "5.2.1", replyMailboxOff},
		{&p.denied, m.Relay, "5.7.1", denied},
	} {
		if one.text == "" {
			*one.to = errorText{enhanced: one.usual.Enhanced(), text: fmt.Sprintf(`"%d %s"`, one.usual.Code(), one.usual.Text()), bare: one.usual}
		} else if *one.to, err = newErrorText(one.enhanced, one.text, one.usual); err != nil {
			return err
		}
	}
	return nil
}
