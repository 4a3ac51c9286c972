package submit

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	dialWait  = 5 * time.Second
	replyWait = 10 * time.Minute // the relay may take five to have a message on the disk
)

// reply is one of the relay's.
type reply struct {
	code int
	text string // its lines, without codes
}

func (r reply) ok() bool { return r.code >= 200 && r.code < 400 }

// Error makes an error of a refusal.
func (r reply) Error() string {
	return strconv.Itoa(r.code) + " " + strings.ReplaceAll(r.text, "\n", " ")
}

// enhanced is the reply's enhanced status code, "" without one.
func (r reply) enhanced() string {
	word, _, _ := strings.Cut(r.text, " ")
	if strings.Count(word, ".") == 2 && len(word) >= 5 && strings.Trim(word, "0123456789.") == "" {
		return word
	}
	return ""
}

// exit is the code of sysexits.h for a refusal, as sendmail has it.
func (r reply) exit() int {
	if r.code < 500 {
		return ExTempFail
	}
	switch e := r.enhanced(); {
	case e == "5.1.1" || e == "5.1.0":
		return ExNoUser
	case e == "5.1.2":
		return ExNoHost
	case e == "5.1.3" || e == "5.1.7" || e == "5.3.4" || strings.HasPrefix(e, "5.6."), r.code == 501 || r.code == 552:
		return ExDataErr
	}
	return ExUnavailable
}

// session is an SMTP session with the relay.
type session struct {
	conn net.Conn
	text *textproto.Conn
	stop func() bool

	host  string            // the relay's name
	words map[string]string // what EHLO has announced
}

// timed is a connection on which nothing may last too long.
type timed struct{ net.Conn }

func (t timed) Read(p []byte) (int, error) {
	if err := t.SetReadDeadline(time.Now().Add(replyWait)); err != nil {
		return 0, err
	}
	return t.Conn.Read(p)
}

func (t timed) Write(p []byte) (int, error) {
	if err := t.SetWriteDeadline(time.Now().Add(replyWait)); err != nil {
		return 0, err
	}
	return t.Conn.Write(p)
}

func dial(ctx context.Context, path string) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialWait}).DialContext(ctx, "unix", path)
}

// open connects to the relay and says EHLO.
func open(ctx context.Context, path string) (s *session, err error) {
	conn, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	s = &session{conn: conn, text: textproto.NewConn(timed{conn}), words: map[string]string{}}
	s.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if r, err := s.read(); err != nil || !r.ok() {
		return nil, orReply(r, err)
	}
	r, err := s.say("EHLO localhost")
	if err != nil || !r.ok() {
		return nil, orReply(r, err)
	}
	lines := strings.Split(r.text, "\n")
	s.host, _, _ = strings.Cut(lines[0], " ")
	for _, l := range lines[1:] {
		word, value, _ := strings.Cut(l, " ")
		s.words[strings.ToUpper(word)] = value
	}
	return s, nil
}

func orReply(r reply, err error) error {
	if err != nil {
		return err
	}
	return r
}

func (s *session) close() {
	s.stop()
	_ = s.conn.Close()
}

// read reads a reply.
func (s *session) read() (reply, error) {
	code, text, err := s.text.ReadResponse(0)
	var said *textproto.Error
	if errors.As(err, &said) {
		return reply{said.Code, said.Msg}, nil
	}
	if err != nil {
		return reply{}, fmt.Errorf("the relay's reply: %w", err)
	}
	return reply{code, text}, nil
}

// say sends a command and reads the reply. Nothing in it can be a second command.
func (s *session) say(command string) (reply, error) {
	if strings.ContainsAny(command, "\r\n\x00") {
		return reply{}, fmt.Errorf("%q cannot be sent", command)
	}
	if err := s.text.PrintfLine("%s", command); err != nil {
		return reply{}, fmt.Errorf("the relay: %w", err)
	}
	return s.read()
}

// message is one to be sent.
type message struct {
	sender     string
	recipients []string
	header     string
	body       *text
	utf8       bool
	options    *Options
}

// outcome is what has become of the recipients of a message.
type outcome struct {
	taken   int
	refused []refusal
}

type refusal struct {
	recipient string // "" for all
	reply
}

