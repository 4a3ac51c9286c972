package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"gatepost/internal/config"
	"gatepost/internal/control"
	"gatepost/internal/program"
	"gatepost/internal/submit"
)

func queueCommand(s streams) *cli.Command {
	list := queueSubcommand(s, control.List)
	return &cli.Command{
		Name:  "queue",
		Usage: "show and command the queue of gatepost-relay",
		UsageText: programName + " queue [list|show|why|flush|hold|release|delete|requeue] [--config FILE] [FLAGS] [ID...]\n" +
			programName + " queue COMMAND --help for more",
		Description: "Without a command the queue is listed. The relay is asked at relay.control of the\n" +
			"configuration. When it does not run, its spool is read, which changes nothing; commands\n" +
			"that change something then end with exit code 75.",
		Flags:           list.Flags,
		Action:          list.Action,
		HideHelpCommand: true,
		Subcommands: []*cli.Command{
			list, showCommand(s), queueSubcommand(s, control.Why), queueSubcommand(s, control.Flush), queueSubcommand(s, control.Hold),
			queueSubcommand(s, control.Release), queueSubcommand(s, control.Delete), queueSubcommand(s, control.Requeue),
		},
	}
}

// queueUsage says what each command does, in a line.
func queueUsage(op control.Op) string {
	switch op {
	case control.List:
		return "list messages, as mailq does"
	case control.Why:
		return "tell for each recipient what the last answer was, and where and when it goes next"
	case control.Flush:
		return "try messages now"
	case control.Hold:
		return "keep messages from being delivered, until they are released"
	case control.Release:
		return "deliver messages that were held"
	case control.Delete:
		return "take messages out of the queue for good; nobody is told"
	case control.Requeue:
		return "treat messages as if they had come just now: attempts, lifetime and next hop begin anew"
	}
	return ""
}

func queueSubcommand(s streams, op control.Op) *cli.Command {
	flags := []cli.Flag{
		program.ConfigFlag(),
		&cli.StringFlag{Name: "recipient", Usage: "messages with a recipient that fits `PATTERN`: '*@example.org', 'joe@*', or a domain, 'example.org'"},
		&cli.StringFlag{Name: "sender", Usage: "messages from a sender that fits `PATTERN`; '<>' is the null sender, of bounces"},
		&cli.StringFlag{Name: "next-hop", Usage: "messages of which a recipient would go to a next hop that fits `PATTERN`"},
		&cli.DurationFlag{Name: "older", Usage: "messages that have been here for `TIME` or longer, such as 36h or 10m"},
		&cli.DurationFlag{Name: "newer", Usage: "messages that have been here for `TIME` or less"},
		&cli.StringFlag{Name: "state", Usage: "messages in `STATE`: active, ready, deferred or held"},
		&cli.BoolFlag{Name: "json", Usage: "print one JSON object a line"},
	}
	if op != control.List && op != control.Why {
		flags = append(flags, &cli.BoolFlag{Name: "all", Usage: "all messages are meant"})
	}
	if op == control.Hold {
		flags = append(flags, &cli.StringFlag{Name: "reason", Usage: "`TEXT` to be shown in the list", Value: "held by the operator"})
	}
	return &cli.Command{
		Name: string(op), Usage: queueUsage(op), UsageText: programName + " queue " + string(op) + " [FLAGS] [ID...]",
		Flags: flags, OnUsageError: program.WrongFlag, HideHelpCommand: true,
		Action: func(c *cli.Context) error {
			r, err := queueRequest(c, op)
			if err != nil {
				return err
			}
			return s.queue(c, r)
		},
	}
}

// queueRequest is what the command line asks for.
func queueRequest(c *cli.Context, op control.Op) (*control.Request, error) {
	ids, err := program.Arguments(c, 0, 0, "ids of messages")
	if err != nil {
		return nil, err
	}
	for _, flag := range []string{"recipient", "sender", "next-hop", "older", "newer", "state"} {
		// In a script it is a variable that is not set: then more would be meant than is said.
		if c.IsSet(flag) && (c.String(flag) == "" || c.Value(flag) == time.Duration(0)) {
			return nil, program.Usage(fmt.Errorf("--%s is empty, expected it to say which messages are meant", flag))
		}
	}
	r := &control.Request{Op: op, Reason: c.String("reason"), Filter: control.Filter{
		IDs: ids, Recipient: c.String("recipient"), Sender: c.String("sender"), NextHop: c.String("next-hop"),
		Older: c.Duration("older"), Newer: c.Duration("newer"), State: control.State(c.String("state")), All: c.Bool("all"),
	}}
	if err := r.Check(); err != nil {
		return nil, program.Usage(err)
	}
	return r, nil
}

// queue has a request answered and prints the answer.
func (s streams) queue(c *cli.Context, r *control.Request) error {
	cfg, err := program.LoadConfig(c)
	if err != nil {
		return program.Usage(err)
	}
	return s.runQueue(c.Context, cfg, r, c.Bool("json"))
}

func (s streams) runQueue(ctx context.Context, cfg *config.Config, r *control.Request, asJSON bool) error {
	p := newQueuePrinter(s.out, r, asJSON)
	err := s.askQueue(ctx, cfg, r, p.line)
	if ending := p.end(err == nil); err == nil {
		err = ending
	}
	if err != nil {
		return err
	}
	if p.failed > 0 {
		return program.Exit(program.ExitWrong)
	}
	return nil
}

