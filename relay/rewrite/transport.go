package rewrite

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"gatepost/internal/smtp"
	"gatepost/relay/deliver"
	"gatepost/relay/spool"
)

// maxHeader is how long a header may be that is rewritten, in bytes: what a session takes,
// and what the relay itself has put in front.
const maxHeader = 1<<20 + 64<<10

// Transport has a message rewritten on its way to another transport. It is compared by its
// address. The fields are set before it is used.
type Transport struct {
	Next     deliver.Transport
	Mailer   Mailer
	Rewriter func() *Rewriter // the one in force; asked once for each delivery
	Log      *slog.Logger     // nil: none
}

// String is where it goes to.
func (t *Transport) String() string { return t.Next.String() }

// Deliver implements deliver.Transport. A message that cannot be rewritten because a table
// cannot be asked waits: it never goes out as it is.
func (t *Transport) Deliver(ctx context.Context, destination string, m deliver.Message, recipients []int) []deliver.Result {
	r := t.Rewriter()
	if !r.Active() {
		return t.Next.Deliver(ctx, destination, m, recipients)
	}
	rewritten, err := r.message(ctx, t.Mailer, destination, m, recipients)
	if err != nil {
		if t.Log != nil {
			t.Log.Error("a message cannot be rewritten", "queue", m.Envelope().ID, "error", err)
		}
		results := make([]deliver.Result, len(recipients))
		for i := range results {
			results[i] = failure(err)
			results[i].Relay = t.Next.String()
		}
		return results
	}
	return t.Next.Deliver(ctx, destination, rewritten, recipients)
}

// failure is what becomes of recipients of a message that cannot be rewritten.
func failure(err error) deliver.Result {
	switch {
	case errors.Is(err, spool.ErrDamaged):
		return deliver.Result{Outcome: deliver.Failed, Status: smtp.EnhancedCode{Class: 5, Subject: 6}, Reply: spool.ErrDamaged.Error()}
	case errors.Is(err, errGrown):
		return deliver.Result{Outcome: deliver.Failed, Status: smtp.EnhancedCode{Class: 5, Subject: 3, Detail: 4},
			Reply: "the header is too long for its addresses to be rewritten"}
	}
	return deliver.Result{Outcome: deliver.Deferred, Status: smtp.EnhancedCode{Class: 4, Subject: 3},
		Reply: "the addresses cannot be rewritten just now"}
}

// message is m with sender, recipients of those indexes and header rewritten, or m itself
// when there is nothing to change.
func (r *Rewriter) message(ctx context.Context, mailer Mailer, destination string, m deliver.Message, recipients []int) (deliver.Message, error) {
	account := ""
	if !mailer.isLocal() {
		account = r.c.Accounts.of(destination)
	}
	if account == "" && !r.masquerades() {
		return m, nil
	}
	out := &message{Message: m}
	changed, err := r.envelope(ctx, mailer, account, m.Envelope(), recipients, out)
	if err != nil {
		return nil, err
	}
	old, err := readHeader(m)
	if err != nil {
		return nil, fmt.Errorf("reading the header: %w", err)
	}
	header, err := r.Header(ctx, mailer, account, old)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(old, header) {
		out.old, out.header = int64(len(old)), header
		changed = true
	}
	if !changed {
		return m, nil
	}
	return out, nil
}

// envelope rewrites the addresses of an envelope that this delivery is about: a message may
// go to very many places. Recipients only get a domain.
func (r *Rewriter) envelope(ctx context.Context, mailer Mailer, account string, env spool.Envelope, recipients []int, out *message) (changed bool, err error) {
	sender, err := r.Address(ctx, mailer, EnvelopeSender, env.Sender)
	if err != nil {
		return false, err
	}
	if out.sender = env.Sender; sender.Changed {
		out.sender = sender.Address
	}
	if account != "" && env.Sender != "" {
		out.sender = account
	}
	for _, i := range recipients {
		a, err := r.Address(ctx, mailer, EnvelopeRecipient, env.Recipients[i].Address)
		if err != nil {
			return false, err
		}
		if a.Changed {
			if out.recipients == nil {
				out.recipients = map[int]string{}
			}
			out.recipients[i] = a.Address
		}
	}
	return out.sender != env.Sender || out.recipients != nil, nil
}

// readHeader reads a message up to its first empty line, which is not part of it.
func readHeader(m deliver.Message) ([]byte, error) {
	body, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	in := bufio.NewReaderSize(body, 16<<10)
	var header []byte
	for {
		line, err := in.ReadSlice('\n')
		if string(line) == "\r\n" && (len(header) == 0 || header[len(header)-1] == '\n') {
			return header, nil
		}
		header = append(header, line...)
		switch {
		case len(header) > maxHeader:
			return nil, errGrown
		case errors.Is(err, io.EOF):
			return header, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// message is one that is rewritten.
type message struct {
	deliver.Message
	sender     string
	recipients map[int]string // those of another address
	old        int64          // length of the header that is replaced
	header     []byte         // nil: it is as it was
}

// Envelope is the message's, with the rewritten sender.
func (m *message) Envelope() spool.Envelope {
	env := m.Message.Envelope()
	env.Sender = m.sender
	if m.recipients != nil {
		env.Recipients = append([]spool.Recipient(nil), env.Recipients...)
	}
	for i, to := range m.recipients {
		if i < len(env.Recipients) {
			env.Recipients[i].Address = to
		}
	}
	return env
}

// Size is that of what Open gives.
func (m *message) Size() int64 { return m.Message.Size() - m.old + int64(len(m.header)) }

// Open gives the message with its new header.
func (m *message) Open() (io.ReadSeekCloser, error) {
	body, err := m.Message.Open()
	if err != nil || m.header == nil {
		return body, err
	}
	return &reader{message: body, header: m.header, old: m.old, size: m.Size()}, nil
}

// Settled is passed on to who wants to know at once.
func (m *message) Settled(recipients []int, results []deliver.Result) {
	if s, ok := m.Message.(interface{ Settled([]int, []deliver.Result) }); ok {
		s.Settled(recipients, results)
	}
}

// reader reads a new header, and then the rest of the message. The message is read in one
// go, with its old header, so that damage is found at its end.
type reader struct {
	message io.ReadSeekCloser
	header  []byte
	old     int64
	size    int64
	pos     int64 // in what is read
	inBody  bool  // message stands where pos is
}

func (r *reader) Read(p []byte) (int, error) {
	if r.pos < int64(len(r.header)) {
		n := copy(p, r.header[r.pos:])
		r.pos += int64(n)
		return n, nil
	}
	if !r.inBody {
		if _, err := io.CopyN(io.Discard, r.message, r.old); errors.Is(err, io.EOF) {
			return 0, io.ErrUnexpectedEOF
		} else if err != nil {
			return 0, err
		}
		r.inBody = true
	}
	n, err := r.message.Read(p)
	r.pos += int64(n)
	return n, err
}

// Seek implements io.Seeker.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return r.pos, errors.New("rewrite: seek to before the message")
	}
	to := int64(0)
	if r.inBody = offset > int64(len(r.header)); r.inBody {
		to = r.old + offset - int64(len(r.header))
	}
	if _, err := r.message.Seek(to, io.SeekStart); err != nil {
		return r.pos, err
	}
	r.pos = offset
	return offset, nil
}

func (r *reader) Close() error { return r.message.Close() }
