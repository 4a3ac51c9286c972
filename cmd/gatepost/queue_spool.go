package main

import (
	"fmt"
	"io"

	"gatepost/internal/control"
	"gatepost/internal/program"
	"gatepost/relay/spool"
)

// lookAtSpool reads the spool of a relay that does not run. What of it cannot be read is
// told to said.
func lookAtSpool(dir string, said io.Writer) (control.Queue, func(), error) {
	view, err := spool.Look(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, t := range view.Trouble {
		fmt.Fprintf(said, "%s: %s\n", programName, program.Printable(t))
	}
	return control.Offline(view.Messages()), func() { _ = view.Close() }, nil
}
