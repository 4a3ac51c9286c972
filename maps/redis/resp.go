package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Replies of version 2 of the Redis protocol (RESP2). The first byte of each says
// which kind it is.
const (
	kindSimple  = '+'
	kindError   = '-'
	kindInteger = ':'
	kindBulk    = '$'
	kindArray   = '*'
)

const (
	maxLine   = 32 << 10 // the buffer too; lines are numbers and error texts
	maxString = 64 << 10 // one key or one value: an entry of a table is a line of text
)

// Error is a server's refusal, such as "WRONGTYPE Operation against a key ...".
type Error struct {
	Code string // its first word: LOADING, NOAUTH, WRONGTYPE, ...
	Text string // all of it, cut to a printable line
}

func (e *Error) Error() string { return "the server says: " + e.Text }

func newError(line []byte) *Error {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, string(line[:min(len(line), 300)]))
	code, _, _ := strings.Cut(text, " ")
	return &Error{Code: code, Text: text}
}

// errProtocol marks replies that no Redis server sends. The connection is of no use afterwards.
var errProtocol = errors.New("not a reply of a Redis server")

// A replies reads what a server sends, no more than left bytes of it.
type replies struct {
	in   *bufio.Reader
	left int64
}

func newReplies(r io.Reader) *replies {
	return &replies{in: bufio.NewReaderSize(r, maxLine)}
}

// take accounts for n bytes.
func (r *replies) take(n int64) error {
	if r.left -= n; r.left < 0 {
		return errors.New("the reply is longer than the limit")
	}
	return nil
}

// head reads the first line of a reply: its kind and what follows it. The text is
// good until the next read. A reply that is an error is returned as an *Error.
func (r *replies) head() (kind byte, text []byte, err error) {
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return 0, nil, fmt.Errorf("%w: a line of more than %d bytes", errProtocol, maxLine)
	}
	if err != nil {
		return 0, nil, noEOF(err)
	}
	if err := r.take(int64(len(line))); err != nil {
		return 0, nil, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return 0, nil, fmt.Errorf("%w: a line %q", errProtocol, line[:min(len(line), 40)])
	}
	kind, text = line[0], line[1:len(line)-2]
	if kind == kindError {
		return kind, nil, newError(text)
	}
	return kind, text, nil
}

// number reads a reply's first line that must be of the kind: an integer, or the
// length of an array or a bulk string, for which -1 says that there is none.
func (r *replies) number(want byte) (int64, error) {
	kind, text, err := r.head()
	if err != nil {
		return 0, err
	}
	if kind != want {
		return 0, fmt.Errorf("%w: a reply %q, expected %q", errProtocol, kind, want)
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < -1 {
		return 0, fmt.Errorf("%w: a number %q", errProtocol, text[:min(len(text), 40)])
	}
	return n, nil
}

// simple reads a status that must be want.
func (r *replies) simple(want string) error {
	kind, text, err := r.head()
	if err == nil && (kind != kindSimple || string(text) != want) {
		err = fmt.Errorf("%w: a reply %q, expected +%s", errProtocol, kind, want)
	}
	return err
}

// array reads the head of an array that must have n elements.
func (r *replies) array(want int64) error {
	n, err := r.number(kindArray)
	if err == nil && n != want {
		err = fmt.Errorf("%w: %d elements, expected %d", errProtocol, n, want)
	}
	return err
}

// bulk reads a string into buf, which it makes longer as needed; nil if there is none.
func (r *replies) bulk(buf []byte) ([]byte, error) {
	n, err := r.number(kindBulk)
	if err != nil || n < 0 {
		return nil, err
	}
	if n > maxString {
		return nil, fmt.Errorf("a string of %d bytes; at most %d are read", n, maxString)
	}
	if err := r.take(n + 2); err != nil {
		return nil, err
	}
	if int64(cap(buf)) < n+2 {
		buf = make([]byte, n+2, 2*n+2)
	}
	buf = buf[:n+2]
	if _, err := io.ReadFull(r.in, buf); err != nil {
		return nil, noEOF(err)
	}
	if string(buf[n:]) != "\r\n" {
		return nil, fmt.Errorf("%w: a string without its end", errProtocol)
	}
	return buf[:n], nil
}

// noEOF gives the end of a connection a name: within a reply it is never a good end.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the server closed the connection")
	}
	return err
}

// appendCommand writes a command as an array of bulk strings.
func appendCommand(b []byte, words ...string) []byte {
	b = append(b, kindArray)
	b = strconv.AppendInt(b, int64(len(words)), 10)
	b = append(b, "\r\n"...)
	for _, w := range words {
		b = append(b, kindBulk)
		b = strconv.AppendInt(b, int64(len(w)), 10)
		b = append(b, "\r\n"...)
		b = append(b, w...)
		b = append(b, "\r\n"...)
	}
	return b
}
