package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"gatepost/internal/explain"
	"gatepost/internal/program"
	"gatepost/internal/scenario"
	"gatepost/internal/setup"
	"gatepost/internal/setup/routes"
	"gatepost/internal/smtp"
	"gatepost/policy"
)

// explainTime bounds all lookups of an explanation together.
const explainTime = 2 * time.Minute

func explainCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:  "explain",
		Usage: "show how a session is judged, question by question, and what would turn the verdict around",
		UsageText: programName + " explain [--config FILE] --client ADDRESS [--name NAME] [--resolve OK|FAIL|FORGED|TEMP] [--helo NAME]\n" +
			"   [--auth MECHANISM:USER] [--cert-issuer NAME --cert-subject NAME] [--dns FACT]... --from ADDRESS --to ADDRESS... [--json]",
		Description: "Without --name and --resolve the client's name is looked up as a mail server would.\n" +
			"Nothing is sent to anybody but questions to the DNS.\n" +
			"The exit code is 0 whatever the verdict is, and 75 when a lookup failed.",
		Flags: []cli.Flag{
			program.ConfigFlag(),
			&cli.StringFlag{Name: "client", Usage: "the client's `ADDRESS`"},
			&cli.StringFlag{Name: "name", Usage: "the client's host `NAME`, verified unless --resolve says otherwise"},
			&cli.StringFlag{Name: "resolve", Usage: "what came of looking the name up, `RESULT`: OK, FAIL (no reverse name), FORGED or TEMP"},
			&cli.StringFlag{Name: "helo", Usage: "`NAME` in HELO or EHLO"},
			&cli.StringFlag{Name: "auth", Usage: "the client logged in: `MECHANISM:USER`"},
			&cli.StringFlag{Name: "cert-issuer", Usage: "the client showed a verified certificate: {cert_issuer} as sendmail writes it, `/C=US/O=...`"},
			&cli.StringFlag{Name: "cert-subject", Usage: "{cert_subject} of that certificate, `/C=US/O=...`"},
			&cli.StringSliceFlag{Name: "dns", Usage: "take the `FACT` for what the DNS says of a name, such as \"example.org MX 10 mx.example.org\" or \"x.example NXDOMAIN\"; may be given again"},
			&cli.StringFlag{Name: "from", Usage: "the sender's `ADDRESS`, <> for the null sender"},
			&cli.StringSliceFlag{Name: "to", Usage: "a recipient's `ADDRESS`; may be given again, and addresses after the flags are recipients too"},
			&cli.BoolFlag{Name: "json", Usage: "print everything, as JSON"},
		},
		Action: func(c *cli.Context) error {
			session, err := explainSession(c)
			if err != nil {
				return err
			}
			var facts scenario.Facts
			for _, fact := range c.StringSlice("dns") {
				if err := facts.Add(fact); err != nil {
					return program.Usage(fmt.Errorf("--dns: %w", err))
				}
			}
			engine, err := openEngine(c, s)
			if err != nil {
				return err
			}
			return s.explain(c.Context, engine, &facts, session, c.Bool("json"))
		},
	}
}

// explain plays the session and prints what happened.
func (s streams) explain(ctx context.Context, engine *setup.Engine, facts *scenario.Facts, session explain.Session, asJSON bool) error {
	ctx, cancel := context.WithTimeout(ctx, explainTime)
	defer cancel()
	cfg := engine.PolicyConfig()
	cfg.Resolver = facts.Over(cfg.Resolver)
	relay := engine.Config().Relay.Given
	session.Facts.Conn.Routes = relay // as relay/session has it
	report, err := explain.Explain(ctx, cfg, session)
	if err != nil {
		return program.Usage(err)
	}
	if relay {
		relayReplies(ctx, engine, report)
	}
	if asJSON {
		err = report.WriteJSON(s.out)
	} else {
		err = printReport(s.out, report)
	}
	if err != nil {
		return err
	}
	if report.Failed() {
		return program.Exit(program.ExitTemporary)
	}
	return nil
}

