package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	compareLimit = 10 * time.Minute // for one run of gatepost
	maxCases     = 40               // kept; what fails more often is one fault
)

// compare has Gatepost judge what was recorded. Each session that differs is made
// small and kept as a file.
func (o *options) compare(ctx context.Context, out io.Writer, recorded []Policy) (bool, error) {
	if o.gatepost == "" {
		return true, nil
	}
	failing, err := o.failing(ctx, recorded)
	if err != nil {
		return false, err
	}
	all := len(failing)
	if failing, err = o.unexpected(ctx, out, failing); err != nil {
		return false, err
	}
	for _, p := range failing[:min(len(failing), maxCases)] {
		small, err := o.reduce(ctx, p)
		if err != nil {
			return false, err
		}
		if err := o.keep(ctx, out, small); err != nil {
			return false, err
		}
	}
	fmt.Fprintf(out, "%d sessions under %d policies: %d differ, and %d differ on purpose\n",
		countSessions(recorded), len(recorded), len(failing), all-len(failing))
	return len(failing) == 0, nil
}

// unexpected leaves out the sessions that differ on purpose, and counts them by reason.
func (o *options) unexpected(ctx context.Context, out io.Writer, failing []Policy) (left []Policy, err error) {
	reasons := map[string]int{}
	for _, p := range failing {
		_, said, err := o.judge(ctx, []Policy{p})
		if err != nil {
			return nil, err
		}
		if why := onPurpose(&p, said); why != "" {
			reasons[why]++
			continue
		}
		left = append(left, p)
	}
	for why, n := range reasons {
		fmt.Fprintf(out, "differ on purpose: %d by %s\n", n, why)
	}
	return left, nil
}

// failing finds the sessions on which Gatepost disagrees, each as a policy with
// that session alone, titled with where it was.
func (o *options) failing(ctx context.Context, policies []Policy) ([]Policy, error) {
	code, _, err := o.judge(ctx, policies)
	if err != nil || code == 0 {
		return nil, err
	}
	if len(policies) == 1 {
		if len(policies[0].Sessions) == 1 {
			return policies, nil
		}
		policies = oneByOne(policies[0])
	}
	var list []Policy
	for _, half := range [][]Policy{policies[:len(policies)/2], policies[len(policies)/2:]} {
		found, err := o.failing(ctx, half)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// oneByOne is the policy with each of its sessions alone.
func oneByOne(p Policy) []Policy {
	list := make([]Policy, len(p.Sessions))
	for i := range p.Sessions {
		list[i] = p
		list[i].Title = fmt.Sprintf("%s session %d", p.ID, i)
		list[i].Sessions = p.Sessions[i : i+1]
	}
	return list
}

// judge runs "gatepost test" on a file of the policies and returns its exit code
// and what it said. That it passed counts only with the number of sessions.
func (o *options) judge(ctx context.Context, policies []Policy) (code int, said []byte, err error) {
	dir, err := os.MkdirTemp("", "gatepost-differential")
	if err != nil {
		return 0, nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "recorded.jsonl")
	if err := writePolicies(file, policies); err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, compareLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, o.gatepost, "test", file)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Run()
	var status *exec.ExitError
	if errors.As(err, &status) && status.Exited() {
		return status.ExitCode(), output.Bytes(), nil
	}
	if err != nil {
		return 0, output.Bytes(), fmt.Errorf("%s test: %w", o.gatepost, err)
	}
	if passed := fmt.Sprintf("%d passed, 0 failed", countSessions(policies)); !bytes.Contains(output.Bytes(), []byte(passed)) {
		return 0, nil, fmt.Errorf("%s test ended well but did not say %q: %s", o.gatepost, passed, tail(output.Bytes()))
	}
	return 0, output.Bytes(), nil
}

func countSessions(policies []Policy) int {
	n := 0
	for i := range policies {
		n += len(policies[i].Sessions)
	}
	return n
}

// keep writes a case to a file and shows what Gatepost says of it.
func (o *options) keep(ctx context.Context, out io.Writer, small Policy) error {
	name := small.ID
	if strings.HasPrefix(small.Title, small.ID) {
		name = strings.ReplaceAll(small.Title, " ", "-")
	}
	file := filepath.Join(o.out, "case-"+name+".jsonl")
	if err := writePolicies(file, []Policy{small}); err != nil {
		return err
	}
	_, said, err := o.judge(ctx, []Policy{small})
	if err != nil {
		return err
	}
	s := &small.Sessions[0]
	facts, err := json.Marshal(small.DNS)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s differs, kept as %s\n  host %s, features %v, class w %q, class R %q, DNS %s\n  access %q\n  client %+v, HELO %s, from %s to %q\n  sendmail: %s\n%s\n",
		small.Title, file, small.HostName, small.Features, small.LocalHosts, small.Relay, facts,
		small.Access, s.Client, s.Helo, s.MailFrom, s.RcptTo, s.Expected.summary(), tail(said))
	return nil
}
