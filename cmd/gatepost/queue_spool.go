package main

import (
	"io/fs"
	"log/slog"
	"os"

	"gatepost/internal/control"
	"gatepost/relay/spool"
)

// lookAtSpool opens the spool of a relay that does not run.
func lookAtSpool(dir string) (control.Queue, func(), error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, nil, err.(*fs.PathError)
	}
	s, err := spool.Open(dir, spool.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	return control.Offline(s.Messages()), func() { _ = s.Close() }, nil
}
