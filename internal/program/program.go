// Package program is what the programs have in common: how a command line is
// read, how what went wrong is said, and how the process ends.
package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"gatepost/internal/config"
)

// Exit codes besides 0. Temporary is EX_TEMPFAIL of sysexits.h.
const (
	ExitWrong     = 1  // what was looked at is not as it should be
	ExitUsage     = 2  // the command line, or a file that it names
	ExitTemporary = 75 // may go better another time
)

// ExitError is an error that says how the program is to end. With a nil Err
// nothing more is said: the program's output has told it.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// Usage marks err as a fault of the command line or of a file that it names.
func Usage(err error) error { return &ExitError{ExitUsage, err} }

// Exit ends the program with a code; its output has said why.
func Exit(code int) error { return &ExitError{Code: code} }

// Run runs app and returns the exit code. An error becomes one line on stderr
// for each line of its text; one that is no ExitError ends with ExitTemporary.
func Run(ctx context.Context, app *cli.App, args []string, stdout, stderr io.Writer) int {
	app.Writer, app.ErrWriter = stdout, stderr
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	var exit *ExitError
	isExit := errors.As(err, &exit)
	if isExit && exit.Err == nil {
		return exit.Code
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(stderr, "%s: %s\n", app.Name, Printable(line))
	}
	if isExit {
		return exit.Code
	}
	return ExitTemporary
}

// NewApp is an app without commands, flags and action. version is what the
// linker was told, "dev" for nothing.
func NewApp(name, usage, version string) *cli.App {
	return &cli.App{
		Name:            name,
		Usage:           usage,
		Version:         Version(version),
		HideHelpCommand: true,
		// An address may contain a comma; the library would split it there.
		DisableSliceFlagSeparator: true,
		OnUsageError:              WrongFlag,
		ExitErrHandler:            func(*cli.Context, error) {}, // the library's own would end the process here
	}
}

// WrongFlag is the OnUsageError of an app or a command.
func WrongFlag(c *cli.Context, err error, _ bool) error {
	return Usage(fmt.Errorf("%w%s, see --help", err, suggestion(c, err)))
}

// suggestion is the flag that was probably meant by an unknown one.
func suggestion(c *cli.Context, err error) string {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return ""
	}
	flags := c.App.Flags
	if c.Command != nil && len(c.Command.Flags) > 0 {
		flags = c.Command.Flags
	}
	flags = slices.DeleteFunc(slices.Clone(flags), func(f cli.Flag) bool { return f == cli.VersionFlag || f == cli.HelpFlag })
	if s := cli.SuggestFlag(flags, name, true); s != "" {
		return ", did you mean " + s + "?"
	}
	return ""
}

// NoArguments refuses arguments where only flags are expected.
func NoArguments(c *cli.Context) error {
	if c.Args().Present() {
		return Usage(fmt.Errorf("unexpected argument %q, see --help", c.Args().First()))
	}
	return nil
}

// Arguments checks the arguments after the flags: at least least, at most most
// of them (0: any number), expected says which. A flag among them stands too
// late, and would be taken for an argument.
func Arguments(c *cli.Context, least, most int, expected string) ([]string, error) {
	args := c.Args().Slice()
	for _, a := range args {
		if len(a) > 1 && a[0] == '-' {
			return nil, Usage(fmt.Errorf("%q stands after the arguments, expected flags before them: %s", a, c.Command.UsageText))
		}
	}
	switch {
	case len(args) < least:
		return nil, Usage(fmt.Errorf("too few arguments, expected %s: %s", expected, c.Command.UsageText))
	case most > 0 && len(args) > most:
		return nil, Usage(fmt.Errorf("unexpected argument %q, expected %s: %s", args[most], expected, c.Command.UsageText))
	}
	return args, nil
}

// ConfigFlag is --config.
func ConfigFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Value: config.DefaultFile,
		Usage: "read `FILE`; without the flag the default file may be missing: then sendmail's defaults hold over /etc/mail"}
}

// LoadConfig reads the file of --config. Without one at the default place,
// sendmail's defaults hold.
func LoadConfig(c *cli.Context) (*config.Config, error) {
	cfg, err := config.Load(c.String("config"))
	if err != nil && !c.IsSet("config") && errors.Is(err, fs.ErrNotExist) {
		return config.Default(), nil
	}
	return cfg, err
}

// Version is what the linker was told, or what the Go tool knows.
func Version(linked string) string {
	info, ok := debug.ReadBuildInfo()
	if linked != "dev" || !ok {
		return linked
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return linked
}
