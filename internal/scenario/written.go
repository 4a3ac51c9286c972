package scenario

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gatepost/internal/config"
	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/setup"
	"gatepost/maps"
	"gatepost/policy"
)

// The sections of the written form, besides "session NAME".
const (
	sectionAccess   = "access"
	sectionRelay    = "relay-domains"
	sectionLocal    = "local-host-names"
	sectionTrusted  = "trusted"
	sectionSpammers = "spammers"
	sectionVirtual  = "virtual-hosts"
	sectionConfig   = "gatepost.toml"
	sectionDNS      = "dns"
)

// document is a file of the written form, cut into lines and sections.
type document struct {
	file   string
	lines  [][]byte
	line   int               // the one that is read, from 1
	title  string            // title:
	config string            // config:
	atLine int               // where config: stands
	host   string            // host:
	parts  map[string]extent // the sections that hold files
	dns    Facts
	drafts []*draft
}

// extent is where a section stands: behind line from, up to line to.
type extent struct{ from, to int }

// parseWritten reads a file of the written form.
func parseWritten(file string, data []byte) (*Scenario, error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	d := &document{file: file, lines: bytes.Split(data, []byte("\n")), parts: map[string]extent{}}
	if err := d.read(); err != nil {
		return nil, &Error{file, d.line, err}
	}
	return d.scenario()
}

// read takes all lines.
func (d *document) read() error {
	take := d.headLine
	for i, raw := range d.lines {
		d.line = i + 1
		text := string(raw)
		name, isSection := strings.CutPrefix(text, "== ")
		switch {
		case isSection:
			var err error
			if take, err = d.section(strings.TrimSpace(name)); err != nil {
				return err
			}
		case take == nil: // a file, taken later
		case strings.HasPrefix(strings.TrimSpace(text), "#"), strings.TrimSpace(text) == "":
		default:
			if err := take(strings.TrimSpace(text)); err != nil {
				return err
			}
		}
	}
	if len(d.drafts) == 0 {
		return errors.New("no session, expected a line \"== session NAME\" and what happens in it")
	}
	return d.close(len(d.lines))
}

// short is a piece of a file as an error quotes it.
func short(s string) string {
	const most = 80
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:most]) + fmt.Sprintf("... (%d bytes)", len(s))
}

// headLine is a line before the first section.
func (d *document) headLine(text string) error {
	key, value, _ := strings.Cut(text, ":")
	value = strings.TrimSpace(value)
	at, known := map[string]*string{"config": &d.config, "host": &d.host, "title": &d.title}[key]
	switch {
	case !known:
		return fmt.Errorf("%s, expected title:, host:, config: or a section such as \"== session NAME\"", short(text))
	case value == "":
		return fmt.Errorf("%s: nothing after the colon", key)
	case *at != "":
		return fmt.Errorf("%s: stands twice", key)
	}
	*at = value
	if key == "config" {
		d.atLine = d.line
	}
	return nil
}

// section begins one; the result takes its lines, nil for those of a file.
func (d *document) section(name string) (take func(string) error, err error) {
	if err := d.close(d.line - 1); err != nil {
		return nil, err
	}
	if session, ok := strings.CutPrefix(name, "session "); ok {
		return d.session(strings.TrimSpace(session))
	}
	files := []string{sectionAccess, sectionRelay, sectionLocal, sectionTrusted, sectionSpammers, sectionVirtual, sectionConfig}
	if !slices.Contains(files, name) && name != sectionDNS {
		return nil, fmt.Errorf("unknown section %s, expected \"session NAME\", %s or %s", short(name), strings.Join(files, ", "), sectionDNS)
	}
	if _, twice := d.parts[name]; twice {
		return nil, fmt.Errorf("section %q stands twice", name)
	}
	d.parts[name] = extent{d.line, -1}
	if name == sectionDNS {
		return d.dns.Add, nil
	}
	if d.config != "" {
		return nil, fmt.Errorf("section %q beside config:, expected one of the two", name)
	}
	return nil, nil
}

// close ends the section that is open: line end is its last.
func (d *document) close(end int) error {
	for name, e := range d.parts {
		if e.to < 0 {
			d.parts[name] = extent{e.from, end}
		}
	}
	if len(d.drafts) == 0 || d.last().closed {
		return nil
	}
	line, err := d.last().finish()
	if err != nil {
		d.line = line
	}
	return err
}

func (d *document) last() *draft { return d.drafts[len(d.drafts)-1] }

// text is a section as a file of its own, with its lines where they stand in
// this one: so that all that speaks of lines speaks of the right ones.
func (d *document) text(name string) []byte {
	e, ok := d.parts[name]
	if !ok {
		return nil
	}
	return append(bytes.Repeat([]byte("\n"), e.from), bytes.Join(d.lines[e.from:e.to], []byte("\n"))...)
}