// askQueue asks the relay, or where it does not run, its spool.
func (s streams) askQueue(ctx context.Context, cfg *config.Config, r *control.Request, each func(*control.Line) error) error {
	path := cfg.Relay.Control.Path
	if path != "" {
		err := control.NewClient(path).Run(ctx, r, each)
		if !notRunning(err) {
			return controlError(path, err)
		}
	}
	if r.Op != control.List && r.Op != control.Why || r.Filter.NextHop != "" {
		return controlDown(path)
	}
	q, done, err := s.openSpool(cfg, path)
	if err != nil {
		return err
	}
	defer done()
	return control.Run(ctx, q, r, each)
}

// notRunning tells that nobody listens at the socket.
func notRunning(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// controlError says at which socket something went wrong.
func controlError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return &program.ExitError{Code: submit.ExNoPerm, Err: fmt.Errorf("the relay at %s: %w: be root, or see relay.control_group", path, cause(err))}
	}
	return fmt.Errorf("the relay at %s: %w", path, err)
}

// cause drops package net's repetition of the address.
func cause(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

func controlDown(path string) error {
	if path == "" {
		return &program.ExitError{Code: program.ExitTemporary, Err: errors.New("the relay cannot be asked: relay.control is \"none\"")}
	}
	return &program.ExitError{Code: program.ExitTemporary, Err: fmt.Errorf("the relay does not run: nobody listens at %s", path)}
}

// openSpool opens the spool of a relay that does not run, and says so.
func (s streams) openSpool(cfg *config.Config, path string) (control.Queue, func(), error) {
	q, done, err := lookAtSpool(cfg.Relay.Spool, s.err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, &program.ExitError{Code: submit.ExNoPerm, Err: fmt.Errorf("%w; %w", controlDown(path), err)}
	case err != nil:
		return nil, nil, fmt.Errorf("%w; %w", controlDown(path), err)
	}
	fmt.Fprintf(s.err, "%s: %v; this is what is in %s\n", programName, controlDown(path), program.Printable(cfg.Relay.Spool))
	return q, done, nil
}

// siteConfig is the configuration at a path, or at the default place, where it may be
// missing.
func siteConfig(path string) (*config.Config, error) {
	if path != "" {
		return config.Load(path)
	}
	cfg, err := config.Load(config.DefaultFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return config.Default(), nil
	}
	return cfg, err
}

func showCommand(s streams) *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show the envelope of a message, its header, or all of it",
		UsageText: programName + " queue show [--config FILE] [--header | --message | --json] ID",
		Description: "--header and --message print the message's bytes as they are, with CRLF at the ends of\n" +
			"lines: --message > FILE is a copy that another program can take. On a terminal control\n" +
			"characters are shown, and not obeyed.",
		Flags: []cli.Flag{
			program.ConfigFlag(),
			&cli.BoolFlag{Name: "header", Usage: "print the header"},
			&cli.BoolFlag{Name: "message", Usage: "print the whole message"},
			&cli.BoolFlag{Name: "json", Usage: "print the envelope as a JSON object"},
		},
		OnUsageError: program.WrongFlag, HideHelpCommand: true,
		Action: func(c *cli.Context) error {
			args, err := program.Arguments(c, 1, 1, "the id of a message")
			if err != nil {
				return err
			}
			switch {
			case c.Bool("header") && !c.Bool("message") && !c.Bool("json"):
				return s.show(c, args[0], control.Header)
			case c.Bool("message") && !c.Bool("header") && !c.Bool("json"):
				return s.show(c, args[0], control.Whole)
			case c.Bool("header") || c.Bool("message"):
				return program.Usage(errors.New("expected one of --header, --message and --json"))
			}
			return s.queue(c, &control.Request{Op: control.List, Filter: control.Filter{IDs: args}})
		},
	}
}

// show prints bytes of a message.
func (s streams) show(c *cli.Context, id string, part control.Part) error {
	cfg, err := program.LoadConfig(c)
	if err != nil {
		return program.Usage(err)
	}
	if isTerminal(s.out) {
		screen := &screen{to: s.out}
		defer screen.end()
		s.out = screen
	}
	path := cfg.Relay.Control.Path
	if path != "" {
		err = control.NewClient(path).Show(c.Context, id, part, s.out)
	}
	if path == "" || notRunning(err) {
		err = s.showOffline(c.Context, cfg, id, part)
	} else if !errors.Is(err, control.ErrGone) {
		err = controlError(path, err)
	}
	if errors.Is(err, control.ErrGone) {
		return &program.ExitError{Code: program.ExitWrong, Err: fmt.Errorf("%s: %w", id, err)}
	}
	return err
}

func (s streams) showOffline(ctx context.Context, cfg *config.Config, id string, part control.Part) error {
	q, done, err := s.openSpool(cfg, cfg.Relay.Control.Path)
	if err != nil {
		return err
	}
	defer done()
	body, _, err := control.Show(ctx, q, id, part)
	if err != nil {
		return err
	}
	_, err = io.Copy(s.out, body)
	return errors.Join(err, body.Close())
}
