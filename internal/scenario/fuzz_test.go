package scenario

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatepost/internal/config"
	"gatepost/policy"
)

// checkLoad runs what was read, or holds the mistake to its form.
func checkLoad(t *testing.T, s *Scenario, err error) {
	t.Helper()
	if err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = s.Run(ctx)
		if ctx.Err() != nil {
			t.Fatal("a test of a few lines ran for 10 s")
		}
	}
	if err == nil {
		return
	}
	var mine *Error
	var theirs *config.Error
	if !errors.As(err, &mine) && !errors.As(err, &theirs) && !strings.HasPrefix(err.Error(), "f:") {
		t.Errorf("error %q does not say file and line", err)
	}
	if mine != nil && strings.Contains(mine.Err.Error(), "%!") {
		t.Errorf("error %q has a broken format", err)
	}
}

func FuzzWritten(f *testing.F) {
	f.Add([]byte(written1))
	f.Add([]byte(small))
	f.Add([]byte("host: a.b\n== dns\na A 192.0.2.1\n== access\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("config:")) {
			return // would read other files
		}
		s, err := parseWritten("f", data)
		checkLoad(t, s, err)
	})
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(record1))
	f.Add([]byte(`{"host_name":"a","access_fails_for_keys_matching":"x","sessions":[{"client":{"address":"::1"},"expected":{"greet_pause_ms":1}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseRecord("f", 1, data)
		checkLoad(t, s, err)
	})
}

// FuzzFile is about the form of a file: zipped, recorded or written.
func FuzzFile(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("\n" + record1 + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte("config:")) {
			return // would read other files
		}
		err := read("f", bufio.NewReader(bytes.NewReader(data)), func(load func() (*Scenario, error)) error {
			_, err := load()
			return err
		})
		if err != nil && err.Error() == "" {
			t.Errorf("an error without text for %q", data)
		}
	})
}

// FuzzWant: a verdict as it is printed is one that can be written.
func FuzzWant(f *testing.F) {
	for _, v := range []string{"accept", "reject", "quarantine a b", "550", "451 4.3.0", "550 5.7.1 Relaying denied"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := parseWant(strings.TrimSpace(text))
		if err != nil {
			return
		}
		if want.Action == policy.Undecided {
			t.Errorf("%q is no verdict", text)
		}
		if again, err := parseWant(want.String()); err != nil || again != want {
			t.Errorf("%q is printed as %q, which is read as %+v, %v", text, want.String(), again, err)
		}
	})
}

// TestKeptCorpus holds testdata/fuzz to being there: go test runs it as seeds.
func TestKeptCorpus(t *testing.T) {
	for _, name := range []string{"FuzzWritten", "FuzzRecord", "FuzzFile", "FuzzWant"} {
		if files, err := os.ReadDir(filepath.Join("testdata", "fuzz", name)); err != nil || len(files) == 0 {
			t.Errorf("no kept inputs of %s: %v", name, err)
		}
	}
}