// send hands a message over, in as many transactions as the relay needs for its
// recipients. An error means that it is not known what became of those that are left.
func (s *session) send(m *message) (outcome, error) {
	var out outcome
	for left := m.recipients; len(left) > 0; {
		rest, err := s.transaction(m, left, &out)
		if err != nil {
			return out, err
		}
		if len(rest) == len(left) { // cannot be: it would go on for ever
			return out, errors.New("the relay takes no recipient at all")
		}
		left = rest
	}
	return out, nil
}

// transaction offers recipients and sends the message to those that are taken. It
// returns those that another transaction is for.
func (s *session) transaction(m *message, recipients []string, out *outcome) (rest []string, err error) {
	r, err := s.say(s.mail(m))
	if err != nil {
		return nil, err
	}
	if !r.ok() {
		out.refused = append(out.refused, refusal{reply: r})
		return nil, nil
	}
	taken := 0
	for i, to := range recipients {
		if r, err = s.say(s.rcpt(m, to)); err != nil {
			return nil, err
		}
		if r.code == 421 { // it closes the connection (RFC 5321, 3.8)
			return nil, fmt.Errorf("the relay answers %w", r)
		}
		if r.code == 452 && taken > 0 && (r.enhanced() == "4.5.3" || r.enhanced() == "") {
			rest = slices.Clone(recipients[i:]) // RFC 5321, 4.5.3.1.10
			break
		}
		if r.ok() {
			taken++
			continue
		}
		out.refused = append(out.refused, refusal{to, r})
	}
	if taken == 0 {
		_, err = s.say("RSET")
		return nil, err
	}
	if r, err = s.data(m); err != nil {
		return nil, err
	}
	if !r.ok() {
		out.refused = append(out.refused, refusal{reply: r})
		return nil, nil
	}
	out.taken += taken
	return rest, nil
}

// mail is the MAIL command.
func (s *session) mail(m *message) string {
	command := "MAIL FROM:<" + m.sender + ">"
	if _, ok := s.words["SIZE"]; ok {
		command += " SIZE=" + strconv.FormatInt(int64(len(m.header))+m.body.size, 10)
	}
	eight := m.options.Body
	if eight == "" && (m.body.eightBit || !ascii(m.header)) {
		eight = "8BITMIME"
	}
	if _, ok := s.words["8BITMIME"]; ok && eight != "" {
		command += " BODY=" + eight
	}
	if _, ok := s.words["SMTPUTF8"]; ok && m.utf8 {
		command += " SMTPUTF8"
	}
	if _, ok := s.words["DSN"]; ok {
		if m.options.Return != "" {
			command += " RET=" + m.options.Return
		}
		if m.options.EnvID != "" {
			command += " ENVID=" + xtext(m.options.EnvID)
		}
	}
	return command
}

// rcpt is a RCPT command.
func (s *session) rcpt(m *message, to string) string {
	command := "RCPT TO:<" + to + ">"
	if _, ok := s.words["DSN"]; ok && m.options.Notify != "" {
		command += " NOTIFY=" + m.options.Notify
	}
	return command
}

// xtext is RFC 3461, 4.
func xtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// data sends the message.
func (s *session) data(m *message) (reply, error) {
	r, err := s.say("DATA")
	if err != nil || r.code != 354 {
		if err == nil && r.ok() {
			err = errors.New("the relay answers DATA with " + r.Error())
		}
		return r, err
	}
	body, err := m.body.reader()
	if err != nil {
		return reply{}, err
	}
	if err := stuff(s.text.Writer.W, io.MultiReader(strings.NewReader(m.header), body)); err != nil {
		return reply{}, fmt.Errorf("send the message: %w", err)
	}
	return s.read()
}

// stuff sends a text whose lines end in CRLF, with dots doubled and the end (RFC 5321,
// 4.5.2). It leaves what is between alone.
func stuff(w *bufio.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, 32<<10)
	for begins := true; ; {
		p, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
		if begins && len(p) > 0 && p[0] == '.' {
			if err := w.WriteByte('.'); err != nil {
				return err
			}
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
		if err == io.EOF {
			break
		}
		begins = err == nil
	}
	if _, err := w.WriteString(".\r\n"); err != nil {
		return err
	}
	return w.Flush()
}
