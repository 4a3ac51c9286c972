// Package servers starts what is asked, for tests: real redis-server and
// slapd, and a resolver that validates, on ports of their own with their files in a directory
// of the test, a server of
// the socketmap protocol, and Postfix's postmap. Whatever fails ends the test.
package servers

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a server that runs as a program and listens on a unix socket too.
type process struct {
	t      testing.TB
	dir    string
	socket string
	cmd    *exec.Cmd
	ended  chan struct{}
}

// start runs the program and waits until it takes connections.
func (p *process) start(name string, args ...string) {
	p.t.Helper()
	p.cmd = exec.Command(name, args...)
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // ends by a signal
		close(ended)
	}(p.cmd, p.ended)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("unix", p.socket); err == nil {
			c.Close()
			return
		}
	}
	log, _ := os.ReadFile(filepath.Join(p.dir, "log"))
	p.t.Fatalf("%s does not start: %s", name, log)
}

// Kill ends the server at once. Run starts it again.
func (p *process) Kill() { p.stop(syscall.SIGKILL) }

// Terminate ends the server in an orderly way, as a package upgrade does.
func (p *process) Terminate() { p.stop(syscall.SIGTERM) }

func (p *process) stop(sig syscall.Signal) {
	select {
	case <-p.ended:
	default:
		p.signal(sig)
		<-p.ended
	}
	os.Remove(p.socket)
}

// Pause has the server keep its connections and answer nothing, until Resume.
func (p *process) Pause() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	stat := filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if text, err := os.ReadFile(stat); err == nil && strings.Contains(string(text), ") T ") {
			return
		}
	}
	p.t.Fatal("the server does not stop")
}

// Resume has it go on.
func (p *process) Resume() { p.signal(syscall.SIGCONT) }

// signal sends the server a signal.
func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// Socket is the path of the unix socket.
func (p *process) Socket() string { return p.socket }

// Write writes a file into the server's directory and gives its path.
func (p *process) Write(name, text string) string {
	p.t.Helper()
	name = filepath.Join(p.dir, name)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return name
}

// FreePort is a TCP port of 127.0.0.1 that nobody uses.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
