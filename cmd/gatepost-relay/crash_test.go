package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatepost/relay/spool"
)

// TestMain is the program itself when a test starts it as a process.
func TestMain(m *testing.M) {
	if config := os.Getenv("GATEPOST_TEST_CONFIG"); config != "" {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		os.Exit(run(context.Background(), []string{programName, "--config", config}, os.Stdin, os.Stdout, os.Stderr, signals))
	}
	code := m.Run()
	os.RemoveAll(toolDir)
	os.Exit(code)
}

// process starts the program as a process of its own, which a test may kill, and
// passes it sockets as systemd does.
func (s *site) process(sockets ...*os.File) *exec.Cmd {
	s.t.Helper()
	s.stderr.mu.Lock()
	s.stderr.b.Reset()
	s.stderr.mu.Unlock()
	// The variable names the process that the sockets are for.
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0"`, os.Args[0])
	cmd.Env = append(os.Environ(), "GATEPOST_TEST_CONFIG="+s.path("gatepost.toml"), "LISTEN_FDS="+strconv.Itoa(len(sockets)))
	cmd.ExtraFiles = sockets
	cmd.Stderr = &s.stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s.ready()
	return cmd
}

// TestSecondSignal: a smart host that hangs holds the end up, until somebody insists;
// what was being delivered stays in the queue.
func TestSecondSignal(t *testing.T) {
	s := newSite(t)
	hangs, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hangs.Close()
	s.write("gatepost.toml", strings.Replace(siteConfig, "SMART", hangs.Addr().String(), 1))
	s.start()
	if got := s.from(trusted).message("me@a.example", "<a@elsewhere.example>"); got[0] != '2' {
		t.Fatalf("the message is answered %q", got)
	}
	s.eventually("it is being delivered", func() bool { return s.status().Active == 1 })
	start := time.Now()
	s.signals <- syscall.SIGTERM
	s.signals <- syscall.SIGTERM
	if code := s.ended(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("two signals ended it after %v, want at once", took)
	}
	<-s.exit
	hangs.Close()
	s.stderr.b.Reset()
	s.write("gatepost.toml", siteConfig)
	s.start()
	s.eventually("it is delivered after the next start", func() bool { return len(s.smart.mail("a@elsewhere.example")) == 1 })
}

// TestSystemd: a socket that systemd passes takes the place of relay.listen.
func TestSystemd(t *testing.T) {
	s := newSite(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	socket, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	s.process(socket)
	if got := s.address(); got != ln.Addr().String() {
		t.Errorf("it listens on %s, want %s", got, ln.Addr())
	}
	if got := s.from(trusted).message("me@a.example", "<a@elsewhere.example>"); got[0] != '2' {
		t.Errorf("the message is answered %q", got)
	}
}

// TestKilled: what was answered with 250 is delivered by the next run, whatever
// became of the one that took it.
func TestKilled(t *testing.T) {
	s := newSite(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers there for now
	if err != nil {
		t.Fatal(err)
	}
	later := &sink{addr: closed.Addr().String()}
	closed.Close()
	s.write("gatepost.toml", strings.Replace(siteConfig, "SMART", later.addr, 1))

	p := s.process()
	const messages = 25
	for i := range messages {
		if got := s.from(trusted).message("me@a.example", fmt.Sprintf("<u%d@elsewhere.example>", i)); got[0] != '2' {
			t.Fatalf("message %d is answered %q", i, got)
		}
	}
	s.eventually("it is known that the smart host is down", func() bool { return len(s.status().Down) == 1 })
	if got := s.status(); got.Messages != messages || got.Held != 0 {
		t.Errorf("before the kill the status is %+v", got)
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()

	ln, err := net.Listen("tcp", later.addr)
	if err != nil {
		t.Fatal(err)
	}
	later.serve(t, ln, false)
	s.process()
	s.eventually("all are delivered", func() bool { return s.status().Messages == 0 })
	for i := range messages {
		if to := fmt.Sprintf("u%d@elsewhere.example", i); len(later.mail(to)) != 1 {
			t.Errorf("%s has %d messages, want 1", to, len(later.mail(to)))
		}
	}
}

// TestDamagedShows: a message in the queue whose envelope the disk has damaged is shown,
// with what there is to say.
func TestDamagedShows(t *testing.T) {
	s := newSite(t)
	s.start()
	if got := s.from(trusted).message("me@doubtful.example", "<a@elsewhere.example>"); got[0] != '2' {
		t.Fatalf("the message is answered %q", got)
	}
	all, err := filepath.Glob(s.path("spool/log/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(data, []byte("a@elsewhere.example")); at >= 0 {
			data[at] = '#'
			if err := os.WriteFile(name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := s.status()
	if got.Held != 1 || len(got.Hold) != 1 || got.Hold[0].ID == "" || got.Hold[0].Reason != spool.ErrDamaged.Error() {
		t.Errorf("the status is %+v", got)
	}
}
