package explain

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf16"

	"gatepost/internal/smtp"
	"gatepost/policy"
)

// jsonVersion changes when a field changes its meaning or goes. New fields may
// come without that. docs/explain.md has the fields.
const jsonVersion = 1

type jsonReport struct {
	Version      int          `json:"version"`
	Session      jsonSession  `json:"session"`
	Lookups      []jsonAnswer `json:"lookups"`
	Stages       []jsonStage  `json:"stages"`
	LookupFailed bool         `json:"lookup_failed"`
}

type jsonSession struct {
	Client      string   `json:"client"`
	Name        string   `json:"name"`
	Ptr         string   `json:"ptr"`
	Resolve     string   `json:"resolve"`
	Helo        string   `json:"helo"`
	AuthType    string   `json:"auth_type"`
	AuthUser    string   `json:"auth_user"`
	CertIssuer  string   `json:"cert_issuer"`
	CertSubject string   `json:"cert_subject"`
	From        string   `json:"from"`
	To          []string `json:"to"`
}

type jsonStage struct {
	Stage    string `json:"stage"`
	Argument string `json:"argument"`
	jsonVerdict
	Rule     string     `json:"rule"`
	Source   string     `json:"source"`
	Decisive bool       `json:"decisive"`
	Steps    []jsonStep `json:"steps"`
	Flip     *jsonFlip  `json:"flip"`
	NoFlip   string     `json:"no_flip"`
	Relay    *jsonReply `json:"relay"`
}

type jsonVerdict struct {
	Action string     `json:"action"`
	Reply  *jsonReply `json:"reply"`
	Reason string     `json:"reason"`
}

type jsonReply struct {
	Code     int      `json:"code"`
	Enhanced string   `json:"enhanced"`
	Text     string   `json:"text"`
	Sendmail []string `json:"sendmail"`
	Postfix  []string `json:"postfix"`
}

type jsonStep struct {
	Rule string `json:"rule"`
	jsonVerdict
	Error string       `json:"error"`
	Asked []jsonAnswer `json:"asked"`
}

type jsonAnswer struct {
	Table  string `json:"table"`
	Key    string `json:"key"`
	Result string `json:"result"`
	Value  string `json:"value"`
	File   string `json:"file"`
	Line   int    `json:"line"`
	Server string `json:"server"`
	TTL    int64  `json:"ttl"` // of a DNS answer, in seconds
	Error  string `json:"error"`
}

type jsonFlip struct {
	Edits []jsonEdit `json:"edits"`
	Stage string     `json:"stage"`
	jsonVerdict
	Rule string `json:"rule"`
}

type jsonEdit struct {
	Op    Op     `json:"op"`
	Table string `json:"table"`
	File  string `json:"file"`
	Lines []int  `json:"lines"`
	Key   string `json:"key"`
	Old   string `json:"old"`
	New   string `json:"new"`
	Text  string `json:"text"`
}

