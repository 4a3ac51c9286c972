package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"gatepost/internal/program"
)

// maxTyped bounds a line with a password, in bytes.
const maxTyped = 4096

var errNoTerminal = errors.New("there is no terminal to ask for the password at, expected --password-stdin and the password as the first line of the standard input")

// password is asked for twice at the terminal, without showing it; with fromStdin it is
// the first line of the input.
func (s streams) password(ctx context.Context, fromStdin bool, user string) (string, error) {
	if fromStdin {
		return firstLine(s.in)
	}
	terminal, ok := s.in.(*os.File)
	if !ok || !term.IsTerminal(int(terminal.Fd())) {
		return "", program.Usage(errNoTerminal)
	}
	first, err := s.ask(ctx, terminal, "Password for "+program.Printable(user)+": ")
	if err != nil {
		return "", err
	}
	again, err := s.ask(ctx, terminal, "Again: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", &program.ExitError{Code: program.ExitWrong, Err: errors.New("the two passwords differ, nothing has changed")}
	}
	return first, nil
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxTyped+1)).ReadString('\n')
	switch {
	case err != nil && err != io.EOF:
		return "", fmt.Errorf("the password: %w", err)
	case len(line) > maxTyped:
		return "", program.Usage(fmt.Errorf("the first line of the standard input has more than %d bytes, expected a password", maxTyped))
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), nil
}

// ask reads a line that is not shown. An interrupt leaves the terminal as it was.
func (s streams) ask(ctx context.Context, terminal *os.File, prompt string) (string, error) {
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("the terminal: %w", err)
	}
	type answer struct {
		line []byte
		err  error
	}
	answered := make(chan answer, 1)
	fmt.Fprint(s.err, prompt)
	go func() {
		line, err := term.ReadPassword(fd)
		answered <- answer{line, err}
	}()
	defer fmt.Fprintln(s.err)
	select {
	case a := <-answered:
		if a.err != nil {
			return "", fmt.Errorf("the password: %w", a.err)
		}
		return string(a.line), nil
	case <-ctx.Done():
		return "", errors.Join(errors.New("interrupted, nothing has changed"), term.Restore(fd, before))
	}
}
