package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

var toolDir string // removed at the end

// gatepost is the operator's tool, built once for all tests.
var gatepost = sync.OnceValues(func() (string, error) {
	var err error
	if toolDir, err = os.MkdirTemp("", "gatepost-tool"); err != nil {
		return "", err
	}
	path := filepath.Join(toolDir, "gatepost")
	out, err := exec.Command("go", "build", "-o", path, "../gatepost").CombinedOutput()
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// called is what a program has said, and how it ended.
type called struct {
	code     int
	out, err string
}

// call runs gatepost under a name: gatepost, sendmail or mailq.
func (s *site) call(stdin, name string, args ...string) called {
	s.t.Helper()
	path, err := gatepost()
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Args[0] = "/usr/sbin/" + name
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return called{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// command runs a command of gatepost queue that must succeed, and returns what it prints.
func (s *site) command(command string, args ...string) string {
	s.t.Helper()
	c := s.call("", "gatepost", append([]string{"queue", command, "--config", s.path("gatepost.toml")}, args...)...)
	if c.code != 0 {
		s.t.Fatalf("gatepost queue %s %q ended with %d: %s%s", command, args, c.code, c.out, c.err)
	}
	return c.out
}
