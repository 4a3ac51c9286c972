package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"gatepost/internal/config"
)

const program = "gatepost-milter"

// Exit codes; 75 is EX_TEMPFAIL of sysexits.h.
const (
	exitUsage     = 2
	exitTemporary = 75
)

// version is set by the linker.
var version = "dev"

// exitError is an error that says how the program is to end.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usage marks err as a fault of the command line or the configuration.
func usage(err error) error { return &exitError{exitUsage, err} }

// run is the program without its process: it serves until a signal or the end of
// ctx, and returns the exit code. What ends it early is one line for each fault
// on stderr.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	app := newApp(func(c *cli.Context) error {
		d := daemon{stderr: stderr, signals: signals, listen: c.StringSlice("listen")}
		d.load = func() (*config.Config, error) { return loadConfig(c.String("config"), c.IsSet("config")) }
		return d.run(c.Context)
	})
	app.Writer, app.ErrWriter = stdout, stderr
	err := app.RunContext(ctx, args)
	if err == nil {
		return 0
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(stderr, "%s: %s\n", program, line)
	}
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitTemporary
}

func newApp(action cli.ActionFunc) *cli.App {
	return &cli.App{
		Name:            program,
		Usage:           "decide for sendmail and Postfix which mail may be relayed",
		UsageText:       program + " [--config FILE] [--listen ADDRESS]...",
		Version:         buildVersion(),
		HideHelpCommand: true,
		// An address may contain a comma; the library would split it there.
		DisableSliceFlagSeparator: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Value: config.DefaultFile,
				Usage: "read `FILE`; without the flag the default file may be missing: then sendmail's defaults hold over /etc/mail"},
			&cli.StringSliceFlag{Name: "listen",
				Usage: "listen on `ADDRESS` instead of milter.listen: inet:PORT@ADDRESS, inet6:PORT@[ADDRESS] or unix:/PATH; may be given again"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage(fmt.Errorf("unexpected argument %q, see --help", c.Args().First()))
			}
			return action(c)
		},
		OnUsageError: func(c *cli.Context, err error, _ bool) error {
			return usage(fmt.Errorf("%w%s, see --help", err, suggestion(c, err)))
		},
		ExitErrHandler: func(*cli.Context, error) {}, // the library's own would end the process here
	}
}

// suggestion is the flag that was probably meant by an unknown one.
func suggestion(c *cli.Context, err error) string {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return ""
	}
	if s := cli.SuggestFlag(c.App.Flags, name, c.App.HideHelp); s != "" {
		return ", did you mean " + s + "?"
	}
	return ""
}

// loadConfig reads the file. Without one at the default place, sendmail's defaults hold.
func loadConfig(path string, named bool) (*config.Config, error) {
	c, err := config.Load(path)
	if err != nil && !named && errors.Is(err, fs.ErrNotExist) {
		return config.Default(), nil
	}
	return c, err
}

// buildVersion is what the linker was told, or what the Go tool knows.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if version != "dev" || !ok {
		return version
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	return version
}
