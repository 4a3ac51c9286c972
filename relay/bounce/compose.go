package bounce

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"gatepost/relay/spool"
)

const dateForm = "Mon, 2 Jan 2006 15:04:05 -0700" // RFC 5322, 3.3

// compose writes a report; body is the message that it is about, at its beginning.
func (w *Writer) compose(out io.Writer, l *letter, body io.Reader) error {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return err
	}
	l.boundary = l.id + "." + hex.EncodeToString(random[:])
	b := bufio.NewWriterSize(out, 8<<10)
	t := text{b}
	w.header(t, l)
	t.line("--%s", l.boundary)
	w.notice(t, l)
	t.line("--%s", l.boundary)
	w.status(t, l)
	t.line("--%s", l.boundary)
	t.line("Content-Type: %s", l.returned.mediaType(l.utf8))
	t.line("Content-Transfer-Encoding: %s", encoding(l.returned.eightBit))
	t.line("")
	if _, err := io.Copy(b, io.LimitReader(body, l.returned.size)); err != nil {
		return err
	}
	if l.returned.openEnd {
		t.line("")
	}
	t.line("")
	t.line("--%s--", l.boundary)
	return b.Flush()
}

// text writes lines. Errors are found when all is flushed.
type text struct{ w *bufio.Writer }

func (t text) line(format string, args ...any) {
	fmt.Fprintf(t.w, format, args...)
	t.w.WriteString("\r\n")
}

func encoding(eightBit bool) string {
	if eightBit {
		return "8bit"
	}
	return "7bit"
}

func (w *Writer) header(t text, l *letter) {
	t.line("Date: %s", l.now.Format(dateForm))
	t.line("From: Mail Delivery Subsystem <MAILER-DAEMON@%s>", w.c.HostName)
	t.line("To: <%s>", l.printable(l.to))
	t.line("Subject: %s", l.subject())
	t.line("Message-ID: <%s.%d@%s>", l.id, l.now.Unix(), w.c.HostName)
	t.line("Auto-Submitted: auto-replied")
	t.line("MIME-Version: 1.0")
	t.line("Content-Type: multipart/report; report-type=%s;", l.statusType())
	t.line("\tboundary=\"%s\"", l.boundary)
	t.line("Content-Transfer-Encoding: %s", encoding(l.utf8 || l.returned.eightBit))
	t.line("")
	t.line("This is a MIME-encapsulated message.")
	t.line("")
}

// statusType is the second part's subtype (RFC 6533, section 4).
func (l *letter) statusType() string {
	if l.utf8 {
		return "global-delivery-status"
	}
	return "delivery-status"
}

func (l *letter) subject() string {
	switch {
	case l.postmaster:
		return noticeSubject
	case l.Kind == Delay:
		return "Warning: could not send message for past " + hours(l.now.Sub(l.since()))
	case l.Kind == Success:
		return "Return receipt"
	}
	return "Returned mail: see transcript for details"
}

func (l *letter) since() time.Time {
	if l.Envelope.Since.IsZero() {
		return l.Envelope.Arrived
	}
	return l.Envelope.Since
}

