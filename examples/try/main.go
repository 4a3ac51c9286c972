// Try starts gatepost-milter on the example policy, speaks to it as a mail server
// would, prints its verdicts, and leaves it running until it is interrupted.
//
// It fails when a verdict is not what the example policy says.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	daemon  = "bin/gatepost-milter"
	source  = "examples"
	folder  = "run" // a copy of the example policy, to be edited at will
	address = "127.0.0.1:8891"
	startup = 10 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "try:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	if err := copyPolicy(); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(folder, "gatepost-milter.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, daemon, "--config", filepath.Join(folder, "gatepost.toml"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w; run `make build` first", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if err := started(ended, log.Name()); err != nil {
		return err
	}
	if err := prove(out); err != nil {
		return errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), <-ended)
	}
	explain(out, log.Name())
	if err := <-ended; ctx.Err() == nil {
		return fmt.Errorf("gatepost-milter ended: %w, see %s", err, log.Name())
	}
	fmt.Fprintln(out, "\nstopped")
	return nil
}

// copyPolicy copies the example, with DNS lookups off so that it answers the same
// on every machine.
func copyPolicy() error {
	if err := os.MkdirAll(filepath.Join(folder, "mail"), 0o755); err != nil {
		return err
	}
	for _, name := range []string{"gatepost.toml", "mail/access", "mail/relay-domains", "mail/local-host-names"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return err
		}
		changed := string(text)
		if name == "gatepost.toml" {
			for _, feature := range []string{"nocanonify", "accept_unresolvable_domains"} {
				changed = strings.Replace(changed, "# "+feature+" = true", feature+" = true", 1)
			}
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(changed), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// started waits until the daemon takes connections.
func started(ended <-chan error, log string) error {
	for deadline := time.Now().Add(startup); ; time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			text, err := os.ReadFile(log)
			return errors.Join(errors.New(strings.TrimSpace(string(text))), err)
		default:
		}
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("gatepost-milter does not answer: %w", err)
		}
	}
}

func explain(out io.Writer, log string) {
	fmt.Fprintf(out, `
gatepost-milter is running at inet:8891@127.0.0.1; its policy is in %s/, edit it and see.
Each decision is a line in %s.

To ask it about your mail (read docs/sendmail.md or docs/postfix.md first):

  sendmail.mc   INPUT_MAIL_FILTER(`+"`gatepost', `S=inet:8891@127.0.0.1, F=T, T=C:10s;S:10s;R:30s;E:1m'"+`)dnl
  main.cf       smtpd_milters = inet:127.0.0.1:8891
                milter_default_action = tempfail

Stop it with Ctrl-C.
`, folder, log)
}
