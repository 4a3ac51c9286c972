package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatepost/relay/sasl/users"
)

// accounts is a configuration that names a file of accounts in its folder.
func accounts(t *testing.T, more string) (configFile, usersFile string) {
	t.Helper()
	dir := t.TempDir()
	configFile, usersFile = filepath.Join(dir, "gatepost.toml"), filepath.Join(dir, "users")
	if err := os.WriteFile(configFile, []byte("host_name = \"mx.example.com\"\n[relay]\nusers = \"users\"\n"+more), 0o600); err != nil {
		t.Fatal(err)
	}
	return configFile, usersFile
}

// user is a call of gatepost user; the words of args come before the account's name.
func user(t *testing.T, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e strings.Builder
	code = run(t.Context(), append([]string{programName, "user"}, args...), strings.NewReader(stdin), &o, &e)
	return code, o.String(), e.String()
}

// TestUser is the life of accounts.
func TestUser(t *testing.T) {
	cfg, file := accounts(t, "")
	list := func(want string) {
		t.Helper()
		if code, out, errs := user(t, "", "list", "--config", cfg); code != 0 || out != want || errs != "" {
			t.Errorf("list ended with %d, %q and printed %q, want %q", code, errs, out, want)
		}
	}
	list("")
	for _, name := range []string{"mailman", "joe@example.com"} {
		if code, out, errs := user(t, "secret\n", "add", "--config", cfg, "--password-stdin", name); code != 0 || out != "" {
			t.Errorf("add ended with %d, %q, %q", code, out, errs)
		}
	}
	if code, _, errs := user(t, "secret\r\nmore", "add", "--file", file, "--config", cfg, "--password-stdin", "--plaintext-equivalents", "old"); code != 0 || errs != "" {
		t.Errorf("add ended with %d, %q", code, errs)
	}
	list("mailman\tSCRAM-SHA-256 SCRAM-SHA-1\njoe@example.com\tSCRAM-SHA-256 SCRAM-SHA-1\nold\tSCRAM-SHA-256 SCRAM-SHA-1 DIGEST-MD5 CRAM-MD5\n")
	before := read(t, file)
	if !strings.Contains(before, "DIGEST-MD5$mx.example.com$") || strings.Contains(before, "secret") {
		t.Errorf("the file has\n%s", before)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file has mode %v, %v", info.Mode(), err)
	}
	if code, _, errs := user(t, "other\n", "passwd", "--config", cfg, "--password-stdin", "old"); code != 0 || errs != "" {
		t.Errorf("passwd ended with %d, %q", code, errs)
	}
	after := read(t, file)
	if line := lineOf(after, "old:"); line == lineOf(before, "old:") || !strings.Contains(line, "CRAM-MD5$") || lineOf(before, "mailman:") != lineOf(after, "mailman:") {
		t.Errorf("after passwd the file has\n%s", after)
	}
	if code, _, errs := user(t, "", "delete", "--config", cfg, "joe@example.com"); code != 0 || errs != "" {
		t.Errorf("delete ended with %d, %q", code, errs)
	}
	list("mailman\tSCRAM-SHA-256 SCRAM-SHA-1\nold\tSCRAM-SHA-256 SCRAM-SHA-1 DIGEST-MD5 CRAM-MD5\n")
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func lineOf(text, prefix string) string {
	_, after, _ := strings.Cut(text, "\n"+prefix)
	line, _, _ := strings.Cut(after, "\n")
	return line
}

func TestUserFaults(t *testing.T) {
	cfg, file := accounts(t, "")
	cyrus, _ := accounts(t, "")
	if err := os.WriteFile(cyrus, []byte("[relay]\nsasldb = \"/etc/sasldb2\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := user(t, "secret\n", "add", "--config", cfg, "--password-stdin", "joe"); code != 0 {
		t.Fatal(errs)
	}
	broken := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(broken, []byte("joe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		{"", nil, 2, "expected add, list, delete or passwd after user, see --help"},
		{"", []string{"ad"}, 2, `unknown command "ad" after user, expected add, list, delete or passwd`},
		{"", []string{"add", "--config", cfg}, 2, "too few arguments, expected the account's NAME: gatepost user add [FLAGS] NAME"},
		{"", []string{"add", "--config", cfg, "--password-stdin", "joe", "--x"}, 2, `"--x" stands after the arguments`},
		{"", []string{"delete", "--confg", cfg, "joe"}, 2, "flag provided but not defined: -confg, did you mean --config?"},
		{"", []string{"list", "--config", cfg, "joe"}, 2, `unexpected argument "joe"`},
		{"x\n", []string{"add", "--config", cfg, "--password-stdin", "joe"}, 1, file + `: account "joe": account exists already; gatepost user passwd gives it another password`},
		{"x\n", []string{"passwd", "--config", cfg, "--password-stdin", "ann"}, 1, file + `: account "ann": no such account`},
		{"", []string{"delete", "--config", cfg, "ann"}, 1, file + `: account "ann": no such account`},
		{"", []string{"add", "--config", cfg, "ann"}, 2, "there is no terminal to ask for the password at, expected --password-stdin"},
		{"", []string{"add", "--config", cfg, "--password-stdin", "ann"}, 2, "the password is empty"},
		{"a\x01\n", []string{"add", "--config", cfg, "--password-stdin", "ann"}, 2, "the password has a character that SASLprep (RFC 4013) does not allow"},
		{strings.Repeat("x", 5000), []string{"add", "--config", cfg, "--password-stdin", "ann"}, 2, "the first line of the standard input has more than 4096 bytes, expected a password"},
		{"x\n", []string{"add", "--config", cfg, "--password-stdin", "a:b"}, 2, `account "a:b": a name cannot have a colon`},
		{"x\n", []string{"add", "--config", cfg, "--password-stdin", ""}, 2, "the name is empty"},
		{"x\n", []string{"add", "--config", cyrus, "--password-stdin", "ann"}, 2, "the configuration has relay.sasldb and no relay.users"},
		{"", []string{"list", "--file", broken, "--config", cfg}, 2, broken + ":1: no account; expected NAME:SECRET"},
		{"", []string{"list", "--file", "/nowhere/users", "--config", cfg}, 2, "open /nowhere/users: no such file or directory"},
		{"x\n", []string{"add", "--file", "/nowhere/users", "--config", cfg, "--password-stdin", "ann"}, 2, "/nowhere: no such file or directory"},
		{"", []string{"list", "--config", "/nowhere.toml"}, 2, "cannot read the configuration"},
	} {
		if code, out, errs := user(t, tc.stdin, tc.args...); code != tc.code || out != "" || !strings.Contains(errs, tc.want) {
			t.Errorf("user %q ended with %d, %q, want %d, %q", tc.args, code, errs, tc.code, tc.want)
		}
	}
	if all, err := users.List(file); err != nil || len(all) != 1 {
		t.Errorf("after all faults there are %v, %v", all, err)
	}
}

// TestUserForms: an account is the same in each form of its name.
func TestUserForms(t *testing.T) {
	cfg, file := accounts(t, "")
	const composed, apart = "jos\u00e9", "jose\u0301"
	for _, args := range [][]string{
		{"add", "--config", cfg, "--password-stdin", composed},
		{"passwd", "--config", cfg, "--password-stdin", apart},
		{"delete", "--config", cfg, apart},
		{"add", "--config", cfg, "--password-stdin", apart},
	} {
		if code, _, errs := user(t, "secret\n", args...); code != 0 {
			t.Errorf("user %q ended with %d, %q", args, code, errs)
		}
	}
	if all, err := users.List(file); err != nil || len(all) != 1 || all[0].Name != composed {
		t.Errorf("there are %v, %v", all, err)
	}
}

// TestHandOver: a file that became a link, by whoever may write to its folder, leads to
// no file of others.
func TestHandOver(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	dir := t.TempDir()
	spool, theirs, link := filepath.Join(dir, "spool"), filepath.Join(dir, "theirs"), filepath.Join(dir, "users")
	for _, err := range []error{os.Mkdir(spool, 0o700), os.Chown(spool, 65534, 65534), os.WriteFile(theirs, nil, 0o600), os.Symlink(theirs, link)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	streams{err: io.Discard}.handOver(link, spool)
	var owner unix.Stat_t
	if err := unix.Stat(theirs, &owner); err != nil || owner.Uid != 0 {
		t.Errorf("the file that the link leads to belongs to %d, %v", owner.Uid, err)
	}
}

// terminal is a terminal: what is typed at it, and what it shows.
type terminal struct {
	typed *os.File
	line  *os.File // of the program

	mu    sync.Mutex
	shown strings.Builder
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { line.Close() })
	term := &terminal{typed: master, line: line}
	go func() { _, _ = io.Copy(term, master) }()
	return term
}

func (m *terminal) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown.Write(p)
}

func (m *terminal) screen() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.shown.String()
}

func (m *terminal) echoes(t *testing.T) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(m.line.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// answer waits for a prompt after which nothing is echoed, and types a line.
func (m *terminal) answer(t *testing.T, prompt, line string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.HasSuffix(m.screen(), prompt) || m.echoes(t); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("waited 10 s for %q; the screen has %q", prompt, m.screen())
			return
		}
	}
	if _, err := m.typed.WriteString(line); err != nil {
		t.Error(err)
	}
}

