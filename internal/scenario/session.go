package scenario

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"gatepost/internal/smtp"
	"gatepost/policy"
)

// usualHelo is what a client says that has no helo: line.
const usualHelo = "client.example"

// draft is a session of the written form while it is read.
type draft struct {
	Session
	client     client
	clientLine int
	given      map[string]bool // lines of the client that have been there
	said       bool            // the last step has its expect: line
	over       string          // why nothing more can come, "" if it can
	expects    int
	closed     bool
}

// session begins one; the result takes its lines.
func (d *document) session(name string) (func(string) error, error) {
	if name == "" {
		return nil, errors.New("a session without name, expected \"== session NAME\"")
	}
	for i := range d.drafts {
		if d.drafts[i].Name == name {
			return nil, fmt.Errorf("session %q stands at line %d already, expected another name", name, d.drafts[i].Line)
		}
	}
	d.drafts = append(d.drafts, &draft{
		Session: Session{Line: d.line, Name: name, Facts: policy.Facts{Helo: policy.Helo{Given: true, Name: usualHelo}}},
		given:   map[string]bool{},
	})
	return d.sessionLine, nil
}

// sessionExpected lists what a session is made of.
const sessionExpected = "expected client:, name:, resolve:, helo:, auth:, tls:, cert-issuer:, cert-subject:, rate:, connections:, from:, to:, expect:, by: or at:"

// sessionLine is a line KEY: VALUE.
func (d *document) sessionLine(text string) error {
	s := d.last()
	key, value, ok := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	switch {
	case !ok:
		return fmt.Errorf("%s, %s", short(text), sessionExpected)
	case value == "":
		return fmt.Errorf("%s: nothing after the colon", key)
	}
	switch key {
	case "client":
		return s.begin(d.line, value)
	case "from", "to", "expect", "by", "at":
		if s.client.address == "" {
			return fmt.Errorf("%s: before client:, expected the client's address first", key)
		}
	}
	switch key {
	case "from":
		return s.from(d.line, value)
	case "to":
		return s.to(d.line, value)
	case "expect":
		return s.expect(value)
	case "by":
		return s.detail(&s.lastStep().Want.Rule, key, value)
	case "at":
		return s.detail(&s.lastStep().Want.Source, key, value)
	}
	return s.clientLineKey(key, value)
}

func (s *draft) lastStep() *Step { return &s.Steps[len(s.Steps)-1] }

func (s *draft) begin(line int, value string) error {
	if s.client.address != "" {
		return errors.New("a second client:, expected a session for each client")
	}
	s.client.address, s.clientLine = value, line
	s.Steps = append(s.Steps, Step{Line: line, Kind: Connect, Want: Want{Action: policy.Accept}})
	return nil
}

// clientLineKey is a line that says more of the client.
func (s *draft) clientLineKey(key, value string) error {
	at, known := s.clientKeys()[key]
	switch {
	case !known:
		return fmt.Errorf("unknown key %s, %s", short(key), sessionExpected)
	case s.client.address == "" || len(s.Steps) > 1:
		return fmt.Errorf("%s: expected between the lines client: and from: of a session", key)
	case s.given[key]:
		return fmt.Errorf("%s: stands twice", key)
	}
	s.given[key] = true
	return at(value)
}

func (s *draft) clientKeys() map[string]func(string) error {
	f := &s.Facts
	text := func(at *string) func(string) error {
		return func(v string) error { *at = v; return nil }
	}
	return map[string]func(string) error{
		"name":         text(&s.client.name),
		"resolve":      text(&s.client.resolve),
		"helo":         text(&f.Helo.Name),
		"auth":         s.auth,
		"tls":          text(&f.TLS.Verify),
		"cert-issuer":  text(&f.TLS.CertIssuer),
		"cert-subject": text(&f.TLS.CertSubject),
		"rate":         func(v string) error { return count(&f.Conn.Rate, v) },
		"connections":  func(v string) error { return count(&f.Conn.Open, v) },
	}
}

func (s *draft) auth(value string) error {
	mech, user := cutField(value)
	if user == "" {
		return fmt.Errorf("auth: %q, expected a mechanism and a user such as \"PLAIN joe\"", value)
	}
	s.Facts.Auth = policy.Auth{Type: mech, Authen: user}
	return nil
}

func count(at *int, value string) error {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return fmt.Errorf("%s, expected a number", short(value))
	}
	*at = int(n)
	return nil
}

