package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"gatepost/internal/program"
	"gatepost/internal/setup"
)

const (
	statusTime = 10 * time.Second // for the daemon's answer
	maxStatus  = 4 << 20          // bytes of it
)

func statusCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "show the policy, the tables, the DNS lists and the queue of the running daemon",
		UsageText: programName + " status [--config FILE] [--json]",
		Description: "The daemon is asked at the admin.listen of the configuration. The exit code is 1 when a\n" +
			"table, the configuration or the certificate as it is now could not be taken over or a DNS\n" +
			"list is parked, 75 when the daemon does not answer.",
		Flags: []cli.Flag{program.ConfigFlag(), &cli.BoolFlag{Name: "json", Usage: "print the daemon's answer as it came"}},
		Action: func(c *cli.Context) error {
			if err := program.NoArguments(c); err != nil {
				return err
			}
			cfg, err := program.LoadConfig(c)
			if err != nil {
				return program.Usage(err)
			}
			if cfg.Admin.Listen == "" {
				return program.Usage(errors.New("the configuration has no [admin] listen at which the daemon could be asked, such as listen = \"127.0.0.1:9891\""))
			}
			answer, err := askDaemon(c.Context, cfg.Admin.Listen)
			if err != nil {
				return fmt.Errorf("the daemon at %s: %w", cfg.Admin.Listen, err)
			}
			return s.status(answer, c.Bool("json"))
		},
	}
}

// askDaemon gets the status from an admin listener, ADDRESS:PORT or unix:/PATH.
func askDaemon(ctx context.Context, listen string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	network, address := "tcp", listen
	if path, ok := strings.CutPrefix(listen, "unix:"); ok {
		network, address = "unix", path
	}
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gatepost/status", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		var wrapped interface{ Unwrap() error }
		if errors.As(err, &wrapped) { // without the made-up URL
			err = wrapped.Unwrap()
		}
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("it answered %s", response.Status)
	}
	return body, err
}

func (s streams) status(answer []byte, asJSON bool) error {
	var status setup.Status
	if err := json.Unmarshal(answer, &status); err != nil {
		return fmt.Errorf("the daemon's answer: %w", err)
	}
	if asJSON {
		if _, err := s.out.Write(answer); err != nil {
			return err
		}
	} else if err := s.printStatus(&status, time.Now()); err != nil {
		return err
	}
	bad := status.Reload
	for _, t := range status.Tables {
		bad = bad || t.LastError != ""
	}
	for _, l := range status.Lists {
		bad = bad || l.Parked != ""
	}
	bad = bad || status.Relay != nil && status.Relay.Certificate != nil && status.Relay.Certificate.Fault != ""
	if bad {
		return program.Exit(program.ExitWrong)
	}
	return nil
}

