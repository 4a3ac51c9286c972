package users

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"gatepost/relay/sasl"
)

var few = Options{Iterations: sasl.MinIterations}

func newPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "users")
}

func put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func names(t *testing.T, path string) []string {
	t.Helper()
	list, err := List(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range list {
		all = append(all, a.Name)
	}
	return all
}

func TestEdits(t *testing.T) {
	ctx, path := t.Context(), newPath(t)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(Add(ctx, path, "joe", "pw", few))
	ok(Add(ctx, path, "ann@example.com", "pw", Options{Iterations: 5000, SHA1: true, MD5: true, Realms: []string{"b.example", "a.example", "b.example"}}))
	ok(Add(ctx, path, "e\u0308va", "pw", few)) // prepared
	want := []Account{{"joe", []string{"SCRAM-SHA-256"}, 3}, {"ann@example.com", []string{"SCRAM-SHA-256", "SCRAM-SHA-1", "DIGEST-MD5", "CRAM-MD5"}, 4}, {"ëva", []string{"SCRAM-SHA-256"}, 5}}
	got, err := List(path)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("error %v, accounts (-want +got):\n%s", err, diff)
	}
	before := strings.Split(get(t, path), "\n")
	ok(SetPassword(ctx, path, "ann@example.com", "other", nil))
	ok(SetPassword(ctx, path, "joe", "other", &Options{Iterations: sasl.MinIterations, SHA1: true}))
	after := strings.Split(get(t, path), "\n")
	for i := range before {
		if changed := i == 2 || i == 3; changed != (before[i] != after[i]) {
			t.Errorf("line %d: %q became %q", i+1, before[i], after[i])
		}
	}
	want[0].Mechanisms = []string{"SCRAM-SHA-256", "SCRAM-SHA-1"}
	if got, err = List(path); !cmp.Equal(want, got) || err != nil {
		t.Errorf("after new passwords: error %v, %s", err, cmp.Diff(want, got))
	}
	ok(Delete(ctx, path, "joe"))
	if got := names(t, path); !slices.Equal(got, []string{"ann@example.com", "ëva"}) {
		t.Errorf("after Delete: %q", got)
	}
	for name, err := range map[string]error{
		"add":      Add(ctx, path, "ëva", "pw", few),
		"delete":   Delete(ctx, path, "joe"),
		"password": SetPassword(ctx, path, "joe", "pw", nil),
	} {
		want := ErrNotFound
		if name == "add" {
			want = ErrExists
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", name, err, want)
		}
	}
	if left, _ := filepath.Glob(path + ".*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestNothingToRead: no part of the password is in the file.
func TestNothingToRead(t *testing.T) {
	path := newPath(t)
	if err := Add(t.Context(), path, "joe", "correct horse", Options{Iterations: 4096, SHA1: true, MD5: true, Realms: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	if text := get(t, path); strings.Contains(text, "correct") || strings.Contains(text, "horse") {
		t.Errorf("the file has the password: %s", text)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
}

func TestEditKeeps(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := newPath(t)
	put(t, path, "# mine\r\n\n# no newline at the end")
	if err := os.Chown(path, 12, 34); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := Add(t.Context(), link, "joe", "pw", few); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Uid != 12 || st.Gid != 34 || st.Mode&0o777 != 0o640 {
		t.Errorf("owner %d:%d, mode %o, error %v", st.Uid, st.Gid, st.Mode, err)
	}
	if target, err := os.Readlink(link); err != nil || target != path {
		t.Errorf("the link is %q, error %v", target, err)
	}
	lines := strings.Split(get(t, path), "\n")
	if len(lines) != 6 || lines[0] != "# mine\r" || lines[3] != "# no newline at the end" || !strings.HasPrefix(lines[4], "joe:") {
		t.Errorf("lines %q", lines)
	}
}

func TestEditRefuses(t *testing.T) {
	ctx, path := t.Context(), newPath(t)
	add := func(name, password string, o Options) error { return Add(ctx, path, name, password, o) }
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprint("realm", i))
	}
	for what, err := range map[string]error{
		"no name":         add("", "pw", few),
		"colon":           add("a:b", "pw", few),
		"comment":         add("#a", "pw", few),
		"space":           add("a ", "pw", few),
		"control":         add("a\nb", "pw", few),
		"NUL":             add("a\x00b", "pw", few),
		"not UTF-8":       add("a\xff", "pw", few),
		"long":            add(strings.Repeat("x", 256), "pw", few),
		"no password":     add("joe", "", few),
		"control in it":   add("joe", "p\nw", few),
		"long password":   add("joe", strings.Repeat("x", 256), few),
		"few iterations":  add("joe", "pw", Options{Iterations: 100}),
		"many iterations": add("joe", "pw", Options{Iterations: 1 << 30}),
		"realm":           add("joe", "pw", Options{Iterations: 4096, MD5: true, Realms: []string{"a$b"}}),
		"many realms":     add("joe", "pw", Options{Iterations: 4096, MD5: true, Realms: many}),
		"no folder":       Add(ctx, filepath.Join(path, "users"), "joe", "pw", few),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		} else if strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: the error has the password: %v", what, err)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Errorf("a file was made: %s", get(t, path))
	}
	put(t, path, "joe\n")
	if err := add("ann", "pw", few); err == nil || !strings.Contains(err.Error(), path+":1: ") || get(t, path) != "joe\n" {
		t.Errorf("a broken file: error %v", err)
	}
	put(t, path, "")
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := add("ann", "pw", few); err == nil || !strings.Contains(err.Error(), "mode is 0644") {
		t.Errorf("a file for everybody: error %v", err)
	}
}

func TestEditsAtOnce(t *testing.T) {
	path := newPath(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := Add(t.Context(), path, fmt.Sprint("user", i), "pw", few); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := names(t, path); len(got) != 20 {
		t.Errorf("%d accounts: %q", len(got), got)
	}
	unlock, err := lock(t.Context(), filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Delete(ctx, path, "user1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("under a lock: error %v", err)
	}
}
