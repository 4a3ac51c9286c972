package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"gatepost/internal/program"
)

const programName = "gatepost"

// version is set by the linker.
var version = "dev"

// streams are the process's input and output. Data goes to out; the log, and
// what went wrong, to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// commands are all commands, in the order of the help text. Each one stands in
// the file of its name.
func commands(s streams) []*cli.Command {
	return []*cli.Command{
		testCommand(s),
		lookupCommand(s),
		rewriteCommand(s),
		checkCommand(s),
		explainCommand(s),
		routeCommand(s),
		makemapCommand(s),
		userCommand(s),
		statusCommand(s),
		queueCommand(s),
		sendmailCommand(s),
	}
}

// run is the program without its process; it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := streams{in: stdin, out: stdout, err: stderr}
	if len(args) > 0 {
		if before, is := byName(args[0]); is {
			return s.runByName(ctx, args[0], append(before, args[1:]...))
		}
	}
	app := program.NewApp(programName, "test, explain and check the policy, command the queue, send mail", version)
	app.UsageText = programName + " COMMAND [FLAGS] [ARGUMENTS]; " + programName + " COMMAND --help for more"
	app.Commands = commands(s)
	for _, c := range app.Commands {
		c.OnUsageError = program.WrongFlag
		c.HideHelpCommand = true
	}
	app.Action = noCommand
	return program.Run(ctx, app, args, stdout, stderr)
}

// noCommand is asked when the first argument is no command.
func noCommand(c *cli.Context) error {
	word := c.Args().First()
	if word == "" {
		return program.Usage(errors.New("expected a command, see --help"))
	}
	// The library's guess is a sentence.
	hint := strings.ToLower(cli.SuggestCommand(c.App.Commands, word))
	if hint != "" {
		hint = ", " + hint
	}
	return program.Usage(fmt.Errorf("unknown command %q%s, see --help", word, hint))
}
