package submit

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/mail"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gatepost/internal/peer"
)

// Exit codes of sysexits.h.
const (
	ExUsage       = 64
	ExDataErr     = 65
	ExNoUser      = 67
	ExNoHost      = 68
	ExUnavailable = 69
	ExOSErr       = 71
	ExTempFail    = 75
	ExConfig      = 78
	ExNoPerm      = 77
)

// maxRecipients bounds the recipients of one call; the relay has its own limit for one
// transaction.
const maxRecipients = 100_000

// Fault is an error with the exit code that it ends with.
type Fault struct {
	Code int
	Err  error
}

func (f *Fault) Error() string { return f.Err.Error() }
func (f *Fault) Unwrap() error { return f.Err }

func fault(code int, err error) error { return &Fault{code, err} }

// Send reads a message and hands it to the relay at a socket. Every recipient that was
// refused is a line of the error, whose Fault says how the program ends.
func Send(ctx context.Context, socket string, o *Options, in io.Reader) error {
	m, err := read(o, in)
	if err != nil {
		return err
	}
	defer m.body.close()
	s, err := open(ctx, socket)
	if err != nil {
		return unreachable(socket, err)
	}
	defer s.close()
	if err := m.finish(s); err != nil {
		return err
	}
	out, err := s.send(&m.message)
	if err != nil {
		if out.taken > 0 {
			err = errors.Join(err, fmt.Errorf("the message goes to %d recipients all the same", out.taken))
		}
		return fault(ExTempFail, err)
	}
	_, _ = s.say("QUIT")
	return out.err()
}

// unreachable says why the relay could not be asked.
func unreachable(socket string, err error) error {
	var r reply
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fault(ExNoPerm, fmt.Errorf("the relay at %s: %w", socket, err))
	case errors.As(err, &r):
		return fault(r.exit(), fmt.Errorf("the relay answers %w", r))
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fault(ExTempFail, fmt.Errorf("the relay does not run: nobody listens at %s", socket))
	}
	return fault(ExTempFail, fmt.Errorf("the relay at %s: %w", socket, err))
}

// err is what is to be said of an outcome, nil when all is well.
func (o *outcome) err() error {
	if len(o.refused) == 0 {
		return nil
	}
	code := ExTempFail
	var all []error
	for _, r := range o.refused {
		if code == ExTempFail {
			code = r.exit()
		}
		if r.recipient == "" {
			all = append(all, r.reply)
		} else {
			all = append(all, fmt.Errorf("<%s>: %w", r.recipient, r.reply))
		}
	}
	if o.taken > 0 {
		all = append(all, fmt.Errorf("the message goes to the other recipients, %d", o.taken))
	}
	return fault(code, errors.Join(all...))
}

// draft is a message of which the host's name is still missing.
type draft struct {
	message
	head *header
}

// read reads a message and its recipients.
func read(o *Options, in io.Reader) (*draft, error) {
	d := &draft{message: message{body: &text{}, options: o}}
	for _, arg := range o.Recipients {
		list, err := addresses(arg)
		if err != nil {
			return nil, fault(ExUsage, fmt.Errorf("%s: %w", arg, err))
		}
		d.recipients = append(d.recipients, list...)
	}
	if len(d.recipients) == 0 && !o.FromHeader {
		return nil, fault(ExUsage, errors.New("recipient names must be specified"))
	}
	if err := d.readMessage(in); err != nil {
		d.body.close()
		return nil, err
	}
	if err := d.address(); err != nil {
		d.body.close()
		return nil, err
	}
	return d, nil
}

func (d *draft) readMessage(in io.Reader) error {
	buffered, dots := bufio.NewReaderSize(in, 32<<10), !d.options.IgnoreDots
	head, first, over, err := readHeader(buffered, dots)
	switch {
	case errors.Is(err, errLongHeader):
		return fault(ExDataErr, err)
	case err != nil:
		return fault(ExOSErr, fmt.Errorf("read the message: %w", err))
	}
	d.head = head
	if _, err = d.body.Write(first); err == nil && !over {
		err = readText(d.body, buffered, dots)
	}
	switch {
	case errors.Is(err, errLongText):
		return fault(ExDataErr, err)
	case err != nil:
		return fault(ExOSErr, err)
	}
	return nil
}