// from is MAIL; another one begins another message.
func (s *draft) from(line int, value string) error {
	if s.over == "connection" {
		return errors.New("from: after a connection that must be refused, expected nothing more: MAIL is not reached")
	}
	if err := s.answered(); err != nil {
		return err
	}
	s.over, s.said = "", false
	s.Steps = append(s.Steps, Step{Line: line, Kind: Sender, Path: smtp.ParsePath(value), Want: Want{Action: policy.Accept}})
	return nil
}

// to is RCPT.
func (s *draft) to(line int, value string) error {
	switch {
	case s.over != "":
		return fmt.Errorf("to: after a %s that must be refused, expected nothing more: RCPT is not reached", s.over)
	case s.lastStep().Kind == Connect:
		return errors.New("to: before from:, expected the sender first")
	}
	if err := s.answered(); err != nil {
		return err
	}
	s.said = false
	s.Steps = append(s.Steps, Step{Line: line, Kind: Recipient, Path: smtp.ParsePath(value), Want: Want{Action: policy.Accept}})
	return nil
}

// expect is the verdict for what stands before it.
func (s *draft) expect(value string) error {
	if s.said {
		return errors.New("a second expect:, expected one for each client:, from: or to: line")
	}
	want, err := parseWant(value)
	if err != nil {
		return err
	}
	last := s.lastStep()
	last.Want = want
	s.said = true
	s.expects++
	if want.Action == policy.Reject || want.Action == policy.Tempfail {
		switch last.Kind {
		case Connect:
			s.over = "connection"
		case Sender:
			s.over = "sender"
		}
	}
	return nil
}

// detail is by: or at:, which say more about an expect:.
func (s *draft) detail(at *string, key, value string) error {
	switch {
	case !s.said:
		return fmt.Errorf("%s: expected after an expect: line", key)
	case *at != "":
		return fmt.Errorf("a second %s:, expected one for each expect: line", key)
	}
	*at = value
	return nil
}

// finish checks a session when its last line has been read. line is where the
// mistake is.
func (s *draft) finish() (line int, err error) {
	s.closed = true
	switch {
	case s.client.address == "":
		return s.Line, fmt.Errorf("session %q has no client, expected a line such as \"client: 192.0.2.1\"", s.Name)
	case s.expects == 0:
		return s.Line, fmt.Errorf("session %q expects nothing, expected a line such as \"expect: accept\"", s.Name)
	}
	return s.lastStep().Line, s.answered()
}

// answered checks that the last to: has its expect:.
func (s *draft) answered() error {
	if last := s.lastStep(); last.Kind == Recipient && !s.said {
		return fmt.Errorf("to: at line %d has no expect:, expected a line such as \"expect: accept\"", last.Line)
	}
	return nil
}

// session is the finished session, under the policy that it meets.
func (s *draft) session(p *policy.Config) (Session, error) {
	c := s.client
	if c.name != "" && c.resolve == "" {
		c.resolve = policy.ResolveOK.String()
	}
	if c.resolve != policy.ResolveFail.String() {
		c.ptr = c.name
	}
	conn, err := c.conn(p)
	if err != nil {
		return Session{}, err
	}
	conn.Rate, conn.Open = s.Facts.Conn.Rate, s.Facts.Conn.Open
	s.Facts.Conn = conn
	return s.Session, nil
}

// wantExpected lists the forms of a verdict.
const wantExpected = `expected accept, reject, tempfail, discard, quarantine, or a reply such as "550 5.7.1 Relaying denied"`

// parseWant reads a verdict: a word, or as much of a reply as is to be compared.
func parseWant(value string) (Want, error) {
	word, rest := cutField(value)
	if action, known := actionNamed(word); known {
		if rest != "" && action != policy.Quarantine {
			return Want{}, fmt.Errorf("%q after %s, expected nothing", rest, word)
		}
		return Want{Action: action, Text: rest}, nil
	}
	code, err := strconv.Atoi(word)
	if err != nil || len(word) != 3 || code < 400 || code > 599 {
		return Want{}, fmt.Errorf("%s, %s", short(value), wantExpected)
	}
	w := Want{Action: policy.Reject, Code: code}
	if code < 500 {
		w.Action = policy.Tempfail
	}
	if rest == "" {
		return w, nil
	}
	w.Enhanced, w.Text = cutField(rest)
	if _, ok := smtp.ParseEnhancedCode(w.Enhanced); !ok {
		return Want{}, fmt.Errorf("%q after %d, expected an enhanced code such as 5.7.1", w.Enhanced, code)
	}
	return w, nil
}
