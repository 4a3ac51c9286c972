package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatepost/milter/miltertest"
)

// session is a client that sends one message, and what it is to be told.
type session struct {
	what     string
	addr     string
	name     string // verified; "" none
	from, to string
	want     string // accepted, or the reply
}

// sessions are judged by examples/mail.
func sessions() []session {
	const stranger = "203.0.113.77"
	return []session{
		{"a stranger, to a local mailbox", stranger, "", "<a@list.example>", "<anna@example.com>", "accepted"},
		{"a stranger, to another stranger", stranger, "", "<a@list.example>", "<b@elsewhere.example>",
			"550 5.7.1 Relaying denied. IP name lookup failed [203.0.113.77]"},
		{"the same, with a verified name", stranger, "host.isp.example", "<a@list.example>", "<b@elsewhere.example>", "550 5.7.1 Relaying denied"},
		{"the same, by way of a local mailbox", stranger, "host.isp.example", "<a@list.example>", "<b%elsewhere.example@example.com>", "550 5.7.1 Relaying denied"},
		{"a client of ours, to a stranger", "192.0.2.44", "", "<anna@example.com>", "<b@elsewhere.example>", "accepted"},
		{"a blocked mailbox", stranger, "", "<a@list.example>", "<blocked@example.com>", "550 5.2.1 Mailbox disabled for this recipient"},
		{"a refused sender", stranger, "", "<x@spam.example>", "<anna@example.com>", "550 5.7.1 We do not take mail from spam.example"},
		{"a refused client", "198.51.100.66", "", "<a@list.example>", "<anna@example.com>", "550 5.7.1 Access denied"},
	}
}

// prove plays the sessions and an edit.
func prove(out io.Writer) error {
	fmt.Fprintln(out, "gatepost-milter on the example policy (examples/mail), asked as a mail server asks it:")
	fmt.Fprintln(out)
	var wrong int
	for _, s := range sessions() {
		got, err := s.play()
		if err != nil {
			return err
		}
		mark := ""
		if got != s.want {
			wrong++
			mark = "   EXPECTED " + s.want
		}
		fmt.Fprintf(out, "  %-36s %-14s MAIL %-20s RCPT %s\n  %36s -> %s%s\n", s.what, s.addr, s.from, s.to, "", got, mark)
	}
	if wrong > 0 {
		return fmt.Errorf("%d verdicts are not what the example policy says", wrong)
	}
	return proveEdit(out)
}

// proveEdit adds a line to the access table and waits for it to count.
func proveEdit(out io.Writer) error {
	const line = "To:elsewhere.example            RELAY\n"
	f, err := os.OpenFile(filepath.Join(folder, "mail", "access"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err = f.WriteString(line); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	start := time.Now()
	s := sessions()[1]
	for {
		got, err := s.play()
		if err != nil {
			return err
		}
		if took := time.Since(start); got == "accepted" {
			fmt.Fprintf(out, "\n  added to %s/mail/access:  %s  and %s is accepted %d ms later\n", folder, line, s.what, took.Milliseconds())
			return nil
		} else if took > 5*time.Second {
			return fmt.Errorf("the edit had no effect: %s", got)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// play asks until something is refused.
func (s session) play() (string, error) {
	c, err := miltertest.Dial("tcp", address, miltertest.Sendmail, miltertest.Full())
	if err != nil {
		return "", err
	}
	defer c.Close()
	peer := miltertest.Peer{Addr: netip.MustParseAddr(s.addr), Name: s.name, Ptr: s.name}
	for _, ask := range []func() (miltertest.Answer, error){
		func() (miltertest.Answer, error) { return c.Connect(peer) },
		func() (miltertest.Answer, error) { return c.Helo("client.example") },
		func() (miltertest.Answer, error) { return c.Mail(s.from) },
		func() (miltertest.Answer, error) { return c.Rcpt(s.to) },
	} {
		a, err := ask()
		if err != nil {
			return "", err
		}
		if a.Code != 'c' {
			return strings.ReplaceAll(a.Reply, "%%", "%"), nil
		}
	}
	return "accepted", c.Quit()
}
