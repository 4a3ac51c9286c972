package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"gatepost/internal/config"
	"gatepost/internal/control"
	"gatepost/internal/program"
	"gatepost/internal/submit"
)

func sendmailCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "sendmail",
		Usage:     "send a message that comes on standard input, with sendmail's options",
		UsageText: programName + " sendmail [-C FILE] [-t] [-i] [-f ADDRESS] [-F NAME] [-bm|-bs|-bp|-bi|-q] [OTHER OPTIONS OF SENDMAIL] [ADDRESS...]",
		Description: "The message is handed to gatepost-relay at relay.submission of the configuration. Called by\n" +
			"the name sendmail, mailq or newaliases the program does what sendmail's of that name does.\n" +
			"The exit codes are sendmail's: 0, 64 for the command line, 65 for the message, 67, 68 and 69\n" +
			"for refused recipients, 75 when the relay does not run or says that it may go later, 77.",
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
				return cli.ShowSubcommandHelp(c)
			}
			return s.sendmail(c.Context, args)
		},
	}
}

// byName are the names by which the program is another one, with the arguments that it
// is then given before its own.
func byName(arg0 string) (before []string, is bool) {
	switch filepath.Base(arg0) {
	case "sendmail":
		return nil, true
	case "mailq":
		return []string{"-bp"}, true
	case "newaliases":
		return []string{"-bi"}, true
	}
	return nil, false
}

// runByName is the program under another name; it returns the exit code.
func (s streams) runByName(ctx context.Context, name string, args []string) int {
	err := s.sendmail(ctx, args)
	if err == nil {
		return 0
	}
	code := program.ExitTemporary
	if exit := new(program.ExitError); errors.As(err, &exit) {
		if code = exit.Code; exit.Err == nil {
			return code
		}
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(s.err, "%s: %s\n", filepath.Base(name), program.Printable(line))
	}
	return code
}

// sendmail is sendmail's command.
func (s streams) sendmail(ctx context.Context, args []string) error {
	o, err := submit.Parse(args)
	if err != nil {
		return &program.ExitError{Code: submit.ExUsage, Err: err}
	}
	cfg, err := siteConfig(o.Config)
	switch o.Mode {
	case submit.Aliases:
		fmt.Fprintln(s.err, "there are no aliases here: gatepost-relay sends mail on as it is addressed")
		return nil
	case submit.List, submit.Flush:
		if err != nil {
			return &program.ExitError{Code: submit.ExConfig, Err: err}
		}
		return s.runQueue(ctx, cfg, queueOf(o), false)
	}
	socket, err := submissionSocket(o, cfg, err)
	if err != nil {
		return err
	}
	if o.Mode == submit.SMTP {
		err = submit.Relay(ctx, socket, s.in, s.out)
	} else {
		err = submit.Send(ctx, socket, o, s.in)
	}
	return exitOf(err, o.Quiet)
}

// submissionSocket is where the relay takes mail. A program that sends mail cannot mend a
// configuration that is broken: then the relay is looked for at the default place, unless
// -C names the file.
func submissionSocket(o *submit.Options, cfg *config.Config, err error) (string, error) {
	switch {
	case err != nil && o.Config != "":
		return "", &program.ExitError{Code: submit.ExConfig, Err: err}
	case err != nil:
		return config.DefaultSubmission, nil
	case cfg.Relay.Submission.Path == "":
		return "", &program.ExitError{Code: submit.ExUnavailable, Err: errors.New("relay.submission is \"none\": the relay takes no mail from programs of this host")}
	}
	return cfg.Relay.Submission.Path, nil
}

// queueOf is the question that -bp or -q is.
func queueOf(o *submit.Options) *control.Request {
	if o.Mode == submit.List {
		return &control.Request{Op: control.List}
	}
	r := &control.Request{Op: control.Flush}
	switch {
	case o.FlushID != "":
		r.Filter.IDs = []string{o.FlushID}
	case o.FlushRecipient != "":
		r.Filter.Recipient = "*" + o.FlushRecipient + "*"
	case o.FlushSender != "":
		r.Filter.Sender = "*" + o.FlushSender + "*"
	default:
		r.Filter.All = true
	}
	return r
}

// exitOf has the program end with the code of a submit.Fault.
func exitOf(err error, quiet bool) error {
	if err == nil {
		return nil
	}
	code := submit.ExTempFail
	if f := new(submit.Fault); errors.As(err, &f) {
		code = f.Code
	}
	if quiet {
		return program.Exit(code)
	}
	return &program.ExitError{Code: code, Err: err}
}
