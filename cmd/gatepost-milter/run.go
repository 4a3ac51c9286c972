package main

import (
	"context"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"gatepost/internal/config"
	"gatepost/internal/daemon"
	"gatepost/internal/program"
)

const programName = "gatepost-milter"

// version is set by the linker.
var version = "dev"

// run is the program without its process: it serves until a signal or the end of
// ctx, and returns the exit code. What ends it early is one line for each fault
// on stderr.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	app := program.NewApp(programName, "decide for sendmail and Postfix which mail may be relayed", version)
	app.UsageText = programName + " [--config FILE] [--listen ADDRESS]..."
	app.Flags = []cli.Flag{
		program.ConfigFlag(),
		&cli.StringSliceFlag{Name: "listen",
			Usage: "listen on `ADDRESS` instead of milter.listen: inet:PORT@ADDRESS, inet6:PORT@[ADDRESS] or unix:/PATH; may be given again"},
	}
	app.Action = func(c *cli.Context) error {
		if err := program.NoArguments(c); err != nil {
			return err
		}
		d := daemon.Daemon{
			Name: programName, Version: version, Stderr: stderr, Signals: signals,
			Load:  func() (*config.Config, error) { return program.LoadConfig(c) },
			Front: &front{addresses: c.StringSlice("listen")},
		}
		return d.Run(c.Context)
	}
	return program.Run(ctx, app, args, stdout, stderr)
}