// scenario puts the parts together.
func (d *document) scenario() (*Scenario, error) {
	cfg, tables, err := d.policyFiles()
	if err != nil {
		return nil, err
	}
	if d.host != "" {
		cfg.HostName = d.host
	}
	if cfg.HostName == "" {
		return nil, &Error{d.file, 1, errors.New("the name of the mail server is missing, expected a line such as \"host: mx.example.com\"")}
	}
	quiet := slog.New(slog.DiscardHandler)
	s := &Scenario{File: d.file, Line: 1, Name: d.title}
	s.Policy, err = setup.Offline(context.Background(), cfg, tables, dnsfake.NewFake(d.dns.zone), localhost(), quiet)
	if err != nil {
		return nil, &Error{File: d.file, Err: err}
	}
	for i := range d.drafts {
		session, err := d.drafts[i].session(&s.Policy)
		if err != nil {
			return nil, &Error{d.file, d.drafts[i].clientLine, err}
		}
		s.Sessions = append(s.Sessions, session)
	}
	return s, nil
}

// policyFiles are those that config: names, or the sections.
func (d *document) policyFiles() (*config.Config, setup.Tables, error) {
	if d.config == "" {
		cfg, err := d.sectionConfig()
		if err != nil {
			return nil, setup.Tables{}, err
		}
		tables, err := d.sectionTables(cfg)
		return cfg, tables, err
	}
	path := d.config
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(d.file), path)
	}
	cfg, err := config.Load(path)
	var named *config.Error // says the file and the line itself
	if errors.As(err, &named) {
		return nil, setup.Tables{}, err
	}
	var tables setup.Tables
	if err == nil {
		tables, err = setup.ReadTables(cfg, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		return nil, tables, &Error{d.file, d.atLine, err}
	}
	return cfg, tables, nil
}

// sectionConfig reads the section gatepost.toml, which names no tables.
func (d *document) sectionConfig() (*config.Config, error) {
	cfg, err := config.Parse(d.file, d.text(sectionConfig))
	if err != nil {
		return nil, err
	}
	for _, t := range cfg.Tables.All() {
		if t.Named {
			return nil, &Error{d.file, t.Line, errors.New("a table on disk, expected a section for it, or config: instead of all sections")}
		}
	}
	if e, given := d.parts[sectionAccess]; given && !cfg.Features.AccessDB {
		return nil, &Error{d.file, e.from, errors.New("section access, but access_db = false, expected one of the two")}
	}
	if e, given := d.parts[sectionVirtual]; given && !cfg.UnixWare() {
		return nil, &Error{d.file, e.from, errors.New("section virtual-hosts, expected check_rcpt = \"unixware\" in the section gatepost.toml")}
	}
	return cfg, nil
}

// sectionTables reads the tables in the file. Those of UnixWare are there if their
// section is, and where they are read without being named.
func (d *document) sectionTables(cfg *config.Config) (t setup.Tables, err error) {
	given := func(section string) bool { _, ok := d.parts[section]; return ok }
	for _, one := range []struct {
		to      *maps.Map
		section string
		format  maps.Format
		used    bool
		check   func(key, value string) error
	}{
		{&t.RelayDomains, sectionRelay, maps.FormatClass, true, nil},
		{&t.LocalHostNames, sectionLocal, maps.FormatClass, true, nil},
		{&t.VirtualHosts, sectionVirtual, maps.FormatClass, given(sectionVirtual), nil},
		{&t.Access, sectionAccess, maps.FormatAccess, cfg.Features.AccessDB, policy.CheckAccess},
		{&t.Trusted, sectionTrusted, maps.FormatAccess, cfg.UnixWare() || given(sectionTrusted), policy.CheckTrusted},
		{&t.Spammers, sectionSpammers, maps.FormatAccess, given(sectionSpammers), policy.CheckSpammers},
	} {
		if !one.used {
			continue
		}
		text, err := d.table(one.section, one.format, one.check)
		if err != nil {
			return t, err
		}
		*one.to = text
	}
	return t, nil
}

// table reads a section. What makemap would complain about and leave out is a
// mistake in a test.
func (d *document) table(section string, format maps.Format, check func(key, value string) error) (*maps.Text, error) {
	text, problems, err := maps.Parse(d.file, format, d.text(section))
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		return nil, &Error{d.file, problems[0].Source.Line, errors.New(problems[0].Text)}
	}
	if check == nil {
		return text, nil
	}
	for key, e := range text.All() {
		if err := check(key, e.Value); err != nil {
			return nil, &Error{d.file, e.Source.Line, err}
		}
	}
	return text, nil
}
