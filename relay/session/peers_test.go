//go:build integration

package session

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// peer is a program that integration/peers.sh has unpacked.
func peerPath(t *testing.T, path string) string {
	t.Helper()
	dir := os.Getenv("GATEPOST_PEERS")
	if dir == "" {
		t.Fatal("GATEPOST_PEERS is not set: see integration/peers.sh")
	}
	return filepath.Join(dir, path)
}

// TestSMTPSource has Postfix's load generator as the client.
func TestSMTPSource(t *testing.T) {
	f := accepting(t)
	program := peerPath(t, "usr/sbin/smtp-source")
	for _, run := range []struct {
		args string
		want uint64 // messages
	}{
		{"-s 10 -m 500 -l 4096", 500},
		{"-s 4 -m 40 -l 200000 -r 20", 40},
		{"-d -s 5 -m 500 -l 10", 500},
	} {
		before := f.Stats().Messages
		cmd := exec.Command(program, append(strings.Fields(run.args), "-f", "a@sender.example", "-t", "u@local.example", "inet:"+f.addr)...)
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+peerPath(t, "usr/lib/postfix"))
		out, err := cmd.CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("smtp-source %s: %v\n%s", run.args, err, out)
		}
		if n := f.Stats().Messages - before; n != run.want {
			t.Errorf("smtp-source %s: %d messages, want %d", run.args, n, run.want)
		}
	}
	if s := f.Stats(); s.Lost != 0 || s.Faulty != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestSwaks has swaks as the client, which waits for each reply or does not.
func TestSwaks(t *testing.T) {
	f := accepting(t, func(c *Config) { c.Xclient = isLocal })
	for _, args := range [][]string{
		{},
		{"--pipeline"},
		{"--pipeline", "--to", "u@local.example,v@local.example,w@local.example"},
		{"--protocol", "SMTP"},
		{"--xclient-addr", "192.0.2.1", "--xclient-name", "client.example.net"},
		{"--body", ".\n..\nend"},
	} {
		args = append([]string{"--server", f.addr, "--from", "a@sender.example", "--to", "u@local.example", "--helo", "client.example"}, args...)
		if out, err := exec.Command(peerPath(t, "usr/bin/swaks"), args...).CombinedOutput(); err != nil {
			t.Errorf("swaks %q: %v\n%s", args, err, out)
		}
	}
	stored := f.stored()
	if len(stored) != 6 {
		t.Fatalf("%d messages stored, want 6", len(stored))
	}
	if last := stored[5]; !strings.Contains(last, "\r\n\r\n.\r\n..\r\nend\r\n") {
		t.Errorf("dots: %q", last)
	}
}
