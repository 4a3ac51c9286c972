package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"gatepost/internal/program"
	"gatepost/internal/setup"
	"gatepost/maps"
	"gatepost/policy"
)

func lookupCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "lookup",
		Usage:     "show each key that the policy tries in a table, and the answer",
		UsageText: programName + " lookup [--config FILE] TABLE KEY",
		Description: "TABLE is access, relay_domains, local_host_names, trusted, spammers or virtual_hosts,\n" +
			"local_users, mailertable, tls_policy or authinfo of gatepost-relay, or dnsbl: all DNS lists are asked about an address or a domain.\n" +
			"For authinfo KEY is the name or the address of a server; passwords are not shown.\n" +
			"KEY is what the policy would look for: an address, a host name or a mail address; in access with a tag before it, such as\n" +
			"Connect:192.0.2.7 or To:user@example.com, or without, which means every tag that fits.\n" +
			"The exit code is 0 when there is an entry and 1 when there is none.",
		Flags: []cli.Flag{program.ConfigFlag()},
		Action: func(c *cli.Context) error {
			args, err := program.Arguments(c, 2, 2, "TABLE and KEY")
			if err != nil {
				return err
			}
			engine, err := openEngine(c, s)
			if err != nil {
				return err
			}
			switch args[0] {
			case "local_users":
				return s.printAnswers(engine.LookupUser(c.Context, args[1]))
			case "tls_policy":
				return s.printAnswers(engine.LookupTLSPolicy(c.Context, args[1]))
			case "authinfo":
				return s.lookupLogin(c, engine, args[1])
			case "mailertable":
				return s.printAnswers(engine.LookupMailertable(c.Context, args[1]))
			}
			return s.printAnswers(engine.Policy().Lookup(c.Context, args[0], args[1]))
		},
	}
}

// lookupLogin shows what the relay would log in to a server with.
func (s streams) lookupLogin(c *cli.Context, engine *setup.Engine, server string) error {
	cfg, err := program.LoadConfig(c)
	if err != nil {
		return program.Usage(err)
	}
	logins, err := setup.OpenLogins(cfg, func() maps.Map { return engine.Tables().Access }, slog.New(slog.DiscardHandler))
	if err != nil {
		return program.Usage(err)
	}
	return s.printAnswers(logins.Lookup(c.Context, server))
}

// openEngine makes the policy of --config as the daemon would. What the daemon
// would log as a warning or an error goes to stderr.
func openEngine(c *cli.Context, s streams) (*setup.Engine, error) {
	cfg, err := program.LoadConfig(c)
	if err != nil {
		return nil, program.Usage(err)
	}
	log := slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	engine, err := setup.Open(c.Context, cfg, log)
	if err != nil {
		return nil, program.Usage(err)
	}
	return engine, nil
}

// printAnswers prints what a search tried.
func (s streams) printAnswers(answers []policy.Answer, err error) error {
	if err != nil {
		return program.Usage(err)
	}
	found := false
	var failed []error
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, a := range answers {
		line := []string{a.Key, "miss"}
		switch {
		case a.Err != nil:
			line[1] = "failed"
			failed = append(failed, fmt.Errorf("%s, key %s: %w", a.Table, a.Key, a.Err))
		case a.Found:
			found = true
			line = []string{a.Key, "hit", a.Value, source(a)}
			if a.Value == "" { // a class has members, no values
				line = slices.Delete(line, 2, 3)
			}
		}
		for i := range line {
			line[i] = program.Printable(line[i])
		}
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	switch {
	case failed != nil:
		return errors.Join(failed...)
	case !found:
		return program.Exit(program.ExitWrong)
	}
	return nil
}
