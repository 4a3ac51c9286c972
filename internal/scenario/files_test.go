package scenario

import (
	"bytes"
	"compress/gzip"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// put writes a file and returns its path.
func put(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// runText runs one file, and gives its mismatches and errors with "F" for its path.
func runText(t *testing.T, name, text string) (Result, string, string) {
	t.Helper()
	path := put(t, name, text)
	var lines []string
	r, err := RunFiles(t.Context(), []string{path}, func(m Mismatch) { lines = append(lines, m.String()) })
	faults := ""
	if err != nil {
		faults = strings.ReplaceAll(err.Error(), path, "F")
	}
	return r, strings.ReplaceAll(strings.Join(lines, "\n"), path, "F"), faults
}

const small = `host: mx.example.com
== session s
client: 198.51.100.7
expect: accept
`

func TestForms(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		passed     int
		want       string // errors
	}{
		{"written", small, 1, ""},
		{"written, with a byte order mark and carriage returns", "\ufeff" + strings.ReplaceAll(small, "\n", "\r\n"), 1, ""},
		{"written, zipped", zipped(t, small), 1, ""},
		{"recorded", record1, 1, ""},
		{"recorded, blank lines", "\n\n" + record1 + "\n\n" + record1, 2, ""},
		{"recorded, zipped", zipped(t, record1+"\n"+record1+"\n"), 2, ""},
		{"empty", "", 0, `F:1: no session, expected a line "== session NAME" and what happens in it`},
		{"zip cut short", zipped(t, small)[:40], 0, "F: unexpected EOF"},
		{"zip header alone", "\x1f\x8b", 0, "F: cannot unzip: unexpected EOF"},
		{"zip of nothing", zipped(t, ""), 0, `F:1: no session, expected a line "== session NAME" and what happens in it`},
		{"too large", strings.Repeat("#\n", maxWritten/2+1), 0, "F: too large for a policy test, expected at most 4 MiB"},
		{"line too long", zipped(t, "{"+strings.Repeat(" ", maxLine)), 0, "F:1: a line that is too long, expected at most 16 MiB"},
		{"a mistake does not hide the rest", "{}\n" + record1 + "\n{]\n", 1, "F:1: no host name, expected \"host_name\"\n" +
			"F:3: expected a recorded policy as one JSON object: invalid character ']' looking for beginning of object key string"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, mismatches, faults := runText(t, "f", tc.text)
			if got.Passed != tc.passed || got.Failed != 0 || faults != tc.want {
				t.Errorf("%d passed, %d failed, mismatches %q, errors %q; want %d passed and %q",
					got.Passed, got.Failed, mismatches, faults, tc.passed, tc.want)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		dir:                        "is a directory",
	} {
		_, err := RunFiles(t.Context(), []string{path}, func(Mismatch) {})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("RunFiles(%s) gave the error %v, want in it the path and %q", path, err, want)
		}
	}
}

// TestManyMistakes: reading stops, and so do the workers.
func TestManyMistakes(t *testing.T) {
	path := put(t, "f", strings.Repeat("{}\n", 100_000))
	_, err := RunFiles(t.Context(), []string{path, path}, func(Mismatch) {})
	if err == nil {
		t.Fatal("no error")
	}
	if lines := strings.Count(err.Error(), "\n"); lines != maxFaults || !strings.HasSuffix(err.Error(), "more mistakes are not told") {
		t.Errorf("%d lines of errors, want %d; the end is %q", lines+1, maxFaults+1, err.Error()[len(err.Error())-60:])
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := RunFiles(ctx, []string{put(t, "f", strings.Repeat(record1+"\n", 100))}, func(Mismatch) {})
	if got.Passed > 0 {
		t.Errorf("after the end of the context %d sessions passed, error %v", got.Passed, err)
	}
}

// TestOrder: mismatches come in the order of the files and lines, whoever ran them.
func TestOrder(t *testing.T) {
	var text strings.Builder
	for range 300 {
		text.WriteString(strings.Replace(record1, `"text":"Relaying denied"`, `"text":"No"`, 1) + "\n")
	}
	path := put(t, "f", text.String())
	last := 0
	got, err := RunFiles(t.Context(), []string{path}, func(m Mismatch) {
		if m.Line != last+1 {
			t.Errorf("line %d after line %d", m.Line, last)
		}
		last = m.Line
	})
	if err != nil || got.Failed != 300 || last != 300 {
		t.Errorf("%d failed, the last in line %d, error %v, want 300, 300 and none", got.Failed, last, err)
	}
}

// TestClientsOfRecords: what the DNS facts say of each client is what sendmail found.
func TestClientsOfRecords(t *testing.T) {
	files, err := filepath.Glob("../../integration/testdata/oracle/*.jsonl.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded verdicts: %v", err)
	}
	clients := 0
	for _, file := range files {
		err := readFile(file, func(load func() (*Scenario, error)) error {
			s, err := load()
			if err != nil {
				return err
			}
			for i := range s.Sessions {
				clients++
				want := s.Sessions[i].Facts.Conn
				got, err := client{address: want.Addr.String()}.conn(&s.Policy)
				if err != nil || got.Name != want.Name || got.Ptr != want.Ptr || got.Resolve != want.Resolve {
					t.Errorf("%s: client %s is %+v, %v, want %+v", s.Sessions[i].Name, want.Addr, got, err, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	if clients < 5000 {
		t.Errorf("only %d clients were looked at", clients)
	}
}
