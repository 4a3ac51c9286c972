package servers

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Redis is a real redis-server. Its tables are in database 3.
type Redis struct {
	process
	Port int
	args []string
}

// StartRedis starts a redis-server that ends with the test. It keeps nothing on disk
// and notifies of nothing, unless args say so.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	dir := t.TempDir()
	r := &Redis{process: process{t: t, dir: dir, socket: filepath.Join(dir, "redis.sock")}, Port: FreePort(t), args: args}
	r.Run()
	t.Cleanup(r.Kill)
	return r
}

// Run starts the server again.
func (r *Redis) Run() {
	r.t.Helper()
	r.start("redis-server", append([]string{
		"--port", strconv.Itoa(r.Port), "--bind", "127.0.0.1", "--unixsocket", r.socket, "--dir", r.dir,
		"--save", "", "--daemonize", "no", "--logfile", filepath.Join(r.dir, "log"),
	}, r.args...)...)
}

// Ready waits until a server that was started again has read its data.
func (r *Redis) Ready() {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(r.CLI("INFO persistence"), "\nloading:0") {
			return
		}
	}
	r.t.Fatal("redis-server does not finish loading")
}

// URL is the address of a table that is the hash with a key.
func (r *Redis) URL(key string) string { return fmt.Sprintf("redis://127.0.0.1:%d/3/%s", r.Port, key) }

// CLI runs redis-cli on the socket, with commands in its own syntax, one a line, and
// gives what it says.
func (r *Redis) CLI(commands ...string) string {
	r.t.Helper()
	return r.CLIWith(nil, commands...)
}

// CLIWith runs redis-cli with further arguments.
func (r *Redis) CLIWith(args []string, commands ...string) string {
	r.t.Helper()
	cmd := exec.Command("redis-cli", append([]string{"-s", r.socket, "-n", "3"}, args...)...)
	cmd.Stdin = strings.NewReader(strings.Join(commands, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Contains(string(out), "ERR") {
		r.t.Fatalf("redis-cli %.1000q: %v\n%s", commands, err, out)
	}
	return string(out)
}

// Quote writes a string for CLI.
func Quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