// WriteJSON writes everything that is known as one JSON object. Control
// characters, also those that JSON allows as they are, are escaped.
func (r *Report) WriteJSON(w io.Writer) error {
	out := jsonReport{
		Version:      jsonVersion,
		Session:      r.Session.json(),
		Lookups:      jsonAnswers(r.Lookups),
		Stages:       make([]jsonStage, len(r.Stages)),
		LookupFailed: r.Failed(),
	}
	for i := range r.Stages {
		out.Stages[i] = r.Stages[i].json(r.Stages)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(out); err != nil {
		return fmt.Errorf("explain: %w", err)
	}
	_, err := io.WriteString(w, escapeJSON(b.String()))
	return err
}

// escapeJSON escapes what a terminal might act on. Outside of strings JSON has
// only line ends of that kind.
func escapeJSON(s string) string {
	odd := func(r rune) bool { return r != '\n' && r != ' ' && !unicode.IsGraphic(r) }
	if !strings.ContainsFunc(s, odd) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !odd(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func (s *Session) json() jsonSession {
	f := &s.Facts
	out := jsonSession{
		Client: policy.AddrText(f.Conn.Addr), Name: f.Conn.Name, Ptr: f.Conn.Ptr, Resolve: f.Conn.Resolve.String(),
		Helo: f.Helo.Name, AuthType: f.Auth.Type, AuthUser: f.Auth.Authen,
		CertIssuer: f.TLS.CertIssuer, CertSubject: f.TLS.CertSubject,
		From: s.From.Raw(), To: make([]string, len(s.To)),
	}
	for i, to := range s.To {
		out.To[i] = to.Raw()
	}
	return out
}

func (s *Stage) json(all []Stage) jsonStage {
	by := s.By()
	out := jsonStage{
		Stage: s.Stage.String(), Argument: s.Argument, jsonVerdict: verdictJSON(s.Verdict, s.Argument),
		Rule: by.Rule, Source: by.Source(), Decisive: s.Decisive,
		Steps: make([]jsonStep, len(s.Steps)), NoFlip: s.NoFlip,
	}
	for i, step := range s.Steps {
		out.Steps[i] = jsonStep{Rule: step.Rule, jsonVerdict: verdictJSON(step.Verdict, s.Argument), Error: errorText(step.Err), Asked: jsonAnswers(step.Asked)}
	}
	out.Relay = replyJSON(s.Relay, s.Argument)
	if f := s.Flip; f != nil {
		then := &all[f.At]
		out.Flip = &jsonFlip{Edits: make([]jsonEdit, len(f.Edits)), Stage: then.Stage.String(), jsonVerdict: verdictJSON(f.Verdict, then.Argument), Rule: f.Rule}
		for i, e := range f.Edits {
			lines := append([]int{}, e.Lines...)
			out.Flip.Edits[i] = jsonEdit{Op: e.Op, Table: e.Table, File: e.File, Lines: lines, Key: e.Key, Old: e.Old, New: e.New, Text: e.String()}
		}
	}
	return out
}

func verdictJSON(v policy.Verdict, argument string) jsonVerdict {
	return jsonVerdict{Action: v.Action.String(), Reason: v.Reason, Reply: replyJSON(v.Reply, argument)}
}

func replyJSON(r smtp.Reply, argument string) *jsonReply {
	if r.IsZero() {
		return nil
	}
	return &jsonReply{Code: r.Code(), Enhanced: r.Enhanced().String(), Text: r.Text(), Sendmail: SendmailReply(r, argument), Postfix: PostfixReply(r)}
}

func jsonAnswers(asked []policy.Answer) []jsonAnswer {
	out := make([]jsonAnswer, len(asked))
	for i, a := range asked {
		j := jsonAnswer{Table: a.Table, Key: a.Key, Result: Result(a), Value: a.Value, Error: errorText(a.Err)}
		if isDNS(a) {
			j.Server, j.TTL = a.Source.File, int64(a.TTL.Seconds())
		} else {
			j.File, j.Line = a.Source.File, a.Source.Line
		}
		out[i] = j
	}
	return out
}

func isDNS(a policy.Answer) bool { return strings.HasPrefix(a.Table, "dns ") }

// Result is hit, miss or failed.
func Result(a policy.Answer) string {
	switch {
	case a.Err != nil:
		return "failed"
	case a.Found:
		return "hit"
	}
	return "miss"
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// SendmailReply is a reply as sendmail sends it, line by line. argument is that
// of MAIL or RCPT, "" at connect: with the codes 450, 550 and 553 sendmail puts
// it before the text.
func SendmailReply(r smtp.Reply, argument string) []string {
	if argument != "" && (r.Code() == 450 || r.Code() == 550 || r.Code() == 553) {
		return replyLines(r, argument+"... ")
	}
	return replyLines(r, "")
}

// PostfixReply is a reply as Postfix sends it, line by line: without the address,
// and with an enhanced code of the reply code's class.
func PostfixReply(r smtp.Reply) []string { return replyLines(r.Aligned(), "") }

func replyLines(r smtp.Reply, before string) []string {
	lines := strings.Split(r.Text(), "\n")
	for i, text := range lines {
		between := "-"
		if i == len(lines)-1 {
			between = " "
		}
		head := fmt.Sprintf("%d%s", r.Code(), between)
		if !r.Enhanced().IsZero() {
			head += r.Enhanced().String() + " "
		}
		lines[i] = head + before + text
	}
	return lines
}
