package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"no root": nil, "argument": {"-root", "/x", "file"}, "unknown flag": {"-nothing"}, "negative": {"-root", "/x", "-sessions", "-1"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, bad bytes.Buffer
			if code := run(context.Background(), args, &out, &bad); code != 2 || bad.Len() == 0 {
				t.Errorf("run(%q) = %d, said %q; want 2 and a reason", args, code, bad.String())
			}
		})
	}
}

func TestSummary(t *testing.T) {
	pause := 1500
	ok := Verdict{Action: "accept"}
	e := Expected{Connect: &ok, Mail: &Verdict{"reject", 550, "5.7.1", "No", false}, GreetPause: &pause, Compat: []Verdict{{Action: "discard"}}}
	if got, want := e.summary(), "connect accept; MAIL reject 550 5.7.1 No; pause 1500; compat discard"; got != want {
		t.Errorf("summary = %q, want %q", got, want)
	}
	if got := (Expected{}).summary(); !strings.Contains(got, "connect nothing") {
		t.Errorf("summary of nothing = %q", got)
	}
}
