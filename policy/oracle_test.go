package policy_test

import (
	"path/filepath"
	"testing"

	"gatepost/internal/scenario"
)

// TestOracle compares the engine with what real sendmail answered; see
// docs/policy-tests.md for their form.
func TestOracle(t *testing.T) {
	files, err := filepath.Glob("../integration/testdata/oracle/*.jsonl.gz")
	if err != nil || len(files) != 3 {
		t.Fatalf("recorded verdicts: %v (%v), want 3 files", files, err)
	}
	got, err := scenario.RunFiles(t.Context(), files, func(m scenario.Mismatch) { t.Error(m) })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d sessions, %d verdicts", got.Passed+got.Failed, got.Verdicts)
	if got.Passed != 5432 || got.Failed != 0 || got.Verdicts != 20844 {
		t.Errorf("%d sessions passed, %d failed, %d verdicts compared; want 5432, 0 and 20844", got.Passed, got.Failed, got.Verdicts)
	}
}
