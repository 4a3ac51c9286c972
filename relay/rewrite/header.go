package rewrite

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"gatepost/internal/smtp"
)

// field is one field of a header.
type field struct {
	name       string // in lower case
	start      int
	value, end int // from after the colon to after the last CRLF
}

// place is where the addresses of a field stand, for sendmail (its table HdrInfo).
func (f field) place() (p Place, ok bool) {
	switch f.name {
	case "from", "sender", "reply-to", "errors-to", "disposition-notification-to",
		"resent-from", "resent-sender", "resent-reply-to":
		return HeaderSender, true
	case "to", "cc", "bcc", "apparently-to", "resent-to", "resent-cc", "resent-bcc":
		return HeaderRecipient, true
	}
	return 0, false
}

// fields takes a header apart.
func fields(header []byte) []field {
	var all []field
	for pos := 0; pos < len(header); {
		end := len(header)
		if n := bytes.IndexByte(header[pos:], '\n'); n >= 0 {
			end = pos + n + 1
		}
		line := header[pos:end]
		switch colon := bytes.IndexByte(line, ':'); {
		case (line[0] == ' ' || line[0] == '\t') && len(all) > 0:
			all[len(all)-1].end = end
		case colon > 0:
			name := strings.ToLower(strings.TrimRight(string(line[:colon]), " \t"))
			all = append(all, field{name, pos, pos + colon + 1, end})
		default: // a line that is no field is left alone
			all = append(all, field{"", pos, pos, end})
		}
		pos = end
	}
	return all
}

// maxGrown bounds a rewritten header, in bytes.
const maxGrown = 4 * maxHeader

var errGrown = errors.New("the header becomes too long")

// Header rewrites the addresses of a header, each line of which ends in CRLF, as mailer m
// sends it. account is the address that is to be the sender; "" for none. A header in which
// nothing is to be changed is returned itself. The error means that a table could not be
// asked, or that there are too many addresses.
func (r *Rewriter) Header(ctx context.Context, m Mailer, account string, header []byte) ([]byte, error) {
	out, err := r.masqueraded(ctx, m, header)
	if err != nil || account == "" {
		return out, err
	}
	return sentBy(account, out), nil
}

func (r *Rewriter) masqueraded(ctx context.Context, m Mailer, header []byte) ([]byte, error) {
	if !r.masquerades() {
		return header, nil
	}
	var out []byte
	kept := 0 // what comes before has been dealt with
	for _, f := range fields(header) {
		p, ok := f.place()
		if !ok {
			continue
		}
		value, err := r.value(ctx, m, p, header[f.start:f.end], f.value-f.start)
		if err != nil {
			return nil, err
		}
		if value == nil {
			continue
		}
		out = append(append(out, header[kept:f.start]...), value...)
		if kept = f.end; len(out) > maxGrown {
			return nil, errGrown
		}
	}
	if kept == 0 {
		return header, nil
	}
	return append(out, header[kept:]...), nil
}

// value rewrites the addresses of a field, whose value begins at from. It returns nil when
// there is nothing to change.
func (r *Rewriter) value(ctx context.Context, m Mailer, p Place, field []byte, from int) ([]byte, error) {
	if ok, _ := scan(field[from:], nil); !ok {
		return nil, nil
	}
	var out edit
	_, err := scan(field[from:], func(box mailbox) error {
		result, err := r.Address(ctx, m, p, box.text)
		switch {
		case err != nil:
			return err
		case len(out.out) > maxGrown:
			return errGrown
		case result.Changed:
			out.replace(field, from, box, result.Address)
		default:
			out.breakAt(field, from+box.element)
		}
		return ctx.Err()
	})
	return out.done(field), err
}

// edit is a field in the making.
type edit struct {
	out  []byte
	kept int // of the old field, how much has been dealt with
	line int // where the last line of out begins
}

// longestLine is what a line may have at most, without CRLF (RFC 5322, 2.1.1).
const longestLine = 998

// replace puts an address where a mailbox was. Comments between its tokens stay.
func (e *edit) replace(field []byte, from int, box mailbox, address string) {
	e.breakAt(field, from+box.element)
	for i, t := range box.tokens {
		e.copy(field, from+t.start)
		if e.kept = from + t.end; i == 0 {
			e.out = append(e.out, address...)
		}
	}
}

// copy takes over the old field up to an offset.
func (e *edit) copy(field []byte, to int) {
	piece := field[e.kept:to]
	if n := bytes.LastIndexByte(piece, '\n'); n >= 0 {
		e.line = len(e.out) + n + 1
	}
	e.out, e.kept = append(e.out, piece...), to
}

// breakAt begins a new line at an offset when the line has become too long: by then there
// is room for one more address.
func (e *edit) breakAt(field []byte, at int) {
	if e.out == nil || at <= e.kept {
		return
	}
	e.copy(field, at)
	if len(e.out)-e.line < longestLine-smtp.MaxPath || field[at-1] != ',' || field[at] == '\r' || field[at] == '\n' {
		return
	}
	e.out = append(e.out, "\r\n"...)
	e.line = len(e.out)
	if field[at] != ' ' && field[at] != '\t' {
		e.out = append(e.out, ' ')
	}
}

func (e *edit) done(field []byte) []byte {
	if e.out == nil {
		return nil
	}
	return append(e.out, field[e.kept:]...)
}
