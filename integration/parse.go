package integration

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// PolicySections are the sections of a dialogue that hold policy files.
func PolicySections() []string {
	return []string{"access", "relay-domains", "local-host-names", "trusted", "spammers", "virtual-hosts", "gatepost.toml"}
}

// Parse reads a dialogue file. tags are the drivers that lines may be marked
// for. Errors begin with file:line. The form is described in README.md.
func Parse(file string, r io.Reader, tags []string) (*Dialogue, error) {
	p := &parser{d: &Dialogue{File: file, Policy: map[string]string{}}, tags: tags}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		p.line++
		if err := p.take(lines.Text()); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, p.line, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", file, p.line+1, err)
	}
	if err := p.finish(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", file, p.line, err)
	}
	return p.d, nil
}

type parser struct {
	d     *Dialogue
	tags  []string
	line  int
	file  string   // the policy section that we are in
	s     *Session // the session that we are in
	reply *Step    // a reply whose last line has not come yet
}

func (p *parser) take(text string) error {
	if name, ok := strings.CutPrefix(text, "== "); ok {
		return p.section(strings.TrimSpace(name))
	}
	switch {
	case p.file != "":
		p.d.Policy[p.file] += text + "\n"
		return nil
	case strings.TrimSpace(text) == "" || strings.HasPrefix(text, "#"):
		return nil
	case p.s != nil:
		return p.sessionLine(text)
	}
	return p.head(text)
}

func (p *parser) head(text string) error {
	if title, ok := strings.CutPrefix(text, "title:"); ok && p.d.Title == "" {
		p.d.Title = strings.TrimSpace(title)
		return nil
	}
	if why, ok := strings.CutPrefix(text, "why:"); ok && p.d.Why == "" {
		p.d.Why = strings.TrimSpace(why)
		return nil
	}
	if strings.HasPrefix(text, " ") && p.d.Why != "" {
		p.d.Why += " " + strings.TrimSpace(text)
		return nil
	}
	return fmt.Errorf("%q: expected one \"title:\", one \"why:\" (further lines of it indented), then sections", text)
}

func (p *parser) section(name string) error {
	if p.d.Title == "" || p.d.Why == "" {
		return fmt.Errorf("section %q comes before title: and why: are there", name)
	}
	if err := p.endSession(); err != nil {
		return err
	}
	p.file, p.s = "", nil
	if session, ok := strings.CutPrefix(name, "session "); ok {
		for _, other := range p.d.Sessions {
			if other.Name == session {
				return fmt.Errorf("session %q stands at line %d already", session, other.Line)
			}
		}
		p.s = &Session{Name: session, Line: p.line}
		return nil
	}
	if !slices.Contains(PolicySections(), name) {
		return fmt.Errorf("unknown section %q: expected \"session NAME\" or one of %s", name, strings.Join(PolicySections(), ", "))
	}
	if len(p.d.Sessions) > 0 {
		return fmt.Errorf("section %q after a session: the policy comes first", name)
	}
	if _, twice := p.d.Policy[name]; twice {
		return fmt.Errorf("section %q stands twice", name)
	}
	p.d.Policy[name] = ""
	p.file = name
	return nil
}

// A session line is WORD: REST or WORD[TAG,TAG]: REST.
func (p *parser) sessionLine(text string) error {
	head, rest, ok := strings.Cut(text, ":")
	if !ok {
		return fmt.Errorf("%q: expected client:, C:, S:, CLOSED:, SINK: or QUARANTINE: and a value", text)
	}
	rest = strings.TrimPrefix(rest, " ")
	word, inBrackets, marked := strings.Cut(head, "[")
	var tags []string
	if marked {
		var err error
		if tags, err = p.readTags(inBrackets); err != nil {
			return err
		}
	}
	if p.reply != nil && (word != "S" || !slices.Equal(tags, p.reply.Tags)) {
		return fmt.Errorf("the reply before this line goes on (its last line has %q), but here is %q", p.last(), text)
	}
	switch word {
	case "client":
		return p.client(rest)
	case "C":
		p.s.Steps = append(p.s.Steps, Step{Line: p.line, Kind: Send, Lines: []string{rest}, Tags: tags})
		return nil
	case "S":
		return p.replyLine(rest, tags)
	case "CLOSED":
		p.s.Steps = append(p.s.Steps, Step{Line: p.line, Kind: Closed, Tags: tags})
		return nil
	case string(Sink), string(Quarantine):
		return p.outcome(Place(word), rest, tags)
	}
	return fmt.Errorf("%q: expected client:, C:, S:, CLOSED:, SINK: or QUARANTINE: and a value", text)
}