// address finds out for whom the message is.
func (d *draft) address() error {
	if d.options.FromHeader {
		list, err := d.head.recipients()
		if err != nil {
			return fault(ExDataErr, err)
		}
		d.recipients = append(d.recipients, list...)
	}
	seen := map[string]bool{}
	once := d.recipients[:0]
	for _, r := range d.recipients {
		if !seen[r] {
			seen[r] = true
			once = append(once, r)
		}
	}
	d.recipients = once
	switch {
	case len(d.recipients) == 0:
		return fault(ExUsage, errors.New("no recipient addresses found in header"))
	case len(d.recipients) > maxRecipients:
		return fault(ExDataErr, fmt.Errorf("%d recipients, at most %d are possible", len(d.recipients), maxRecipients))
	}
	for _, r := range d.recipients {
		if err := path(r); err != nil {
			return fault(ExDataErr, err)
		}
		d.utf8 = d.utf8 || !ascii(r)
	}
	return nil
}

// finish adds what depends on the relay's name: the sender, and fields that are missing.
func (d *draft) finish(s *session) error {
	who := caller()
	d.sender = who.login + "@" + s.host
	if d.options.HasSender {
		from, err := single(d.options.Sender)
		if err != nil {
			return fault(ExDataErr, err)
		}
		d.sender = qualify(from, s.host)
	}
	if err := path(d.sender); err != nil {
		return fault(ExDataErr, err)
	}
	d.utf8 = d.utf8 || !ascii(d.sender)
	name := d.options.FullName
	if name == "" && !d.options.HasSender {
		name = who.full
	}
	from := author(name, d.sender)
	if d.sender == "" {
		from = author("Mail Delivery System", "MAILER-DAEMON@"+s.host)
	}
	now := time.Now()
	d.header = d.head.finish(map[string]string{
		"From":       from,
		"Date":       now.Format("Mon, 2 Jan 2006 15:04:05 -0700"),
		"Message-ID": "<" + now.UTC().Format("20060102150405") + "." + rand.Text() + "@" + s.host + ">",
	})
	return nil
}

// author is a name and an address as From has them. The address is in its final form:
// package mail would quote one that has quotes again.
func author(name, address string) string {
	const stand = "x@y"
	whole := (&mail.Address{Name: clean(name), Address: stand}).String()
	return strings.TrimSuffix(whole, "<"+stand+">") + "<" + address + ">"
}

// clean takes out what cannot stand in a name.
func clean(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, name)
}

// person is who has called the program.
type person struct{ login, full string }

// caller finds out who that is. The full name is that of NAME, or of the password file.
func caller() person {
	uid := os.Getuid()
	p := person{login: peer.Name(uint32(uid))}
	if p.login == "" {
		p.login = "uid" + strconv.Itoa(uid)
	}
	if p.full = os.Getenv("NAME"); p.full != "" {
		return p
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		p.full = strings.ReplaceAll(u.Name, "&", p.login)
	}
	return p
}

// Relay passes an SMTP session through: -bs.
func Relay(ctx context.Context, socket string, in io.Reader, out io.Writer) error {
	conn, err := dial(ctx, socket)
	if err != nil {
		return unreachable(socket, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	go func() {
		_, _ = io.Copy(conn, in) // when the relay has ended, nobody waits for this
		if c, ok := conn.(*net.UnixConn); ok {
			_ = c.CloseWrite()
		}
	}()
	if _, err := io.Copy(out, conn); err != nil {
		return fault(ExTempFail, fmt.Errorf("the session: %w", err))
	}
	return nil
}
