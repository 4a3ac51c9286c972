package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy"
)

// record is one line of the recorded form. Fields that it does not name say
// nothing about the verdicts, and are passed over.
type record struct {
	ID          string          `json:"policy_id"`
	HostName    string          `json:"host_name"`
	Features    []recordFeature `json:"features"`
	TrustAuth   []string        `json:"trust_auth_mechanisms"`
	LocalHosts  []string        `json:"local_host_names"`
	LocalAlways []string        `json:"local_names_always"`
	Relay       []string        `json:"relay_domains"`
	ClassM      []string        `json:"class_m_domains"`
	Access      string          `json:"access"`
	AccessFails string          `json:"access_fails_for_keys_matching"`
	DNS         dnsfake.Zone    `json:"dns"`
	Sessions    []recordSession `json:"sessions"`
}

type recordFeature struct {
	Name      string   `json:"name"`
	Arguments []string `json:"arguments"`
}

type recordSession struct {
	Client struct {
		Address string `json:"address"`
		Name    string `json:"client_name"`
		Ptr     string `json:"client_ptr"`
		Resolve string `json:"client_resolve"`
	} `json:"client"`
	Rate int    `json:"client_rate"`
	Open int    `json:"client_connections"`
	Helo string `json:"helo"`
	Auth struct {
		Type   string `json:"auth_type"`
		Authen string `json:"auth_authen"`
	} `json:"auth"`
	TLS struct {
		Verify  string `json:"verify"`
		Subject string `json:"cert_subject"`
		Issuer  string `json:"cert_issuer"`
	} `json:"tls"`
	MailFrom string   `json:"mail_from"`
	RcptTo   []string `json:"rcpt_to"`
	Expected struct {
		Connect *recordVerdict  `json:"connect"`
		Mail    *recordVerdict  `json:"mail"`
		Rcpt    []recordVerdict `json:"rcpt"`
		Pause   *int64          `json:"greet_pause_ms"`
		Compat  []recordVerdict `json:"check_compat"`
	} `json:"expected"`
}

type recordVerdict struct {
	Action   string `json:"action"`
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced_code"`
	Text     string `json:"text"`
	Syntax   bool   `json:"address_syntax"`
}

// parseRecord reads one line of the recorded form.
func parseRecord(file string, line int, data []byte) (*Scenario, error) {
	fault := func(err error) (*Scenario, error) { return nil, &Error{file, line, err} }
	var r record
	if err := decode(data, &r); err != nil {
		return fault(fmt.Errorf("expected a recorded policy as one JSON object: %w", err))
	}
	s := &Scenario{File: file, Line: line, Name: r.ID, Zone: r.DNS}
	if s.Name == "" {
		s.Name = "policy"
	}
	var err error
	if s.Policy, err = r.policy(); err != nil {
		return fault(err)
	}
	if len(r.Sessions) == 0 {
		return fault(errors.New("no sessions, expected \"sessions\" with at least one"))
	}
	for i := range r.Sessions {
		session, err := r.Sessions[i].read(&s.Policy)
		if err != nil {
			return fault(fmt.Errorf("session %d: %w", i, err))
		}
		session.Name, session.Line = fmt.Sprintf("%s session %d", s.Name, i), line
		for j := range session.Steps {
			session.Steps[j].Line = line
		}
		s.Sessions = append(s.Sessions, session)
	}
	return s, nil
}

// decode takes exactly one value.
func decode(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows it on the line")
	}
	return nil
}

// policy makes what the record says of the policy into ours.
func (r *record) policy() (policy.Config, error) {
	if r.HostName == "" {
		return policy.Config{}, errors.New("no host name, expected \"host_name\"")
	}
	if err := r.DNS.Check(); err != nil {
		return policy.Config{}, fmt.Errorf("dns: %w", err)
	}
	features, hasAccess, err := recordedFeatures(r.Features)
	if err != nil {
		return policy.Config{}, err
	}
	features.TrustAuthMech = r.TrustAuth
	_, domain, _ := strings.Cut(r.HostName, ".")
	c := policy.Config{
		HostName:       r.HostName,
		Domain:         domain,
		RelayDomains:   []maps.Map{maps.NewClass("relay_domains", r.Relay)},
		LocalHostNames: []maps.Map{maps.NewClass("local_host_names", r.LocalHosts), maps.NewClass("local_names_always", r.LocalAlways)},
		OwnDomains:     []maps.Map{maps.NewClass("class_m_domains", r.ClassM)},
		Features:       features,
		Resolver:       dnsfake.NewFake(r.DNS),
		Hosts:          localhost(),
	}
	if hasAccess {
		if c.Access, err = r.accessMap(); err != nil {
			return policy.Config{}, err
		}
	}
	return c, nil
}