func (p *parser) last() string { return p.reply.Lines[len(p.reply.Lines)-1] }

func (p *parser) readTags(inBrackets string) ([]string, error) {
	list, ok := strings.CutSuffix(inBrackets, "]")
	if !ok {
		return nil, fmt.Errorf("expected ] before the colon")
	}
	tags := strings.Split(list, ",")
	for _, tag := range tags {
		if !slices.Contains(p.tags, tag) {
			return nil, fmt.Errorf("unknown tag %q: expected one of %s", tag, strings.Join(p.tags, ", "))
		}
	}
	return tags, nil
}

func (p *parser) client(rest string) error {
	if p.s.Client.IsValid() {
		return fmt.Errorf("a session has one client: line")
	}
	addr, err := netip.ParseAddr(strings.TrimSpace(rest))
	if err != nil {
		return fmt.Errorf("client: %q is no IP address", rest)
	}
	p.s.Client = addr
	return nil
}

func (p *parser) replyLine(rest string, tags []string) error {
	more, err := checkReplyLine(rest)
	if err != nil {
		return err
	}
	if p.reply == nil {
		p.s.Steps = append(p.s.Steps, Step{Line: p.line, Kind: Expect, Tags: tags})
		p.reply = &p.s.Steps[len(p.s.Steps)-1]
	}
	p.reply.Lines = append(p.reply.Lines, rest)
	if !more {
		p.reply = nil
	}
	return nil
}

// checkReplyLine accepts what Matches compares: "250" or "354" alone, refusals
// with their text. more is true for a line with a hyphen after the code.
func checkReplyLine(text string) (more bool, err error) {
	if len(text) < 3 || text[0] < '2' || text[0] > '5' || strings.Trim(text[1:3], "0123456789") != "" {
		return false, fmt.Errorf("%q: expected a reply code from 200 to 599", text)
	}
	if text[0] < '4' {
		if len(text) > 3 {
			return false, fmt.Errorf("%q: of this reply only the code is compared, write %q", text, text[:3])
		}
		return false, nil
	}
	if len(text) < 5 || text[3] != ' ' && text[3] != '-' {
		return false, fmt.Errorf("%q: of a refusal the text is compared too, write it all", text)
	}
	return text[3] == '-', nil
}

func outcomeForm() *regexp.Regexp {
	return regexp.MustCompile(`^(\d{1,4}) messages?(?: for (\d{1,4}) recipients?)?$`)
}

func (p *parser) outcome(place Place, rest string, tags []string) error {
	m := outcomeForm().FindStringSubmatch(strings.TrimSpace(rest))
	if m == nil {
		return fmt.Errorf("%s: %q: expected \"N messages\" or \"N messages for M recipients\"", place, rest)
	}
	o := Outcome{Line: p.line, Place: place, Recipients: -1, Tags: tags}
	o.Messages, _ = strconv.Atoi(m[1])
	if m[2] != "" {
		if place == Quarantine {
			return fmt.Errorf("recipients are counted only at SINK")
		}
		o.Recipients, _ = strconv.Atoi(m[2])
	}
	p.s.Ends = append(p.s.Ends, o)
	return nil
}

// endSession checks the session that ends here, as each driver will see it.
func (p *parser) endSession() error {
	if p.s == nil {
		return nil
	}
	if p.reply != nil {
		return fmt.Errorf("the last reply of session %q goes on (its last line has %q)", p.s.Name, p.last())
	}
	if !p.s.Client.IsValid() {
		return fmt.Errorf("session %q has no client: line", p.s.Name)
	}
	for _, tag := range p.tags {
		mine := p.s.For(tag)
		if len(mine.Steps) == 0 || mine.Steps[0].Kind == Send {
			return fmt.Errorf("session %q must begin with the greeting for %s, such as \"S: 220\"", p.s.Name, tag)
		}
		seen := map[Place]bool{}
		for _, end := range mine.Ends {
			if seen[end.Place] {
				return fmt.Errorf("session %q says %s twice for %s", p.s.Name, end.Place, tag)
			}
			seen[end.Place] = true
		}
	}
	p.d.Sessions = append(p.d.Sessions, *p.s)
	return nil
}

func (p *parser) finish() error {
	if err := p.endSession(); err != nil {
		return err
	}
	if len(p.d.Sessions) == 0 {
		return fmt.Errorf("no session: expected title:, why:, policy sections and \"== session NAME\"")
	}
	return nil
}
