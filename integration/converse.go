package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"time"
)

const (
	replyTime     = 30 * time.Second // for one reply; both servers give the filter less
	maxReplyLine  = 4096
	maxReplyLines = 100
)

// TokenHeader is the header field that Converse puts in front of each message,
// so that what arrives can be told apart.
const TokenHeader = "X-Gatepost-Test"

// Converse holds a session over conn, which it does not close. Session must be
// as Session.For returns it. token marks its messages. The transcript is complete
// up to the point of an error; errors begin with the line number in the file.
func Converse(conn net.Conn, s Session, token string) (transcript string, err error) {
	c := &conversation{conn: conn, in: bufio.NewReaderSize(conn, maxReplyLine), token: token}
	for i := 0; i < len(s.Steps); {
		step := s.Steps[i]
		n := 1
		switch step.Kind {
		case Send:
			for i+n < len(s.Steps) && s.Steps[i+n].Kind == Send {
				n++
			}
			err = c.send(s.Steps[i : i+n])
		case Expect:
			err = c.expect(step)
		case Closed:
			err = c.expectClosed()
		}
		if err != nil {
			return c.said.String(), fmt.Errorf("line %d: %w", step.Line, err)
		}
		i += n
	}
	return c.said.String(), nil
}

type conversation struct {
	conn  net.Conn
	in    *bufio.Reader
	token string
	said  strings.Builder
	// inData is set by a 354: the next thing sent is a message.
	inData bool
}

func (c *conversation) send(steps []Step) error {
	var out strings.Builder
	if c.inData {
		fmt.Fprintf(&out, "%s: %s\r\n", TokenHeader, c.token)
		c.inData = false
	}
	for _, s := range steps {
		out.WriteString(s.Lines[0] + "\r\n")
		c.said.WriteString("C: " + s.Lines[0] + "\n")
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(replyTime)); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	if _, err := io.WriteString(c.conn, out.String()); err != nil {
		return fmt.Errorf("sending %q: %w", steps[0].Lines[0], err)
	}
	return nil
}

func (c *conversation) expect(step Step) error {
	got, err := c.readReply()
	if err != nil {
		return fmt.Errorf("want reply %q, got %q and then: %w", step.Lines, got, err)
	}
	if !Matches(step.Lines, got) {
		return fmt.Errorf("want reply %q, got %q", step.Lines, got)
	}
	c.inData = strings.HasPrefix(step.Lines[0], "354")
	return nil
}

func (c *conversation) expectClosed() error {
	got, err := c.readReply()
	var timeout net.Error
	switch {
	case err == nil:
		return fmt.Errorf("want the connection closed, got reply %q", got)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("want the connection closed, but it stayed open")
	}
	c.said.WriteString("(closed by the server)\n")
	return nil
}

// readReply reads one reply of RFC 5321, section 4.2.1, within bounds.
func (c *conversation) readReply() ([]string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(replyTime)); err != nil {
		return nil, fmt.Errorf("waiting for a reply: %w", err)
	}
	var reply []string
	for len(reply) < maxReplyLines {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return reply, fmt.Errorf("reading a reply: %w", err)
		}
		text := strings.TrimRight(string(line), "\r\n")
		c.said.WriteString("S: " + text + "\n")
		reply = append(reply, text)
		if len(text) < 4 || text[3] != '-' {
			return reply, nil
		}
	}
	return reply, fmt.Errorf("a reply of more than %d lines", maxReplyLines)
}

// Matches tells whether a reply is the expected one. Of 2xx and 3xx only the code
// of the last line counts: the rest holds queue ids, host names and options. Of
// other replies every line counts in full, after Plain.
func Matches(want, got []string) bool {
	if len(got) == 0 || len(want) == 0 {
		return false
	}
	if want[0][0] < '4' {
		return strings.HasPrefix(got[len(got)-1], want[0])
	}
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if Plain(got[i]) != want[i] {
			return false
		}
	}
	return true
}

// Plain removes the "<address>... " that sendmail puts between the enhanced code
// and the text of some replies to MAIL and RCPT (addresses may hold blanks and >).
func Plain(line string) string {
	form := regexp.MustCompile(`^([45]\d\d[ -][45]\.\d{1,3}\.\d{1,3} )<.*?>\.\.\. (.*)$`)
	if m := form.FindStringSubmatch(line); m != nil {
		return m[1] + m[2]
	}
	return line
}
