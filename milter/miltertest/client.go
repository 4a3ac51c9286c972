// Package miltertest is a bare milter client for tests. It speaks to a filter as
// sendmail or Postfix do, with their macros and spellings, shows each answer as
// it came, and can send anything else too.
//
// It models the frames that an MTA sends, not what an MTA makes of the answers.
package miltertest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Bits of the negotiation (sendmail mfdef.h, SMFIF_* and SMFIP_*).
const (
	ActionQuarantine = 0x20
	ActionSetSymlist = 0x100
	ActionsAll       = 0x1ff

	NoBody       = 0x10
	NoHeaders    = 0x20
	NoEndHeader  = 0x40
	NoUnknown    = 0x100
	NoData       = 0x200
	ProtocolsAll = 0x1fffff
)

// Wait bounds each exchange.
const Wait = 20 * time.Second

// Offer is what the MTA says that it can do.
type Offer struct {
	Version, Actions, Protocol uint32
}

// Full is the offer of sendmail 8.17 and of Postfix 3.7.
func Full() Offer { return Offer{Version: 6, Actions: ActionsAll, Protocol: ProtocolsAll} }

// Answer is what the filter said.
type Answer struct {
	Code       byte   // SMFIR_*: c continue, a accept, r reject, t tempfail, d discard, y reply code
	Reply      string // of y, as sent: "%" doubled, lines separated by CR LF
	Quarantine string // reason, if a quarantine came before
}

func (a Answer) String() string {
	s := string(a.Code)
	if a.Reply != "" {
		s += " " + a.Reply
	}
	if a.Quarantine != "" {
		s += " quarantine: " + a.Quarantine
	}
	return s
}

// Client is a milter connection as the MTA holds it.
type Client struct {
	MTA    MTA
	Agreed Offer             // what the filter chose
	Lists  map[byte][]string // macros asked for, by command letter; nil: not asked
	Macros map[string]string // values the MTA has; set by Connect and by the test

	conn net.Conn
	r    *bufio.Reader
	out  []byte
}

// Dial connects and negotiates.
func Dial(network, addr string, mta MTA, offer Offer) (*Client, error) {
	c, err := DialRaw(network, addr)
	if err != nil {
		return nil, err
	}
	c.MTA = mta
	if err := c.Negotiate(offer); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// DialRaw connects and says nothing.
func DialRaw(network, addr string) (*Client, error) {
	conn, err := net.DialTimeout(network, addr, Wait)
	if err != nil {
		return nil, err
	}
	return &Client{conn: conn, r: bufio.NewReader(conn), Macros: map[string]string{}}, nil
}

// Close breaks the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Frame returns a frame as it goes over the wire.
func Frame(cmd byte, data string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)+1))
	return append(append(b, cmd), data...)
}

// Negotiation returns the frame of an offer.
func Negotiation(o Offer) []byte {
	var b []byte
	for _, v := range []uint32{o.Version, o.Actions, o.Protocol} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return Frame('O', string(b))
}

// Write sends bytes as they are.
func (c *Client) Write(b []byte) (int, error) {
	if err := c.conn.SetWriteDeadline(time.Now().Add(Wait)); err != nil {
		return 0, err
	}
	return c.conn.Write(b)
}

// ReadFrame reads one frame: command letter and data.
func (c *Client) ReadFrame() (byte, string, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(Wait)); err != nil {
		return 0, "", err
	}
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, "", err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 1 || n > 1<<20 {
		return 0, "", fmt.Errorf("miltertest: frame of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return 0, "", err
	}
	return b[0], string(b[1:]), nil
}

// Closed waits until the filter has closed the connection.
func (c *Client) Closed() error {
	cmd, data, err := c.ReadFrame()
	var ne net.Error
	switch {
	case err == nil:
		return fmt.Errorf("miltertest: got %q %q, want a closed connection", cmd, data)
	case errors.As(err, &ne) && ne.Timeout():
		return fmt.Errorf("miltertest: still open: %w", err)
	}
	return nil
}