// accessMap reads the access text as makemap does: what that complains about is
// left out.
func (r *record) accessMap() (maps.Map, error) {
	text, _, err := maps.Parse("access", maps.FormatAccess, []byte(r.Access))
	if err != nil {
		return nil, err
	}
	if r.AccessFails == "" {
		return text, nil
	}
	fails, err := regexp.Compile(r.AccessFails)
	if err != nil {
		return nil, fmt.Errorf("access_fails_for_keys_matching: %w", err)
	}
	return failingMap{text, fails}, nil
}

// failingMap fails for some keys.
type failingMap struct {
	maps.Map
	fails *regexp.Regexp
}

func (m failingMap) Lookup(ctx context.Context, key string) (maps.Entry, bool, error) {
	if m.fails.MatchString(strings.ToLower(key)) {
		return maps.Entry{}, false, errors.New("the test has this lookup fail")
	}
	return m.Map.Lookup(ctx, key)
}

// read makes a session and its steps.
func (r *recordSession) read(p *policy.Config) (Session, error) {
	c := client{address: r.Client.Address, name: r.Client.Name, ptr: r.Client.Ptr, resolve: r.Client.Resolve}
	conn, err := c.conn(p)
	if err != nil {
		return Session{}, err
	}
	conn.Rate, conn.Open = r.Rate, r.Open
	s := Session{Facts: policy.Facts{
		Conn: conn,
		Helo: policy.Helo{Given: true, Name: r.Helo},
		Auth: policy.Auth{Type: r.Auth.Type, Authen: r.Auth.Authen},
		TLS:  policy.TLS{Verify: r.TLS.Verify, CertSubject: r.TLS.Subject, CertIssuer: r.TLS.Issuer},
	}}
	return s, r.steps(&s)
}

// steps are the questions to which there is an answer.
func (r *recordSession) steps(s *Session) error {
	e := &r.Expected
	if len(e.Rcpt) > len(r.RcptTo) || len(e.Compat) > len(r.RcptTo) {
		return fmt.Errorf("%d recipients, expected as many verdicts at most", len(r.RcptTo))
	}
	if err := s.add(Connect, "", e.Connect); err != nil {
		return err
	}
	if e.Pause != nil {
		s.Steps = append(s.Steps, Step{Kind: Pause, Want: Want{Pause: time.Duration(*e.Pause) * time.Millisecond}})
	}
	if e.Mail == nil { // not asked about, but known to the questions that follow
		s.Steps = append(s.Steps, Step{Kind: Sender, Path: smtp.ParsePath(r.MailFrom)})
	} else if err := s.add(Sender, r.MailFrom, e.Mail); err != nil {
		return err
	}
	for i := range e.Rcpt {
		if err := s.add(Recipient, r.RcptTo[i], &e.Rcpt[i]); err != nil {
			return err
		}
	}
	for i := range e.Compat {
		if err := s.add(Compat, r.RcptTo[i], &e.Compat[i]); err != nil {
			return err
		}
	}
	if s.asks() == 0 {
		return errors.New("nothing is expected of it, expected a verdict in \"expected\"")
	}
	return nil
}

// add appends a step if there is a verdict.
func (s *Session) add(k Kind, path string, v *recordVerdict) error {
	if v == nil {
		return nil
	}
	action, known := actionNamed(v.Action)
	if !known {
		return fmt.Errorf("%s: action %q, expected accept, reject, tempfail, discard or quarantine", k, v.Action)
	}
	w := Want{Action: action}
	if !v.Syntax {
		w.Code, w.Enhanced, w.Text, w.Exact = v.Code, v.Enhanced, v.Text, true
	}
	s.Steps = append(s.Steps, Step{Kind: k, Path: smtp.ParsePath(path), Want: w})
	return nil
}

// actionNamed finds an action by its name.
func actionNamed(name string) (policy.Action, bool) {
	for a := policy.Accept; a <= policy.Quarantine; a++ {
		if a.String() == name {
			return a, true
		}
	}
	return policy.Undecided, false
}
