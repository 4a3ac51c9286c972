package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const policyTests = "../../examples/policy-tests"

func readText(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTest(t *testing.T) {
	const good = "host: mx.example.com\n== access\nConnect:198.51.100.66 REJECT\n== session one\nclient: 198.51.100.7\nexpect: accept\n"
	for _, tc := range []struct {
		name  string
		files []string // their contents
		want  result   // with F0, F1 for their paths
	}{
		{"passes", []string{good}, result{0, "1 passed, 0 failed\n", ""}},
		{"two files", []string{good, good + "== session two\nclient: 198.51.100.8\nexpect: accept\n"}, result{0, "3 passed, 0 failed\n", ""}},
		{"fails", []string{good, good + "== session two\nclient: 198.51.100.66\nfrom: <>\nto: <a@b.example>\nexpect: 451\n"}, result{1,
			"F1:8: two: connection: expected accept, got 550 5.7.1 Access denied, by client access, Connect:198.51.100.66 (F1:3)\n" +
				"F1:10: two: RCPT <a@b.example>: expected 451, got 550 5.7.1 Relaying denied. IP name lookup failed [198.51.100.66], by client name verified\n" +
				"2 passed, 1 failed\n", ""}},
		{"a mistake", []string{good, "\nhost mx\n"}, result{2, "",
			"gatepost: F1:2: \"host mx\", expected title:, host:, config: or a section such as \"== session NAME\"\n"}},
		{"a mistake and a mismatch", []string{"{}", strings.Replace(good, "accept", "reject", 1)}, result{2,
			"F1:5: one: connection: expected reject, got accept, by check_relay\n", "gatepost: F0:1: no host name, expected \"host_name\"\n"}},
		{"control characters", []string{strings.Replace(good, "session one", "session \x1b[2Jone", 1) + "from: <\x9b@\u202eb>\nexpect: accept\n"}, result{1,
			"F0:7: \\x1b[2Jone: MAIL <\\x9b@\\u202eb>: expected accept, got 553 5.1.0 Address contained invalid control characters, by sender syntax\n" +
				"0 passed, 1 failed\n", ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			args := []string{"test"}
			var names []string
			for i, text := range tc.files {
				name := "F" + string(rune('0'+i))
				path := filepath.Join(dir, name)
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				args, names = append(args, path), append(names, path, name)
			}
			got := call(t, args...)
			short := strings.NewReplacer(names...)
			got.out, got.stderr = short.Replace(got.out), short.Replace(got.stderr)
			if got != tc.want {
				t.Errorf("ended with %d and\n%s%swant %d and\n%s%s", got.code, got.out, got.stderr, tc.want.code, tc.want.out, tc.want.stderr)
			}
		})
	}
}

func TestTestUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none")
	want := result{2, "", "gatepost: cannot read the policy test: open " + path + ": no such file or directory\n"}
	if got := call(t, "test", path); got != want {
		t.Errorf("gave %+v, want %+v", got, want)
	}
}

// TestRecordedVerdicts: the engine agrees with real sendmail, and fast.
func TestRecordedVerdicts(t *testing.T) {
	files, err := filepath.Glob("../../integration/testdata/oracle/*.jsonl.gz")
	if err != nil || len(files) != 3 {
		t.Fatalf("recorded verdicts: %v (%v), want 3 files", files, err)
	}
	start := time.Now()
	if got, want := call(t, append([]string{"test"}, files...)...), (result{0, "5432 passed, 0 failed\n", ""}); got != want {
		t.Errorf("gave %+v, want %+v", got, want)
	}
	if took := time.Since(start); took > 20*time.Second { // 2 s without the race detector
		t.Errorf("took %v", took)
	}
}

func TestPolicyTestExamples(t *testing.T) {
	files, err := filepath.Glob(policyTests + "/*.txt")
	if err != nil || len(files) < 2 {
		t.Fatalf("examples: %v (%v)", files, err)
	}
	if got, want := call(t, append([]string{"test"}, files...)...), (result{0, "47 passed, 0 failed\n", ""}); got != want {
		t.Errorf("gave %+v, want %+v", got, want)
	}
}

// TestPolicyTestsPage holds docs/policy-tests.md to the example, to what comes
// out of it, and to the keys of the form.
func TestPolicyTestsPage(t *testing.T) {
	page := readText(t, "../../docs/policy-tests.md")
	text := readText(t, filepath.Join(policyTests, "relay.txt"))
	if !strings.Contains(page, "```\n"+text+"```\n") {
		t.Error("docs/policy-tests.md does not have examples/policy-tests/relay.txt as it is")
	}
	text = strings.Replace(text, "Connect:192.0.2 ", "Connect:192.0 ", 1)
	text = strings.Replace(text, "\npartner.example\n", "\npatner.example\n", 1)
	t.Chdir(t.TempDir())
	if err := os.WriteFile("relay.txt", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := call(t, "test", "relay.txt")
	shown := "    " + strings.ReplaceAll(strings.TrimSpace(got.out), "\n", "\n    ") + "\n"
	if got.code != 1 || !strings.Contains(page, "\n    $ gatepost test relay.txt\n"+shown) {
		t.Errorf("docs/policy-tests.md does not show what comes out of the changed example:\n%s", shown)
	}
}
