// Package bounce writes reports about what became of a message: that it could not be
// delivered, that it is late, or that it has arrived where its sender asked to be told.
// They are multipart/report messages of RFC 6522 with the delivery status of RFC 3464, as
// RFC 3461 has them asked for. docs/bounces.md has an example of each.
package bounce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"time"

	"gatepost/relay/spool"
)

// Kind is what a report is about.
type Kind uint8

// The kinds of reports. Kinds is their number.
const (
	Failure Kind = iota // recipients who will not get the message
	Delay               // recipients who have not got it yet
	Success             // recipients who have
	Kinds   = iota
)

// String is the kind in the word that metrics and log have for it.
func (k Kind) String() string {
	return [...]string{"failure", "delay", "success"}[k]
}

// Message is the one that a report is about: canonical CRLF, header first.
type Message interface {
	Size() int64
	Open() (io.ReadSeekCloser, error)
}

// Report is what is to be told about a message.
type Report struct {
	Kind       Kind
	Envelope   *spool.Envelope // with the recipients' states as of now
	Message    Message
	Recipients []int     // indexes of those in Envelope that it is about
	Final      []int     // of them, those whose mailboxes have it; others' next hop has
	RetryUntil time.Time // Delay: until then it is tried
}

// DefaultSize is how large a message may be to be returned whole.
const DefaultSize = 50 << 10

// Config is what a Writer is told.
type Config struct {
	Spool *spool.Spool

	// HostName is the name of this host: the Reporting-MTA, and the domain of MAILER-DAEMON.
	HostName string

	// Size is up to how many bytes a message is returned whole with a report of failure,
	// unless its sender said RET=HDRS; otherwise its header is. 0: always the header.
	Size int64

	// CopyTo gets a copy of each report of failure, without the message's body (sendmail's
	// confCOPY_ERRORS_TO); "": nobody does.
	CopyTo string

	// DoubleTo is told of messages from the null sender that fail: of reports, for instance
	// (sendmail's confDOUBLE_BOUNCE_ADDRESS). "": they are dropped, and the log says so.
	DoubleTo string

	Lifetime time.Duration // for how long messages are tried

	Log *slog.Logger // nil: slog.Default()
}

// Writer writes reports into a spool. Its methods are safe for concurrent use.
type Writer struct{ c Config }

// New returns a Writer.
func New(c Config) *Writer {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Writer{c}
}

// Write puts a report into the spool, and one more for the postmaster where the
// configuration wants it. What it returns is on the disk, and to be given to the queue.
// It is nothing when nobody is to be told: about a report no report is sent. The error is
// that of the spool, or of reading the message; then there is none of them.
func (w *Writer) Write(ctx context.Context, r *Report) ([]*spool.Message, error) {
	var letters []letter
	switch from := r.Envelope.Sender; {
	case from != "":
		letters = append(letters, letter{Report: r, to: from, whole: r.Kind == Failure && r.Envelope.Ret != "HDRS"})
		if w.c.CopyTo != "" && r.Kind == Failure {
			letters = append(letters, letter{Report: r, to: w.c.CopyTo, postmaster: true})
		}
	case r.Kind != Failure:
		return nil, nil
	case w.c.DoubleTo == "" || r.isFor(w.c.DoubleTo) || isNotice(r.Message):
		w.c.Log.Warn("message from the null sender is dropped", "queue", r.Envelope.ID, "to", r.addresses(), "reply", r.recipient(0).Reply)
		return nil, nil
	default:
		letters = append(letters, letter{Report: r, to: w.c.DoubleTo, postmaster: true, whole: true})
	}
	var written []*spool.Message
	for i := range letters {
		m, err := w.post(ctx, &letters[i])
		if err != nil {
			w.takeBack(written)
			return nil, fmt.Errorf("report about %s to %s: %w", r.Envelope.ID, letters[i].to, err)
		}
		w.c.Log.Info("report", "queue", m.ID(), "about", r.Envelope.ID, "kind", r.Kind.String(), "to", letters[i].to, "recipients", len(r.Recipients))
		written = append(written, m)
	}
	return written, nil
}

// takeBack removes reports that are to be written once more, all of them.
func (w *Writer) takeBack(all []*spool.Message) {
	for _, m := range all {
		if err := m.Remove(); err != nil {
			w.c.Log.Error("a report cannot be taken back and may come twice", "queue", m.ID(), "error", err)
		}
	}
}

// noticeSubject is that of what a postmaster gets, from sendmail too.
const noticeSubject = "Postmaster notify: see transcript for details"

// isNotice tells whether a message is for a postmaster already. Another one is not told of
// it: he may be the first one's, and send it back. What cannot be read is none.
func isNotice(m Message) bool {
	body, err := m.Open()
	if err != nil {
		return false
	}
	defer body.Close()
	head, err := headerOf(body)
	return err == nil && bytes.Contains(append([]byte("\r\n"), head...), []byte("\r\nSubject: "+noticeSubject+"\r\n"))
}

// isFor tells whether all that a report is about went to one address.
func (r *Report) isFor(address string) bool {
	return !slices.ContainsFunc(r.Recipients, func(i int) bool {
		return !strings.EqualFold(r.Envelope.Recipients[i].Address, address)
	})
}

func (r *Report) recipient(n int) *spool.Recipient { return &r.Envelope.Recipients[r.Recipients[n]] }

// addresses are for the log: the first few.
func (r *Report) addresses() []string {
	var all []string
	for n := range r.Recipients[:min(len(r.Recipients), 5)] {
		all = append(all, r.recipient(n).Address)
	}
	return all
}

// letter is a report on its way to somebody.
type letter struct {
	*Report
	to         string
	postmaster bool // who is told of what others have sent
	whole      bool // the message is returned, not just its header, unless it is too large

	returned returned
	utf8     bool // what is told needs it (RFC 6533)
	boundary string
	id       string
	now      time.Time
}

// post writes one into the spool.
func (w *Writer) post(ctx context.Context, l *letter) (*spool.Message, error) {
	body, err := l.Message.Open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if err := l.look(body, l.whole && l.Message.Size() <= w.c.Size); err != nil {
		return nil, err
	}
	out, err := w.c.Spool.Create(spool.Envelope{
		Arrived:    l.now,
		EightBit:   l.utf8 || l.returned.eightBit,
		UTF8:       l.utf8,
		Recipients: []spool.Recipient{{Address: l.to}},
	})
	if err != nil {
		return nil, err
	}
	defer out.Abort()
	l.id = out.ID()
	if err := w.compose(out, l, body); err != nil {
		return nil, err
	}
	return out.Commit(ctx)
}

// look settles what form a report has. Of a message that the disk has damaged, or cannot
// read any more, nothing is returned.
func (l *letter) look(body io.ReadSeeker, whole bool) (err error) {
	l.utf8 = l.Envelope.UTF8 || !ascii(l.to)
	l.now = time.Now()
	if l.returned, err = survey(body, whole); errors.Is(err, spool.ErrDamaged) || errors.Is(err, syscall.EIO) {
		l.returned, err = returned{}, nil
	}
	return err
}
