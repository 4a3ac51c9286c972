package scenario

import (
	"path/filepath"
	"testing"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

// TestServedFacts plays a sample of the recorded sessions, of all policies alike,
// with the real resolver, which asks a real server that has the recorded facts.
func TestServedFacts(t *testing.T) {
	const every, atLeast = 17, 300 // policies, sessions
	files, err := filepath.Glob("../../integration/testdata/oracle/*.jsonl.gz")
	if err != nil || len(files) != 3 {
		t.Fatalf("recorded verdicts: %v (%v), want 3 files", files, err)
	}
	var sum Result
	var questions uint64
	n := 0
	for _, file := range files {
		err := readFile(file, func(load func() (*Scenario, error)) error {
			if n++; n%every != 0 {
				return nil
			}
			s, err := load()
			if err != nil {
				return err
			}
			r, asked := runServed(t, s)
			sum.Passed += r.Passed
			sum.Failed += r.Failed
			sum.Verdicts += r.Verdicts
			questions += asked
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d sessions, %d verdicts, %d questions", sum.Passed+sum.Failed, sum.Verdicts, questions)
	if sum.Failed != 0 || sum.Passed < atLeast || questions < atLeast {
		t.Errorf("%d sessions differ, %d do not, with %d questions; want none, and %d of the others at least", sum.Failed, sum.Passed, questions, atLeast)
	}
}

// runServed plays one policy's sessions and counts the questions that were sent.
func runServed(t *testing.T, s *Scenario) (Result, uint64) {
	c, err := dns.NewClient(dns.Config{Servers: []string{dnstest.Serve(t, s.Zone)}})
	if err != nil {
		t.Fatal(err)
	}
	s.Policy.Resolver = c
	r, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range r.Mismatches {
		t.Error(m)
	}
	return r, c.Stats().Queries
}