// Negotiate sends an offer and takes the filter's choice.
func (c *Client) Negotiate(o Offer) error {
	if _, err := c.Write(Negotiation(o)); err != nil {
		return err
	}
	cmd, data, err := c.ReadFrame()
	if err != nil {
		return err
	}
	if cmd != 'O' || len(data) < 12 {
		return fmt.Errorf("miltertest: negotiation answered with %q %q", cmd, data)
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32([]byte(data)[i:]) }
	c.Agreed = Offer{Version: word(0), Actions: word(4), Protocol: word(8)}
	for rest := data[12:]; rest != ""; {
		if len(rest) < 5 {
			return fmt.Errorf("miltertest: list of macros cut short: %q", rest)
		}
		stage := binary.BigEndian.Uint32([]byte(rest))
		names, after, ok := strings.Cut(rest[4:], "\x00")
		if !ok || stage >= uint32(len(listStages)) {
			return fmt.Errorf("miltertest: bad list of macros: %q", rest)
		}
		if c.Lists == nil {
			c.Lists = map[byte][]string{}
		}
		c.Lists[listStages[stage]] = strings.Fields(names)
		rest = after
	}
	return nil
}

// answer sends what waits and reads the filter's answer.
func (c *Client) answer() (Answer, error) {
	out := c.out
	c.out = nil
	if _, err := c.Write(out); err != nil {
		return Answer{}, err
	}
	var a Answer
	for {
		cmd, data, err := c.ReadFrame()
		if err != nil {
			return a, err
		}
		switch cmd {
		case 'q':
			a.Quarantine = strings.TrimSuffix(data, "\x00")
			continue
		case 'y':
			if !strings.HasSuffix(data, "\x00") {
				return a, fmt.Errorf("miltertest: reply without NUL: %q", data)
			}
			a.Reply = strings.TrimSuffix(data, "\x00")
		}
		a.Code = cmd
		return a, nil
	}
}

// Command sends macros and command as one packet and reads the answer.
func (c *Client) Command(cmd byte, strs ...string) (Answer, error) {
	c.queueMacros(cmd)
	var data strings.Builder
	for _, s := range strs {
		data.WriteString(s)
		data.WriteByte(0)
	}
	c.out = append(c.out, Frame(cmd, data.String())...)
	return c.answer()
}

// queueMacros puts the stage's macros that have values before the next command.
func (c *Client) queueMacros(cmd byte) {
	names, asked := c.Lists[cmd]
	if !asked {
		names = c.MTA.defaults(cmd)
	}
	var data strings.Builder
	data.WriteByte(cmd)
	for _, name := range names {
		if value, ok := c.Macros[name]; ok {
			data.WriteString(name + "\x00" + value + "\x00")
		}
	}
	if data.Len() > 1 {
		c.out = append(c.out, Frame('D', data.String())...)
	}
}

// Connect tells the filter about the SMTP client.
func (c *Client) Connect(p Peer) (Answer, error) {
	host, address := c.MTA.describe(p, c.Macros)
	c.queueMacros('C')
	c.out = append(c.out, Frame('C', host+"\x00"+address)...)
	return c.answer()
}

// Helo sends the greeting's name.
func (c *Client) Helo(name string) (Answer, error) { return c.Command('H', name) }

// Mail sends a MAIL argument, as the client wrote it, and its parameters.
func (c *Client) Mail(arg string, params ...string) (Answer, error) {
	return c.Command('M', append([]string{arg}, params...)...)
}

// Rcpt is Mail for RCPT.
func (c *Client) Rcpt(arg string, params ...string) (Answer, error) {
	return c.Command('R', append([]string{arg}, params...)...)
}

// Message goes from DATA to the end of the message, as far as the filter wants
// to see it, and returns the answer to the end or the first one that is not to
// go on.
func (c *Client) Message() (Answer, error) {
	steps := []struct {
		off  uint32
		cmd  byte
		strs []string
	}{
		{NoData, 'T', nil}, {NoHeaders, 'L', []string{"Subject", "test"}}, {NoEndHeader, 'N', nil},
		{NoBody, 'B', []string{"body\r\n"}}, {0, 'E', nil},
	}
	var a Answer
	for _, s := range steps {
		if c.Agreed.Protocol&s.off != 0 {
			continue
		}
		var err error
		if a, err = c.Command(s.cmd, s.strs...); err != nil || (a.Code != 'c' && s.cmd != 'E') {
			return a, err
		}
	}
	return a, nil
}

// Abort ends a message. It has no answer.
func (c *Client) Abort() error { return c.send('A') }

// QuitNC ends the SMTP session and keeps the connection.
func (c *Client) QuitNC() error {
	clear(c.Macros)
	return c.send('K')
}

// Quit ends the session and waits until the filter has closed the connection.
func (c *Client) Quit() error {
	if err := c.send('Q'); err != nil {
		return err
	}
	if err := c.Closed(); err != nil {
		return err
	}
	return c.Close()
}

func (c *Client) send(cmd byte) error {
	_, err := c.Write(Frame(cmd, ""))
	return err
}
