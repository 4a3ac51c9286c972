package token

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// printedFor is for how long what a command has printed is used: it does not say how long
// that is good.
const printedFor = time.Minute

// command prints a token. It is run without a shell.
type command struct{ words []string }

func (c *command) get(ctx context.Context) (string, time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &bounded{most: maxToken, end: cancel}
	cmd := exec.CommandContext(ctx, c.words[0], c.words[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout = "/", []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"}, out
	// With whatever it has started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case out.full:
		return "", 0, fmt.Errorf("%s prints more than %d bytes, expected a token", c.words[0], maxToken)
	case ctx.Err() != nil:
		return "", 0, fmt.Errorf("%s has not ended within %s", c.words[0], patience)
	case errors.As(err, &exit):
		return "", 0, fmt.Errorf("%s: %s; it says why when it is run by hand", c.words[0], exit.ProcessState)
	case err != nil:
		return "", 0, fmt.Errorf("the command for a token: %w", err)
	}
	token := strings.TrimSpace(out.kept.String())
	if token == "" {
		return "", 0, fmt.Errorf("%s prints nothing, expected a token", c.words[0])
	}
	return token, printedFor, nil
}

// bounded keeps so many bytes, and ends who writes more.
type bounded struct {
	kept bytes.Buffer // not embedded: io.Copy would take its ReadFrom, which has no bound
	most int
	full bool
	end  func()
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.full = b.full || b.kept.Len()+len(p) > b.most; b.full {
		b.end()
		return 0, errors.New("too much")
	}
	return b.kept.Write(p)
}