// TestUserTyped: the password is asked for twice, and not shown.
func TestUserTyped(t *testing.T) {
	cfg, file := accounts(t, "")
	for _, tc := range []struct {
		first, second string
		code          int
		want          string
	}{
		{"secret\n", "other\n", 1, "\r\ngatepost: the two passwords differ, nothing has changed\r\n"},
		{"secret\n", "secret\n", 0, "Password for joe: \r\nAgain: \r\n"},
	} {
		m := newTerminal(t)
		code := make(chan int)
		go func() {
			code <- run(t.Context(), []string{programName, "user", "add", "--config", cfg, "joe"}, m.line, io.Discard, m.line)
		}()
		m.answer(t, "Password for joe: ", tc.first)
		m.answer(t, "Again: ", tc.second)
		if got := <-code; got != tc.code {
			t.Errorf("it ended with %d, want %d", got, tc.code)
		}
		for end := time.Now().Add(5 * time.Second); !strings.Contains(m.screen(), tc.want); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the screen has %q, want %q", m.screen(), tc.want)
			}
		}
		if strings.Contains(m.screen(), "secret") || !m.echoes(t) {
			t.Errorf("the screen has %q; it echoes again: %v", m.screen(), m.echoes(t))
		}
	}
	if all, err := users.List(file); err != nil || len(all) != 1 {
		t.Errorf("there are %v, %v", all, err)
	}
}

// TestUserInterrupted: an interrupt while the password is asked for leaves the terminal
// as it was.
func TestUserInterrupted(t *testing.T) {
	cfg, file := accounts(t, "")
	m := newTerminal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{programName, "user", "add", "--config", cfg, "joe"}, m.line, io.Discard, m.line)
	}()
	m.answer(t, "Password for joe: ", "sec")
	interrupt()
	if got := <-code; got != 75 || !m.echoes(t) {
		t.Errorf("it ended with %d; it echoes again: %v", got, m.echoes(t))
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("there is a file of accounts")
	}
}
