package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckAccounts: accounts that the relay would not start with are an error.
func TestCheckAccounts(t *testing.T) {
	const listener = "[[listener]]\nname = \"MSA\"\nkind = \"submission\"\nlisten = \"127.0.0.1:0\"\ntls = \"none\"\nallow_plaintext_auth = true\n"
	for _, tc := range []struct {
		name, more, users, want string
	}{
		{"good", listener, "# none\n", ""},
		{"no account", listener, "joe\n", "error: relay.users: FILE:1: no account; expected NAME:SECRET\n"},
		{"nobody logs in", "", "joe\n", ""},
		{"no database", "sasldb = \"users\"\n" + listener, "# none\n", "error: relay.sasldb: FILE: "},
	} {
		cfg, file := accounts(t, tc.more)
		if err := os.WriteFile(file, []byte(tc.users), 0o600); err != nil {
			t.Fatal(err)
		}
		got := call(t, "check", "--config", cfg)
		want := strings.ReplaceAll(tc.want, "FILE", filepath.Join(filepath.Dir(cfg), "users"))
		if tc.want == "" && strings.Contains(got.out, "error: relay.") || !strings.Contains(got.out, want) {
			t.Errorf("%s: gatepost check printed\n%s, want %q", tc.name, got.out, want)
		}
	}
}

// TestCheckLogins: what would keep the relay from logging in to other servers is an error.
func TestCheckLogins(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		mode       os.FileMode
		want       string
	}{
		{"good", "AuthInfo:\t\"U:joe\" \"P:hidden\"\n", 0o600, ""},
		{"bad line", "# x\nAuthInfo:\t\"U:joe\" \"P:hidden\n", 0o600, "error: relay.authinfo: FILE:2: a quotation mark is not closed"},
		{"open to all", "AuthInfo:\t\"U:joe\" \"P:hidden\"\n", 0o644, "error: relay.authinfo: FILE: its mode is 0644"},
	} {
		cfg, _ := accounts(t, "authinfo = \"authinfo\"\n")
		file := filepath.Join(filepath.Dir(cfg), "authinfo")
		if err := os.WriteFile(file, []byte(tc.text), tc.mode); err != nil {
			t.Fatal(err)
		}
		got := call(t, "check", "--config", cfg)
		want := strings.ReplaceAll(tc.want, "FILE", file)
		if tc.want == "" && strings.Contains(got.out, "authinfo") || !strings.Contains(got.out, want) || strings.Contains(got.out, "hidden") {
			t.Errorf("%s: gatepost check printed\n%s, want %q", tc.name, got.out, want)
		}
	}
}
