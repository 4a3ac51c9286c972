//go:build integration

package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stack is the running set of containers that integration/run.sh has started.
type stack struct {
	project string
	state   string // the folder with the policy, the sink's messages and the sockets
	client  string // the network namespace of the client container
}

// newStack finds the containers. Without them it fails: nothing is skipped.
func newStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{
		project: os.Getenv("GATEPOST_INTEGRATION_PROJECT"),
		state:   os.Getenv("GATEPOST_INTEGRATION_STATE"),
	}
	if s.project == "" || s.state == "" {
		t.Fatal("these tests need the containers: start them with integration/run.sh")
	}
	pid, err := docker(t.Context(), "inspect", "-f", "{{.State.Pid}}", s.container(t, "client"))
	if err != nil {
		t.Fatal(err)
	}
	s.client = filepath.Join("/proc", strings.TrimSpace(pid), "ns/net")
	return s
}

// container is the id of a service's container, running or not.
func (s *stack) container(t *testing.T, service string) string {
	t.Helper()
	out, err := docker(t.Context(), "ps", "-aq",
		"--filter", "label=com.docker.compose.project="+s.project,
		"--filter", "label=com.docker.compose.service="+service)
	if err != nil {
		t.Fatal(err)
	}
	id := strings.TrimSpace(out)
	if id == "" || strings.Contains(id, "\n") {
		t.Fatalf("containers of service %s in project %s: %q, want one", service, s.project, id)
	}
	return id
}

// docker runs a docker command and returns what it prints.
func docker(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).Output()
	if err != nil {
		detail := ""
		if exit, ok := err.(*exec.ExitError); ok {
			detail = strings.TrimSpace(string(exit.Stderr))
		}
		return "", fmt.Errorf("docker %s: %w %s", strings.Join(args, " "), err, detail)
	}
	return string(out), nil
}

// dial connects from an address of the client container. Only the socket is made
// inside that container's network namespace; it stays usable outside of it.
func (s *stack) dial(from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// The thread is never unlocked: it ends with the goroutine, and its
		// changed namespace with it.
		runtime.LockOSThread()
		conn, err := dialInside(s.client, from, to)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

func dialInside(namespace string, from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	ns, err := os.Open(namespace)
	if err != nil {
		return nil, fmt.Errorf("client's network: %w", err)
	}
	defer ns.Close()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("entering the client's network (needs root): %w", err)
	}
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return d.Dial("tcp", to.String())
}

// eventually asks again until cond holds, and fails the test after limit.
func eventually(t *testing.T, limit time.Duration, what string, cond func() (bool, string)) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		ok, state := cond()
		took := time.Since(begin)
		if ok {
			return took
		}
		if took > limit {
			t.Fatalf("%s: not within %v; last seen: %s", what, limit, state)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// newToken marks the messages of one session, in this run and no other.
func newToken() string {
	return fmt.Sprintf("%016x", rand.Uint64())
}
