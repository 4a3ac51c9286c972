package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"gatepost/internal/control"
	"gatepost/internal/program"
)

// queuePrinter prints an answer as it comes.
type queuePrinter struct {
	out    *bufio.Writer
	op     control.Op
	all    bool // of the queue: that it is empty can be said
	json   bool
	now    time.Time
	count  int
	bytes  int64
	failed int // messages that could not be found or commanded
}

func newQueuePrinter(out io.Writer, r *control.Request, asJSON bool) *queuePrinter {
	f := &r.Filter
	return &queuePrinter{
		out: bufio.NewWriter(out), op: r.Op, json: asJSON, now: time.Now(),
		all: len(f.IDs) == 0 && f.Recipient == "" && f.Sender == "" && f.NextHop == "" && f.Older == 0 && f.Newer == 0 && f.State == "",
	}
}

// line prints one line of the answer.
func (p *queuePrinter) line(l *control.Line) error {
	if l.Result != nil && l.Result.Error != "" {
		p.failed++
	} else {
		p.count++
	}
	switch {
	case p.json && l.Item != nil:
		return json.NewEncoder(p.out).Encode(l.Item)
	case p.json:
		return json.NewEncoder(p.out).Encode(l.Result)
	case l.Result != nil && l.Result.Error != "":
		_, err := fmt.Fprintf(p.out, "%s: %s\n", program.Printable(l.Result.ID), program.Printable(l.Result.Error))
		return err
	case l.Result != nil:
		return nil
	case p.op == control.Why:
		return p.why(l.Item)
	}
	p.bytes += l.Item.Size
	return p.item(l.Item)
}

// column is where recipients and senders begin.
const column = 44

// item prints a message as Postfix's mailq does: * is being delivered, ! is held. A
// reason stands once above the recipients that it is of.
func (p *queuePrinter) item(i *control.Item) error {
	if p.count == 1 {
		fmt.Fprintf(p.out, "%-13s %8s %-20s %s\n", "-Queue ID-", "--Size--", "---Arrival Time---", "-Sender/Recipient------")
	} else {
		fmt.Fprintln(p.out)
	}
	mark := map[control.State]string{control.Active: "*", control.Held: "!"}[i.State]
	fmt.Fprintf(p.out, "%-13s %8d %-20s %s\n", program.Printable(i.ID+mark), i.Size, i.Arrived.Local().Format("Mon Jan _2 15:04:05"), address(i.Sender))
	if i.Hold != "" {
		fmt.Fprintf(p.out, "(held: %s)\n", program.Printable(i.Hold))
	}
	last := ""
	for _, r := range i.Recipients {
		if r.State != "pending" && r.State != "failed" {
			continue
		}
		reason := r.Reply
		if reason == "" && i.State != control.Held {
			reason = i.Reason
		}
		if reason != "" && reason != last {
			fmt.Fprintf(p.out, "(%s)\n", program.Printable(reason))
		}
		last = reason
		if _, err := fmt.Fprintf(p.out, "%*s%s\n", column, "", address(r.Address)); err != nil {
			return err
		}
	}
	return nil
}

// address is one for people; the null sender is MAILER-DAEMON, as for sendmail.
func address(s string) string {
	if s == "" {
		return "MAILER-DAEMON"
	}
	return program.Printable(s)
}

// why prints all that is known of a message's recipients.
func (p *queuePrinter) why(i *control.Item) error {
	if p.count > 1 {
		fmt.Fprintln(p.out)
	}
	fmt.Fprintf(p.out, "%s from <%s>, %d bytes, here for %s", program.Printable(i.ID), program.Printable(i.Sender), i.Size, age(p.now, i.Arrived))
	if i.Client != "" {
		fmt.Fprintf(p.out, ", brought by %s", program.Printable(i.Client))
	}
	fmt.Fprintf(p.out, "\n%s\n", p.state(i))
	if i.Fault != "" {
		fmt.Fprintf(p.out, "its envelope cannot be read: %s\n", program.Printable(i.Fault))
	}
	for _, r := range i.Recipients {
		fmt.Fprintf(p.out, "  <%s>: %s\n", program.Printable(r.Address), program.Printable(r.State))
		detail := func(what, text string) {
			if text != "" {
				fmt.Fprintf(p.out, "    %-12s%s\n", what, program.Printable(text))
			}
		}
		detail("last answer", r.Reply)
		hop := r.NextHop
		if hop != "" && r.Route != "" {
			hop += " (" + r.Route + ")"
		}
		detail("next hop", hop)
		detail("no route", r.Fault)
		if d := r.Down; d != nil {
			detail("down", fmt.Sprintf("for %s, tried again %s: %s", age(p.now, d.Since), p.when(d.Until), d.Reason))
		}
	}
	return nil
}

// state says what a message waits for.
func (p *queuePrinter) state(i *control.Item) string {
	tried := fmt.Sprintf("%d attempts so far", i.Attempts)
	if i.Attempts == 1 {
		tried = "1 attempt so far"
	}
	switch i.State {
	case control.Held:
		return "held: " + program.Printable(i.Hold)
	case control.Active:
		return "being delivered now; " + tried
	case control.Deferred:
		return tried + ", the next one " + p.when(i.NextTry)
	}
	return "ready: it is tried as soon as there is a free place or its destination is up; " + tried
}

// when is a time from now on.
func (p *queuePrinter) when(t time.Time) string {
	if d := t.Sub(p.now).Round(time.Second); d > 0 {
		return "in " + d.String() + " (" + t.Local().Format("Jan _2 15:04:05") + ")"
	}
	return "now"
}

// end prints the last line. An answer that is not whole has none.
func (p *queuePrinter) end(whole bool) error {
	if whole && !p.json {
		switch {
		case p.op == control.List && p.count > 0:
			fmt.Fprintf(p.out, "\n-- %d Kbytes in %d %s.\n", (p.bytes+1023)/1024, p.count, plural(p.count, "Request"))
		case p.op == control.List && p.all:
			fmt.Fprintln(p.out, "Mail queue is empty")
		case p.op == control.List || p.op == control.Why:
			if p.count+p.failed == 0 {
				fmt.Fprintln(p.out, "no such message")
			}
		default:
			fmt.Fprintf(p.out, "%s: %d %s\n", p.op, p.count, plural(p.count, "message"))
		}
	}
	return p.out.Flush()
}

func plural(n int, word string) string {
	if n == 1 {
		return word
	}
	return word + "s"
}
