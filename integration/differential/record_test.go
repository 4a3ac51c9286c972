package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// TestRecordedForm holds our structures to the recorded corpus: nothing in it is lost.
func TestRecordedForm(t *testing.T) {
	for _, name := range []string{"named", "extras"} {
		file := "../testdata/oracle/" + name + ".jsonl.gz"
		policies, err := readPolicies(file)
		if err != nil || len(policies) < 40 {
			t.Fatalf("%s: %d policies, %v", file, len(policies), err)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		dec := json.NewDecoder(z)
		for i := range policies {
			var want, got any
			if err := dec.Decode(&want); err != nil {
				t.Fatal(err)
			}
			if err := json.NewDecoder(bytes.NewReader([]byte(asJSON(t, policies[i])))).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s comes out as %s, want %s", file, policies[i].ID, asJSON(t, got), asJSON(t, want))
			}
		}
	}
}

func TestWriteAndRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.jsonl")
	want := []Policy{generate(1, 0), generate(1, 1)}
	if err := writePolicies(file, want); err != nil {
		t.Fatal(err)
	}
	got, err := readPolicies(file)
	if err != nil || asJSON(t, got) != asJSON(t, want) {
		t.Errorf("read %v, %v; want %v", got, err, want)
	}
}

func TestReadFaulty(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"half.jsonl": `{"policy_id":"a"}` + "\n{", "not.jsonl.gz": "not compressed"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := readPolicies(file); err == nil {
			t.Errorf("%s: read %v, want an error", name, p)
		}
	}
	if _, err := readPolicies(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing file: no error")
	}
}

// TestKeptCases: each kept case says what it shows, and has sendmail's verdict.
func TestKeptCases(t *testing.T) {
	o := options{cases: "testdata/cases/*.jsonl"}
	jobs, err := o.keptCases()
	if err != nil || len(jobs) < 20 {
		t.Fatalf("%d kept cases, %v", len(jobs), err)
	}
	for _, j := range jobs {
		if j.Policy.Title == "" || len(j.Policy.Sessions) == 0 {
			t.Errorf("%s: title %q, %d sessions", j.Policy.ID, j.Policy.Title, len(j.Policy.Sessions))
		}
		for _, s := range j.Policy.Sessions {
			if s.Expected.Connect == nil {
				t.Errorf("%s: no verdict of sendmail", j.Policy.ID)
			}
		}
	}
}
