package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	maputil "maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"gatepost/internal/program"
	"gatepost/internal/smtp"
	"gatepost/relay/rewrite"
)

func rewriteCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "rewrite",
		Usage:     "show how an address is written in messages that gatepost-relay sends",
		UsageText: programName + " rewrite [--config FILE] [--mailer relay|smtp|local|lmtp] [--json] ADDRESS",
		Description: "Shows what masquerading, genericstable and send_as make of the address: in the header, as\n" +
			"sender (From, Reply-To...) and as recipient (To, Cc...), and in the envelope (MAIL and RCPT), by the\n" +
			"rules for the smart host (relay), for other hosts (smtp), and for local mail; and what decided it.",
		Flags: []cli.Flag{
			program.ConfigFlag(),
			&cli.StringFlag{Name: "mailer", Usage: "only for this mailer of sendmail's, `NAME`"},
			&cli.BoolFlag{Name: "json", Usage: "print it as JSON"},
		},
		Action: func(c *cli.Context) error {
			args, err := program.Arguments(c, 1, 1, "ADDRESS")
			if err != nil {
				return err
			}
			address := smtp.ParsePath(args[0])
			if fault := address.Fault(); !fault.IsZero() || address.IsNull() {
				return program.Usage(fmt.Errorf("%q is no address: expected one such as joe@example.com, or joe", args[0]))
			}
			mailers, err := previewed(c.String("mailer"))
			if err != nil {
				return program.Usage(err)
			}
			engine, err := openEngine(c, s)
			if err != nil {
				return err
			}
			lines, err := preview(c.Context, engine.Rewriter(), mailers, address.Text())
			if err != nil {
				return err
			}
			if !engine.Rewriter().Active() && !c.Bool("json") {
				fmt.Fprintln(s.err, programName+": nothing is configured that rewrites addresses")
			}
			return s.printRewritten(lines, c.Bool("json"))
		},
	}
}

// previewed are the mailers that are shown.
func previewed(name string) ([]rewrite.Mailer, error) {
	if name == "" {
		return []rewrite.Mailer{rewrite.Relay, rewrite.SMTP, rewrite.Local}, nil
	}
	m, err := rewrite.ParseMailer(name)
	return []rewrite.Mailer{m}, err
}

// rewritten is what becomes of an address in one place.
type rewritten struct {
	Mailer  string `json:"mailer"`
	NextHop string `json:"next_hop,omitempty"` // for send_as
	Place   string `json:"place"`
	Address string `json:"address"`
	Changed bool   `json:"changed"`
	Rule    string `json:"rule,omitempty"`
	Source  string `json:"source,omitempty"`
}

// preview asks a rewriter about an address in every place. Recipients in the envelope of
// local mail are not the mailer's to write.
func preview(ctx context.Context, r *rewrite.Rewriter, mailers []rewrite.Mailer, address string) (lines []rewritten, err error) {
	for _, m := range mailers {
		for _, p := range []rewrite.Place{rewrite.HeaderSender, rewrite.HeaderRecipient, rewrite.EnvelopeSender, rewrite.EnvelopeRecipient} {
			if p == rewrite.EnvelopeRecipient && m >= rewrite.Local {
				continue
			}
			a, err := r.Address(ctx, m, p, address)
			if err != nil {
				return nil, errors.Join(errors.New("the address cannot be rewritten: a table cannot be asked"), err)
			}
			if !a.Changed {
				a.Address = address
			}
			lines = append(lines, rewritten{m.String(), "", p.String(), a.Address, a.Changed, a.Rule, a.Source})
		}
	}
	if slices.Contains(mailers, rewrite.Relay) {
		lines = append(lines, accountLines(r.Accounts(), address)...)
	}
	return lines, nil
}

// accountLines are those for next hops to which everything is sent as an account.
func accountLines(a rewrite.Accounts, address string) (lines []rewritten) {
	for _, host := range slices.Sorted(maputil.Keys(a.Hosts)) {
		for _, p := range []rewrite.Place{rewrite.HeaderSender, rewrite.EnvelopeSender} {
			if account := a.Hosts[host]; host != "" {
				lines = append(lines, rewritten{"relay", host, p.String(), account, !strings.EqualFold(account, address), "send_as", ""})
			}
		}
	}
	return lines
}

func (s streams) printRewritten(lines []rewritten, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(lines)
	}
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		mailer := l.Mailer
		if l.NextHop != "" {
			mailer += " to " + l.NextHop
		}
		why := strings.TrimSpace(l.Rule + " " + l.Source)
		if !l.Changed {
			why = strings.TrimSpace("unchanged " + why)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", program.Printable(mailer), l.Place, program.Printable(l.Address), program.Printable(why))
	}
	return w.Flush()
}