// hours is a time in the unit that a reader has a feeling for.
func hours(d time.Duration) string {
	unit, n := "minute", int(d/time.Minute)
	switch {
	case d >= 48*time.Hour:
		unit, n = "day", int(d/(24*time.Hour))
	case d >= 2*time.Hour:
		unit, n = "hour", int(d/time.Hour)
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// notice is the part for people. Its headings are those of sendmail, which scripts look for.
func (w *Writer) notice(t text, l *letter) {
	charset := "us-ascii"
	if l.utf8 {
		charset = "utf-8"
	}
	t.line("Content-Type: text/plain; charset=%s", charset)
	t.line("Content-Transfer-Encoding: %s", encoding(l.utf8))
	t.line("")
	w.opening(t, l)
	t.line("The message was received by %s at %s", w.c.HostName, l.Envelope.Arrived.Format(dateForm))
	if c := &l.Envelope.Client; c.Addr.IsValid() {
		t.line("from %s [%s]", l.printable(or(c.Name, c.Helo)), c.Addr)
	}
	if l.postmaster {
		t.line("with the sender <%s>", l.printable(l.Envelope.Sender))
	}
	t.line("")
	t.line("   ----- The following addresses had %s -----", l.heading())
	for n := range l.Recipients {
		w.outcome(t, l, n)
	}
	t.line("")
	w.transcript(t, l)
	if l.Kind == Failure && !l.returned.whole {
		t.line("Only the header of the message is returned.")
		t.line("")
	}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (w *Writer) opening(t text, l *letter) {
	switch {
	case l.postmaster && l.Envelope.Sender == "":
		t.line("A message without a sender, most likely a report, could not be delivered.")
	case l.postmaster:
		t.line("This is a copy of what a sender was told: his message could not be delivered.")
	case l.Kind == Failure:
		t.line("Your message could not be delivered to everybody. It was not, and will not be,")
		t.line("delivered to those who are named below.")
	case l.Kind == Delay:
		t.line("    **********************************************")
		t.line("    **      THIS IS A WARNING MESSAGE ONLY      **")
		t.line("    **  YOU DO NOT NEED TO RESEND YOUR MESSAGE  **")
		t.line("    **********************************************")
		t.line("")
		t.line("Your message has not been delivered yet to those who are named below. It will be")
		t.line("tried further until %s.", l.RetryUntil.Format(dateForm))
	default:
		t.line("You have asked to be told: your message has been handed on for those who are")
		t.line("named below.")
	}
	t.line("")
}

func (l *letter) heading() string {
	switch l.Kind {
	case Delay:
		return "transient non-fatal errors"
	case Success:
		return "successful delivery notifications"
	}
	return "permanent fatal errors"
}

func (w *Writer) outcome(t text, l *letter, n int) {
	to := l.recipient(n)
	if l.Kind == Success {
		t.line("<%s>  (%s)", l.printable(to.Address), map[string]string{
			"delivered": "successfully delivered to mailbox",
			"relayed":   "relayed to a mail server that sends no receipts",
		}[l.action(n)])
		return
	}
	t.line("<%s>", l.printable(to.Address))
	if reply := l.reply(n); reply.text != "" {
		t.line("    (reason: %s)", l.printable(reply.text))
	}
	if asked, ok := originalRecipient(to.ORcpt); ok && !strings.EqualFold(asked.address, to.Address) {
		t.line("    (expanded from: <%s>)", l.printable(asked.address))
	}
}

// transcript has what next hops said, in sendmail's form.
func (w *Writer) transcript(t text, l *letter) {
	t.line("   ----- Transcript of session follows -----")
	last := ""
	for n := range l.Recipients {
		to := l.recipient(n)
		reply := l.reply(n)
		if reply.relay != "" && reply.relay != last {
			t.line("... while talking to %s:", l.printable(reply.relay))
			last = reply.relay
		}
		switch {
		case reply.smtp:
			t.line("<<< %s", l.printable(reply.text))
		case reply.text != "":
			t.line("%s <%s>... %s", l.status(n), l.printable(to.Address), l.printable(reply.text))
		}
		if reply.expired {
			t.line("Message could not be delivered for %s", hours(w.c.Lifetime))
		}
	}
	if l.Kind == Delay {
		t.line("Warning: message still undelivered after %s", hours(l.now.Sub(l.since())))
		t.line("Will keep trying until message is %s old", hours(w.c.Lifetime))
	}
	t.line("")
}

// status is the part for programs (RFC 3464, section 2).
func (w *Writer) status(t text, l *letter) {
	env := l.Envelope
	t.line("Content-Type: message/%s", l.statusType())
	t.line("Content-Transfer-Encoding: %s", encoding(l.utf8))
	t.line("")
	if env.EnvID != "" {
		t.line("Original-Envelope-Id: %s", l.decoded(env.EnvID))
	}
	t.line("Reporting-MTA: dns; %s", w.c.HostName)
	if name := or(env.Client.Helo, env.Client.Name); name != "" {
		t.line("Received-From-MTA: dns; %s", l.printable(name))
	}
	t.line("Arrival-Date: %s", env.Arrived.Format(dateForm))
	for n := range l.Recipients {
		t.line("")
		l.recipientStatus(t, n)
	}
	t.line("")
}

// recipientStatus are the fields of one recipient, in the order of RFC 3464, 2.3.
func (l *letter) recipientStatus(t text, n int) {
	to := l.recipient(n)
	if asked, ok := originalRecipient(to.ORcpt); ok {
		t.line("Original-Recipient: %s; %s", l.printable(asked.kind), l.printable(asked.address))
	}
	kind := "rfc822"
	if l.utf8 && !ascii(to.Address) {
		kind = "utf-8"
	}
	t.line("Final-Recipient: %s; %s", kind, l.printable(to.Address))
	t.line("Action: %s", l.action(n))
	t.line("Status: %s", l.status(n))
	reply := l.reply(n)
	if reply.host != "" && (reply.smtp || strings.Contains(reply.relay, "[")) {
		t.line("Remote-MTA: dns; %s", l.printable(reply.host))
	}
	switch {
	case reply.smtp:
		t.line("Diagnostic-Code: smtp; %s", l.printable(reply.text))
	case reply.text != "":
		t.line("Diagnostic-Code: x-gatepost; %s", l.printable(reply.text))
	}
	t.line("Last-Attempt-Date: %s", l.now.Format(dateForm))
	if l.Kind == Delay {
		t.line("Will-Retry-Until: %s", l.RetryUntil.Format(dateForm))
	}
}

// action is what RFC 3464, 2.3.3 calls what has become of the n-th recipient.
func (l *letter) action(n int) string {
	switch l.Kind {
	case Delay:
		return "delayed"
	case Failure:
		return "failed"
	}
	for _, i := range l.Final {
		if i == l.Recipients[n] {
			return "delivered"
		}
	}
	return "relayed"
}

// status is the enhanced status code of the n-th recipient, made up where there is none.
func (l *letter) status(n int) string {
	to := l.recipient(n)
	class := [Kinds]string{Failure: "5", Delay: "4", Success: "2"}[l.Kind]
	switch first, _, _ := strings.Cut(to.Status, "."); {
	case !validStatus(to.Status):
	case first == class, l.Kind == Failure && first == "4": // it was tried for too long
		return to.Status
	}
	return class + ".0.0"
}

func validStatus(s string) bool {
	parts := strings.Split(s, ".")
	for _, p := range parts {
		if len(p) == 0 || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return len(parts) == 3
}

var _ Message = (*spool.Message)(nil)
