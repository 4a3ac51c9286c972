//go:build integration

package main

import (
	"bufio"
	"io"
	"net"
	"os/exec"
	"testing"
	"time"
)

// typed is a session that is typed into a program.
func typed(t *testing.T, cmd *exec.Cmd) *client {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &client{t: t, Conn: piped{Writer: in}, in: bufio.NewReader(out)}
}

// piped is a connection as far as a client writes to it. What hangs is ended by the
// deadline of the test.
type piped struct {
	net.Conn
	io.Writer
}

func (p piped) Write(b []byte) (int, error) { return p.Writer.Write(b) }
func (p piped) SetDeadline(time.Time) error { return nil }
