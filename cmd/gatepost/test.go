package main

import (
	"github.com/urfave/cli/v2"

	"gatepost/internal/program"
)

func testCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "test",
		Usage:     "run policy tests",
		UsageText: programName + " test FILE...",
		Action: func(c *cli.Context) error {
			_, err := program.Arguments(c, 1, 0, "FILE...")
			return err
		},
	}
}
