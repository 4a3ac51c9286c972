//go:build integration

package sasl_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/relay/sasl"
	"gatepost/relay/sasl/users"
)

// cyrus runs a dialogue with a client of libsasl2; who is empty when it fails on either
// side.
func cyrus(t *testing.T, s *sasl.Server, program, mechanism, user, password string) (who string, trouble error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, mechanism, user, password, host)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	x, err := s.Begin(t.Context(), mechanism, secure())
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for steps := 0; lines.Scan(); steps++ {
		response, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines.Text(), "-"))
		if err != nil {
			t.Fatal(err)
		}
		challenge, done, err := x.Next(t.Context(), response, lines.Text() != "-" || steps > 0)
		if err != nil {
			trouble = err
			fmt.Fprintln(in, "NO")
			break
		}
		if !done || len(challenge) > 0 {
			fmt.Fprintln(in, base64.StdEncoding.EncodeToString(challenge))
		}
		if done {
			if len(challenge) > 0 {
				lines.Scan()
			}
			fmt.Fprintln(in, "OK")
			who = x.User()
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%w, client: %w: %s", trouble, err, strings.TrimSpace(stderr.String()))
	}
	return who, trouble
}

// TestCyrus: clients with Cyrus SASL log in, with as many iterations as they take by
// default.
func TestCyrus(t *testing.T) {
	program := filepath.Join(t.TempDir(), "cyrus-client")
	if out, err := exec.CommandContext(t.Context(), tool(t, "cc"), "-o", program, "testdata/cyrus-client.c", "-lsasl2").CombinedOutput(); err != nil {
		t.Fatalf("cc (needs libsasl2-dev): %v\n%s", err, out)
	}
	path := filepath.Join(t.TempDir(), "users")
	if err := users.Add(t.Context(), path, "joe", "secret of joe", users.Options{SHA1: true, MD5: true, Realms: []string{host}}); err != nil {
		t.Fatal(err)
	}
	own, err := users.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, sasl.Config{}, own, realFile(t))
	for _, mechanism := range passwordMechanisms {
		for user, password := range map[string]string{"joe": "secret of joe", "old": "secret of old", `quo"te`: `a,"b\c`} {
			if who, err := cyrus(t, s, program, mechanism, user, password); who != user || err != nil {
				t.Errorf("%s %s: user %q, error %v", mechanism, user, who, err)
			}
			if who, err := cyrus(t, s, program, mechanism, user, "wrong"); who != "" || err == nil {
				t.Errorf("%s %s with a wrong password: user %q, error %v", mechanism, user, who, err)
			}
		}
	}
}