// relayReplies adds how gatepost-relay refuses recipients whom the policy accepts.
func relayReplies(ctx context.Context, engine *setup.Engine, report *explain.Report) {
	router := routes.New(engine, nil)
	for i := range report.Stages {
		at := &report.Stages[i]
		if at.Stage != policy.StageRcpt || at.Verdict.Action == policy.Reject || at.Verdict.Action == policy.Tempfail {
			continue
		}
		if at.Relay = at.Recipient.Unsendable(); at.Relay.IsZero() {
			at.Relay = engine.LocalRecipient(ctx, at.Recipient)
		}
		if at.Relay.IsZero() {
			at.Relay = routes.Refusal(ctx, engine, router, at.Recipient)
		}
	}
}

// explainSession reads the flags.
func explainSession(c *cli.Context) (explain.Session, error) {
	s := explain.Session{From: smtpPath(c.String("from"))}
	for _, flag := range []string{"client", "from", "to"} {
		if !c.IsSet(flag) {
			return s, program.Usage(fmt.Errorf("--%s is missing, see explain --help", flag))
		}
	}
	more, err := program.Arguments(c, 0, 0, "")
	if err != nil {
		return s, err
	}
	for _, to := range append(c.StringSlice("to"), more...) {
		s.To = append(s.To, smtpPath(to))
	}
	f := &s.Facts
	if f.Conn, err = clientFacts(c); err != nil {
		return s, program.Usage(err)
	}
	f.Helo = policy.Helo{Given: c.IsSet("helo"), Name: c.String("helo")}
	if c.IsSet("auth") {
		mechanism, user, ok := strings.Cut(c.String("auth"), ":")
		if !ok || mechanism == "" || user == "" {
			return s, program.Usage(fmt.Errorf("--auth %q, expected MECHANISM:USER such as PLAIN:fred", c.String("auth")))
		}
		f.Auth = policy.Auth{Type: mechanism, Authen: user}
	}
	if c.IsSet("cert-issuer") || c.IsSet("cert-subject") {
		f.TLS = policy.TLS{Verify: "OK", CertIssuer: c.String("cert-issuer"), CertSubject: c.String("cert-subject")}
	}
	return s, nil
}

// smtpPath is an address as a client sends it: with its angle brackets.
func smtpPath(address string) smtp.Path {
	address = strings.TrimSpace(address)
	if !strings.ContainsAny(address, "<>") {
		address = "<" + address + ">"
	}
	return smtp.ParsePath(address)
}

// clientFacts reads --client, --name and --resolve. The client is taken for one
// that has no other connection.
func clientFacts(c *cli.Context) (policy.Conn, error) {
	conn := policy.Conn{Rate: 1, Open: 1}
	text := strings.TrimSuffix(strings.TrimPrefix(c.String("client"), "["), "]")
	if len(text) > 5 && strings.EqualFold(text[:5], "IPv6:") {
		text = text[5:]
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return conn, fmt.Errorf("--client %q, expected an IPv4 or IPv6 address", c.String("client"))
	}
	conn.Addr = addr.Unmap()
	name := strings.TrimSuffix(c.String("name"), ".")
	if strings.HasPrefix(name, "[") {
		return conn, fmt.Errorf("--name %q, expected a host name; a client without one has --resolve FAIL", c.String("name"))
	}
	if !c.IsSet("resolve") {
		if name == "" {
			return conn, nil // to be looked up
		}
		conn.Name, conn.Ptr, conn.Resolve = name, name, policy.ResolveOK
		return conn, nil
	}
	return named(conn, name, policy.ParseResolve(c.String("resolve")))
}

// named checks that a name goes with what --resolve says of it.
func named(conn policy.Conn, name string, resolve policy.Resolve) (policy.Conn, error) {
	conn.Resolve = resolve
	switch {
	case resolve == policy.ResolveUnknown:
		return conn, errors.New("--resolve: expected OK, FAIL, FORGED or TEMP")
	case resolve == policy.ResolveOK && name == "":
		return conn, errors.New("--resolve OK needs --name, the name that was verified")
	case resolve == policy.ResolveOK:
		conn.Name, conn.Ptr = name, name
	case resolve == policy.ResolveForged:
		conn.Ptr = name
	case name != "":
		return conn, fmt.Errorf("--resolve %v means that there is no name, expected no --name", resolve)
	}
	return conn, nil
}
