//go:build integration

package integration

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRoutesRecorded: what relay/route is compared with is what sendmail says.
func TestRoutesRecorded(t *testing.T) {
	s := newStack(t)
	sendmail := s.container(t, "sendmail")
	recorded := filepath.Join("..", "relay", "route", "testdata", "sendmail")
	want, err := os.ReadFile(filepath.Join(recorded, "answers.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := docker(t.Context(), "cp", recorded, sendmail+":/tmp/routes"); err != nil {
		t.Fatal(err)
	}
	got, err := docker(t.Context(), "exec", sendmail, "sh", "/tmp/routes/record.sh")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("sendmail says\n%s\nand testdata/sendmail/answers.txt has\n%s", got, want)
	}
}
