package main

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"gatepost/internal/config"
	"gatepost/internal/daemon"
	"gatepost/internal/program"
)

const programName = "gatepost-relay"

// version is set by the linker.
var version = "dev"

// run is the program without its process: it serves until a signal or the end of
// ctx, and returns the exit code. What ends it early is one line for each fault
// on stderr.
func run(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer, signals <-chan os.Signal) int {
	app := program.NewApp(programName, "take mail under the policy, keep it in a queue, and hand it on", version)
	app.UsageText = programName + " [--config FILE] [--listen [NAME=]HOST:PORT]..."
	app.Flags = []cli.Flag{
		program.ConfigFlag(),
		&cli.StringSliceFlag{Name: "listen",
			Usage: "listen on `[NAME=]HOST:PORT` only, under the rules of the [[listener]] of that name, or without one of relay.listen; :PORT is every address; may be given again"},
	}
	app.Action = func(c *cli.Context) error {
		if err := program.NoArguments(c); err != nil {
			return err
		}
		for _, arg := range c.StringSlice("listen") {
			if _, addr := atListener(arg); config.CheckListenAddress(addr) != nil {
				return program.Usage(errors.New("--listen " + arg + ": " + config.CheckListenAddress(addr).Error()))
			}
		}
		d := daemon.Daemon{
			Name: programName, Version: version, Stderr: stderr, Signals: signals,
			Load:  func() (*config.Config, error) { return program.LoadConfig(c) },
			Front: &relayFront{addresses: c.StringSlice("listen")},
		}
		return d.Run(c.Context)
	}
	return program.Run(ctx, app, args, stdout, stderr)
}
