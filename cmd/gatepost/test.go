package main

import (
	"bufio"
	"context"
	"fmt"

	"github.com/urfave/cli/v2"

	"gatepost/internal/program"
	"gatepost/internal/scenario"
)

func testCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "test",
		Usage:     "run policy tests",
		UsageText: programName + " test FILE...",
		Description: "A FILE has a policy, facts of the DNS, sessions, and the verdicts that are expected;\n" +
			"docs/policy-tests.md has the form. Recorded verdicts (JSON Lines) are taken too, and\n" +
			"both may be gzipped. One line is printed for each verdict that differs, and at the end\n" +
			"\"N passed, N failed\", counting sessions. The exit code is 0 when all passed, 1 when\n" +
			"not, and 2 when a file cannot be read or has a mistake.",
		Action: func(c *cli.Context) error {
			files, err := program.Arguments(c, 1, 0, "FILE...")
			if err != nil {
				return err
			}
			return s.test(c.Context, files)
		},
	}
}

// test runs the files. With a mistake in one of them there is no last line that
// could be taken for the result of all.
func (s streams) test(ctx context.Context, files []string) error {
	out := bufio.NewWriter(s.out)
	sum, err := scenario.RunFiles(ctx, files, func(m scenario.Mismatch) {
		fmt.Fprintln(out, program.Printable(m.String()))
	})
	if err == nil {
		fmt.Fprintf(out, "%d passed, %d failed\n", sum.Passed, sum.Failed)
	}
	if failed := out.Flush(); failed != nil {
		return failed
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return program.Usage(err)
	case sum.Failed > 0:
		return program.Exit(program.ExitWrong)
	}
	return nil
}
