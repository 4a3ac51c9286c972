package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	maputil "maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"gatepost/internal/config"
	"gatepost/internal/lint"
	"gatepost/internal/program"
	"gatepost/internal/setup"
	"gatepost/maps"
)

const (
	proofTime = 60 * time.Second // for the search for an open relay
	namesTime = 10 * time.Second // for asking the DNS about names
	maxListed = 50               // findings of one kind that are listed
)

func checkCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "check",
		Usage:     "look for mistakes in the configuration and the tables, and for an open relay",
		UsageText: programName + " check [--config FILE] [--json]",
		Description: "One line for each finding, then a summary. An open relay is shown as the command\n" +
			"\"" + programName + " explain ...\" that explains it.\n" +
			"The exit code is 1 when something cannot be loaded, or the policy is an open relay\n" +
			"without accept_risk = [\"open_relay\"]; other findings are warnings.",
		Flags: []cli.Flag{
			program.ConfigFlag(),
			&cli.BoolFlag{Name: "json", Usage: "print the findings as JSON"},
		},
		Action: func(c *cli.Context) error {
			if err := program.NoArguments(c); err != nil {
				return err
			}
			r := checkReport{}
			r.run(c)
			if err := r.print(s.out, c.Bool("json")); err != nil {
				return err
			}
			if r.errors > 0 {
				return program.Exit(program.ExitWrong)
			}
			return nil
		},
	}
}

// severity is what a finding means for the exit code.
type severity string

const (
	severityError   severity = "error"
	severityWarning severity = "warning"
)

// checkLine is one finding as it is printed.
type checkLine struct {
	Severity severity `json:"severity"`
	File     string   `json:"file,omitempty"`
	Line     int      `json:"line,omitempty"`
	Check    string   `json:"check"`
	Text     string   `json:"text"`
	Command  string   `json:"command,omitempty"` // of a witness
}

// checkReport is what a check has found so far.
type checkReport struct {
	lines  []checkLine
	errors int
	proof  string // what came of the search for an open relay
}

func (r *checkReport) add(level severity, f lint.Finding, command string) {
	if level == severityError {
		r.errors++
	}
	r.lines = append(r.lines, checkLine{level, f.Source.File, f.Source.Line, f.Check, f.Text, command})
}

// fault adds each line of an error: something cannot be loaded.
func (r *checkReport) fault(err error) {
	for text := range strings.SplitSeq(err.Error(), "\n") {
		r.add(severityError, lint.Finding{Check: "load", Text: text}, "")
	}
}

// run makes all checks, as far as they can be made.
func (r *checkReport) run(c *cli.Context) {
	cfg, err := program.LoadConfig(c)
	if err != nil {
		r.fault(err)
		return
	}
	// Problems of the tables are findings; whatever else goes wrong comes as an error.
	engine, err := setup.Open(c.Context, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		r.fault(err)
		return
	}
	in := checkInput(cfg, engine)
	listeners, err := setup.ReviewListeners(cfg, time.Now())
	if err = errors.Join(err, accountFaults(cfg), setup.LoginFaults(cfg)); err != nil {
		r.fault(err)
	}
	tlsOut, err := engine.ReviewTLSOut()
	if err != nil {
		r.fault(err)
	}
	r.warn(slices.Concat(lint.Check(in), listeners, tlsOut, setup.ReviewLogins(cfg, engine.Tables().Access), resolve(c.Context, in)))
	r.prove(c.Context, in)
}

// warn adds findings, of each kind the first ones.
func (r *checkReport) warn(found []lint.Finding) {
	kinds := map[string]int{}
	for _, f := range found {
		if kinds[f.Check]++; kinds[f.Check] <= maxListed {
			r.add(severityWarning, f, "")
		}
	}
	for _, kind := range slices.Sorted(maputil.Keys(kinds)) {
		if more := kinds[kind] - maxListed; more > 0 {
			r.add(severityWarning, lint.Finding{Check: kind, Text: fmt.Sprintf("%s: %d more findings, not listed", kind, more)}, "")
		}
	}
}

func resolve(ctx context.Context, in *lint.Input) []lint.Finding {
	ctx, cancel := context.WithTimeout(ctx, namesTime)
	defer cancel()
	return lint.Names(ctx, in)
}

// checkInput is what is looked at: the policy in force and the tables it is made of.
func checkInput(cfg *config.Config, engine *setup.Engine) *lint.Input {
	tables := engine.Tables()
	in := &lint.Input{Config: cfg, Policy: engine.PolicyConfig(), GenericsDomains: tables.GenericsDomains}
	for _, one := range []struct {
		to   *lint.Table
		from maps.Map
	}{
		{&in.Access, tables.Access},
		{&in.RelayDomains, tables.RelayDomains},
		{&in.LocalHostNames, tables.LocalHostNames},
		{&in.Trusted, tables.Trusted},
		{&in.Spammers, tables.Spammers},
		{&in.VirtualHosts, tables.VirtualHosts},
		{&in.GenericsTable, tables.GenericsTable},
		{&in.Mailertable, engine.Mailertable()},
	} {
		if l, ok := one.from.(lint.Listing); ok {
			one.to.Text = l
		}
	}
	return in
}

// prove searches for an open relay.
func (r *checkReport) prove(ctx context.Context, in *lint.Input) {
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	result, err := lint.OpenRelay(ctx, in.Policy)
	if err != nil {
		r.fault(err)
		return
	}
	level := severityError
	if in.Config.Accepts("open_relay") {
		level = severityWarning
	}
	for _, w := range result.Witnesses {
		f := w.Finding(in.Config)
		if level == severityWarning {
			f.Text += " (wanted, by accept_risk)"
		}
		r.add(level, f, w.Command(in.Config.File))
	}
	switch {
	case len(result.Witnesses) > 0:
		r.proof = "open relay"
	case result.Unknown:
		r.proof = fmt.Sprintf("no open relay found, but what a table on a server or a regular expression lets pass is not known (%d sessions of strangers tried)", result.Sessions)
	case result.Complete:
		r.proof = fmt.Sprintf("no open relay (%d sessions of strangers tried)", result.Sessions)
	default:
		r.proof = fmt.Sprintf("no open relay found, but the search was not complete (%d sessions of strangers tried)", result.Sessions)
		r.add(severityWarning, lint.Finding{Check: "open relay",
			Text: "the search for an open relay was not complete: the tables have too many entries that let something pass"}, "")
	}
}

// print writes the findings, and a summary line.
func (r *checkReport) print(w io.Writer, asJSON bool) error {
	warnings := len(r.lines) - r.errors
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		findings := r.lines
		if findings == nil {
			findings = []checkLine{}
		}
		return e.Encode(struct {
			Findings []checkLine `json:"findings"`
			Errors   int         `json:"errors"`
			Warnings int         `json:"warnings"`
			Proof    string      `json:"open_relay,omitempty"`
		}{findings, r.errors, warnings, r.proof})
	}
	var b strings.Builder
	for _, l := range r.lines {
		if at := (maps.Source{File: l.File, Line: l.Line}).String(); at != "" {
			b.WriteString(program.Printable(at) + ": ")
		}
		fmt.Fprintf(&b, "%s: %s\n", l.Severity, program.Printable(l.Text))
		if l.Command != "" {
			fmt.Fprintf(&b, "    %s\n", program.Printable(l.Command))
		}
	}
	b.WriteString(counted(r.errors, "error") + ", " + counted(warnings, "warning"))
	if r.proof != "" {
		b.WriteString("; " + r.proof)
	}
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}

func counted(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}
