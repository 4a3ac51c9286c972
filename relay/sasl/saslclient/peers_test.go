//go:build integration

package saslclient_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"gatepost/relay/sasl"
	"gatepost/relay/sasl/saslclient"
)

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if unpacked := filepath.Join(os.Getenv("GATEPOST_PEERS"), "usr/bin", name); err != nil {
		path, err = exec.LookPath(unpacked)
	}
	if err != nil {
		t.Fatalf("%v: install it with apt-get, or see integration/peers.sh", err)
	}
	return path
}

// peer runs a dialogue with a server program that takes and gives lines of base64.
type peer struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t *testing.T, name string, args ...string) (*peer, func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	cmd := exec.CommandContext(ctx, name, args...)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	return &peer{in, bufio.NewScanner(out)}, func() { in.Close(); cancel(); _ = cmd.Wait() }
}

// cyrusLogin is who a server of Cyrus SASL lets in.
func cyrusLogin(t *testing.T, m saslclient.Mechanism, program string, args ...string) (string, error) {
	t.Helper()
	p, end := start(t, program, args...)
	defer end()
	response, has, err := m.Start(t.Context())
	if err != nil {
		return "", err
	}
	if has {
		fmt.Fprintln(p.in, base64.StdEncoding.EncodeToString(response))
	} else {
		fmt.Fprintln(p.in, "-")
	}
	for p.out.Scan() {
		line := p.out.Text()
		if user, ok := strings.CutPrefix(line, "OK "); ok {
			return user, m.Done()
		}
		if strings.HasPrefix(line, "NO ") {
			return "", errors.New(line)
		}
		challenge, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if response, err = m.Next(t.Context(), challenge); err != nil {
			return "", fmt.Errorf("client: %w", err)
		}
		fmt.Fprintln(p.in, base64.StdEncoding.EncodeToString(response))
	}
	return "", fmt.Errorf("the server has ended: %w", p.out.Err())
}

// TestCyrus: we log in to servers with Cyrus SASL, such as Postfix and sendmail, by each
// mechanism, with accounts that saslpasswd2 has made.
func TestCyrus(t *testing.T) {
	program := filepath.Join(t.TempDir(), "cyrus-server")
	if out, err := exec.CommandContext(t.Context(), tool(t, "cc"), "-o", program, "testdata/cyrus-server.c", "-lsasl2").CombinedOutput(); err != nil {
		t.Fatalf("cc (needs libsasl2-dev): %v\n%s", err, out)
	}
	path := filepath.Join(t.TempDir(), "sasldb2")
	accounts := map[string]string{"joe": "secret of joe", "comma": `a,b="c d"\e`, "quo\"te": "=,", "jörg": "naïve pässwörd", "späť": "Łódź"}
	for user, password := range accounts {
		cmd := exec.CommandContext(t.Context(), tool(t, "saslpasswd2"), "-p", "-c", "-f", path, "-u", host, user)
		cmd.Stdin = strings.NewReader(password)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	cs, _ := ends(t, tls.VersionTLS13)
	binding, err := scram.NewTLSExporterBinding(cs)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sasl.Mechanisms() {
		if name == sasl.External {
			continue
		}
		for user, password := range accounts {
			args := []string{strings.TrimSuffix(name, "-PLUS"), path, host}
			if strings.HasSuffix(name, "-PLUS") {
				args = []string{name, path, host, string(binding.Type), hex.EncodeToString(binding.Data)}
			}
			c := &saslclient.Credentials{User: user, Password: password, Mechanisms: []string{name}}
			m, err := saslclient.Choose(c, []string{name}, host, cs)
			if err != nil {
				t.Fatal(err)
			}
			if who, err := cyrusLogin(t, m, program, args...); who != user && who != user+"@"+host || err != nil {
				t.Errorf("%s %s: user %q, error %v", name, user, who, err)
			}
			c.Password += "x"
			if m, err = saslclient.Choose(c, []string{name}, host, cs); err != nil {
				t.Fatal(err)
			}
			if who, err := cyrusLogin(t, m, program, args...); who != "" || err == nil {
				t.Errorf("%s %s with a wrong password: user %q, error %v", name, user, who, err)
			}
		}
	}
}

// TestGsasl: we log in to servers with GNU SASL.
func TestGsasl(t *testing.T) {
	gsasl := tool(t, "gsasl")
	const password = `a,b=c "d\e`
	for _, name := range []string{sasl.SCRAMSHA256, sasl.SCRAMSHA1, sasl.DigestMD5, sasl.CRAMMD5} {
		for _, typed := range []string{password, "wrong"} {
			m := begin(t, saslclient.Credentials{User: "joe", Password: typed}, name, host)
			err := gsaslLogin(t, m, gsasl, "--server", "--quiet", "--no-cb", "-m", name, "--password="+password, "--hostname="+host, "--realm="+host, "--service=smtp")
			if (err == nil) != (typed == password) {
				t.Errorf("%s with the password %q: %v", name, typed, err)
			}
		}
	}
}

func gsaslLogin(t *testing.T, m saslclient.Mechanism, program string, args ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var said strings.Builder
	cmd.Stderr = &said
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	response, has, err := m.Start(ctx)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for first := true; lines.Scan(); {
		line := lines.Text()
		if line == m.Name() {
			continue
		}
		challenge, err := base64.StdEncoding.DecodeString(line)
		if err != nil {
			return fmt.Errorf("the server says %q", line)
		}
		if !first || !has {
			if len(challenge) == 0 {
				break // it is content, and waits for data
			}
			if response, err = m.Next(ctx, challenge); err != nil {
				return fmt.Errorf("client: %w", err)
			}
		}
		first = false
		fmt.Fprintln(in, base64.StdEncoding.EncodeToString(response))
		if m.Name() != sasl.CRAMMD5 && m.Done() == nil {
			break
		}
	}
	in.Close()
	// It fails in any case, after a login for want of data: only its words tell.
	_ = cmd.Wait()
	if strings.Contains(said.String(), "mechanism error") || ctx.Err() != nil {
		return errors.New(said.String())
	}
	return m.Done()
}