func (s streams) printStatus(status *setup.Status, now time.Time) error {
	config := status.Config
	if config == "" {
		config = "no configuration file"
	}
	fmt.Fprintf(s.out, "gatepost %s, %s\n", program.Printable(status.Version), program.Printable(config))
	fmt.Fprintf(s.out, "policy %d, in force for %s\n", status.Generation, age(now, status.Since))
	if status.Reload {
		fmt.Fprintln(s.out, "the last reload or edit could not be taken over; older settings are in force")
	}
	fmt.Fprintln(s.out)
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TABLE\tKIND\tENTRIES\tBYTES\tLOADED\tPROBLEMS\tWHERE")
	for _, t := range status.Tables {
		where := t.Path
		switch {
		case t.Reading != "":
			where += " (read: " + t.Reading + ")"
		case t.Missing:
			where += " (does not exist)"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%d\t%s\n", program.Printable(t.Table), program.Printable(t.Kind),
			t.Entries, t.Bytes, age(now, t.LoadedAt), t.Problems, program.Printable(where))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, t := range status.Tables {
		if t.LastError != "" {
			fmt.Fprintf(s.out, "\n%s: %s (for %s)\n", program.Printable(t.Table), program.Printable(t.LastError), age(now, t.LastErrorAt))
		}
	}
	if err := s.printLists(status.Lists, now); err != nil {
		return err
	}
	return s.printRelay(status, now)
}

// printRelay shows the queue of gatepost-relay, and the messages that wait for somebody.
func (s streams) printRelay(status *setup.Status, now time.Time) error {
	r := status.Relay
	if r == nil {
		return nil
	}
	oldest := ""
	if !r.Oldest.IsZero() {
		oldest = ", the oldest for " + age(now, r.Oldest)
	}
	fmt.Fprintf(s.out, "\nqueue %s: %d messages, %d bytes%s\n", program.Printable(r.Spool), r.Messages, r.Bytes, oldest)
	fmt.Fprintf(s.out, "being delivered %d, deferred %d, held %d; connections %d\n", r.Active, r.Deferred, r.Held, r.Connections)
	to := r.NextHop
	if to == "" {
		to = "the mail exchangers of each domain"
	}
	if slices.ContainsFunc(status.Tables, func(t setup.TableStatus) bool { return t.Table == "mailertable" }) {
		to = "where the mailertable says, else to " + to
	}
	fmt.Fprintf(s.out, "to %s; local mail: %s\n", program.Printable(to), program.Printable(r.LocalMail))
	for _, d := range r.Down {
		fmt.Fprintf(s.out, "%s is down for %s: %s\n", program.Printable(d.NextHop), age(now, d.Since), program.Printable(d.Reason))
	}
	s.printListeners(r)
	if len(r.Hold) == 0 {
		return nil
	}
	fmt.Fprintln(s.out)
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HELD\tFOR\tBYTES\tFROM\tTO\tREASON")
	for _, m := range r.Hold {
		fmt.Fprintf(w, "%s\t%s\t%d\t<%s>\t%d\t%s\n", program.Printable(m.ID), age(now, m.Arrived), m.Size,
			program.Printable(m.Sender), m.Recipients, program.Printable(m.Reason))
	}
	return w.Flush()
}

// printListeners shows where mail is taken, and under which certificate.
func (s streams) printListeners(r *setup.RelayStatus) {
	for _, l := range r.Listeners {
		auth := ""
		if l.Auth {
			auth = ", AUTH"
		}
		fmt.Fprintf(s.out, "at %s: %s (%s, TLS %s%s)\n", program.Printable(l.Address), program.Printable(l.Name), program.Printable(l.Kind),
			program.Printable(l.TLS), auth)
	}
	if c := r.Certificate; c != nil {
		fmt.Fprintf(s.out, "certificate for %s until %s: %s\n", program.Printable(c.Names), c.NotAfter.UTC().Format(time.DateOnly), program.Printable(c.File))
		if c.Fault != "" {
			fmt.Fprintf(s.out, "the certificate as it is now is not in force: %s\n", program.Printable(c.Fault))
		}
	}
}

// printLists shows the DNS lists, and under them what is wrong with each.
func (s streams) printLists(lists []setup.ListStatus, now time.Time) error {
	if len(lists) == 0 {
		return nil
	}
	fmt.Fprintln(s.out)
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DNS LIST\tOF\tSTATE\tPROBED\tQUERIES\tHITS\tERRORS")
	for _, l := range lists {
		state := "asked"
		if l.Parked != "" {
			state = "parked"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", program.Printable(l.Zone), program.Printable(l.Lookup), state,
			age(now, l.ProbedAt), l.Queries, l.Hits, l.Errors)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, l := range lists {
		switch {
		case l.Parked != "":
			fmt.Fprintf(s.out, "\n%s is parked, mail passes it: %s (for %s)\n", program.Printable(l.Zone), program.Printable(l.Parked), age(now, l.ParkedAt))
		case l.Warning != "":
			fmt.Fprintf(s.out, "\n%s: %s\n", program.Printable(l.Zone), program.Printable(l.Warning))
		}
	}
	return nil
}

// age is how long ago something was, to the second.
func age(now, then time.Time) string {
	if then.IsZero() {
		return "never"
	}
	return now.Sub(then).Truncate(time.Second).String()
}
