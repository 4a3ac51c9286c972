package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/dns/dnstest"
)

// TestLockedPort25 takes examples/locked-port-25 at the word of docs/locked-port-25.md: what
// its commands print there is what they print.
func TestLockedPort25(t *testing.T) {
	files, err := filepath.Glob("../../examples/locked-port-25/*")
	if err != nil || len(files) < 6 {
		t.Fatalf("%d files in the example: %v", len(files), err)
	}
	server := dnstest.Serve(t, dnsfake.Zone{
		"smtp.isp.example": {A: []string{"192.0.2.25"}}, "printer.lan": {A: []string{"10.9.0.8"}}, "hub.lan": {A: []string{"10.9.0.7"}},
	})
	dir := t.TempDir()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(file) == "gatepost.toml" { // behind the lines that the page names
			text = append(text, "[dns]\nservers = [\""+server+"\"]\n"...)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile("../../docs/locked-port-25.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.ReplaceAll(string(page), "\n   ", "\n")
	for _, command := range []string{
		"check",
		"route ann@elsewhere.example bob@printer.lan joe@example.com",
		"rewrite --mailer relay joe@pc1.lan",
		"lookup authinfo smtp.isp.example",
	} {
		words := strings.Fields(command)
		got := call(t, append([]string{words[0], "--config", filepath.Join(dir, "gatepost.toml")}, words[1:]...)...)
		want := "$ gatepost " + command + "\n" + strings.ReplaceAll(got.out, dir, "/etc/gatepost")
		if got.code != 0 || !strings.Contains(shown, want) {
			t.Errorf("exit code %d; the page does not show\n%s%s", got.code, want, got.stderr)
		}
	}
}
