package milter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"gatepost/milter/miltertest"
)

func TestCheckFrame(t *testing.T) {
	const port = "\x9c\x41"
	tests := []struct {
		name  string
		frame string
		fault string // part of the error; "" none
	}{
		{"negotiation", "O\x00\x00\x00\x06" + strings.Repeat("\x00", 8), ""},
		{"negotiation, short", "O\x00\x00\x00\x06", "4 bytes of data, expected 12"},
		{"negotiation, long", "O\x00\x00\x00\x06" + strings.Repeat("\x00", 9), "13 bytes of data, expected 12"},
		{"negotiation, version 1", "O\x00\x00\x00\x01" + strings.Repeat("\x00", 8), "protocol version 1"},
		{"connect", "Chost\x004" + port + "192.0.2.1\x00", ""},
		{"connect, no host", "C\x004" + port + "192.0.2.1\x00", ""},
		{"connect, unknown family", "Clocalhost\x00U", ""},
		{"connect, unknown family with address", "Clocalhost\x00U" + port + "x\x00", ""},
		{"connect, empty", "C", "not terminated"},
		{"connect, host not terminated", "Chost", "not terminated"},
		{"connect, no family", "Chost\x00", "no address family"},
		{"connect, no port", "Chost\x004", "no port or address"},
		{"connect, half a port", "Chost\x004\x9c", "no port or address"},
		{"connect, no address", "Chost\x004" + port, "no port or address"},
		{"connect, address not terminated", "Chost\x004" + port + "192.0.2.1", "not terminated"},
		{"connect, two addresses", "Chost\x004" + port + "192.0.2.1\x00192.0.2.2\x00", "2 strings"},
		{"connect, family unheard of", "Chost\x00X" + port + "x\x00", "unknown address family"},
		{"helo", "Hname\x00", ""},
		{"helo, empty name", "H\x00", ""},
		{"helo, no data", "H", "not terminated"},
		{"helo, two names", "Ha\x00b\x00", "2 strings"},
		{"mail", "M<a@b>\x00SIZE=1\x00BODY=8BITMIME\x00", ""},
		{"mail, not terminated", "M<a@b>", "not terminated"},
		{"mail, parameter not terminated", "M<a@b>\x00SIZE=1", "not terminated"},
		{"mail, no data", "M", "not terminated"},
		{"rcpt", "R<a@b>\x00", ""},
		{"rcpt, not terminated", "R<a@b>", "not terminated"},
		{"rcpt, too long", "R" + strings.Repeat("x", maxTextFrame) + "\x00", "at most"},
		{"macros", "DCj\x00mx\x00", ""},
		{"macros, none", "DC", ""},
		{"macros, no command", "D", "no command"},
		{"macros, for a command unheard of", "DZj\x00mx\x00", "unknown command"},
		{"macros, not terminated", "DCj\x00mx", "not terminated"},
		{"macros, without value", "DCj\x00", "without value"},
		{"header", "LSubject\x00x\x00", ""},
		{"header, one string", "LSubject\x00", "1 strings"},
		{"header, not terminated", "LSubject\x00x", "not terminated"},
		{"unknown command", "UFOO bar\x00", ""},
		{"body", "B" + strings.Repeat("x", maxFrame-1), ""},
		{"body, empty", "B", ""},
		{"end of body with a chunk", "Exyz", ""},
		{"data", "T", ""},
		{"data with data", "Tx", "1 bytes of data"},
		{"end of header", "N", ""},
		{"abort", "A", ""},
		{"abort with data", "A\x00", "1 bytes of data"},
		{"quit", "Q", ""},
		{"quit, new connection", "K", ""},
		{"a letter unheard of", "Z", "unknown command"},
		{"a NUL", "\x00", "unknown command"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := checkFrame([]byte(tt.frame))
			if tt.fault == "" && err != nil || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
				t.Errorf("checkFrame(%.40q): got %v, want %q", tt.frame, err, tt.fault)
			}
		})
	}
}

func TestCheckLength(t *testing.T) {
	for _, tt := range []struct {
		n    uint32
		good bool
	}{{0, false}, {1, true}, {maxFrame, true}, {maxFrame + 1, false}, {1<<32 - 1, false}} {
		if err := checkLength(tt.n); (err == nil) != tt.good {
			t.Errorf("checkLength(%d) = %v, want good: %v", tt.n, err, tt.good)
		}
	}
}

// tape is a connection whose input is fixed.
type tape struct {
	io.Reader
	out bytes.Buffer
}

func (t *tape) Write(p []byte) (int, error)      { return t.out.Write(p) }
func (t *tape) Close() error                     { return nil }
func (t *tape) LocalAddr() net.Addr              { return &net.UnixAddr{Name: "tape"} }
func (t *tape) RemoteAddr() net.Addr             { return &net.UnixAddr{} }
func (t *tape) SetDeadline(time.Time) error      { return nil }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }

// dialogues are what the two MTAs send in a session.
func dialogues() map[string][]byte {
	neg := miltertest.Negotiation(miltertest.Full())
	f := miltertest.Frame
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	return map[string][]byte{
		"sendmail": join(neg,
			f('D', "Cj\x00mx.example.com\x00_\x00x [203.0.113.25]\x00{daemon_name}\x00MTA\x00{client_resolve}\x00FAIL\x00"),
			f('C', "[IPv6:2001:db8:1:3:0:0:0:8]\x006\x9c\x41IPv6:2001:db8:1:3:0:0:0:8\x00"),
			f('D', "H{tls_version}\x00TLSv1.3\x00{verify}\x00NO\x00"), f('H', "client.example.net\x00"),
			f('D', "Mi\x005AKN4x2v012345\x00{auth_type}\x00PLAIN\x00"), f('M', "<a@example.net>\x00SIZE=4096\x00"),
			f('D', "Ri\x005AKN4x2v012345\x00"), f('R', "<U+d@Example.COM>\x00"),
			f('R', "<@hop.example:u@isp.net>\x00NOTIFY=NEVER\x00"), f('E', ""), f('Q', "")),
		"Postfix": join(neg,
			f('D', "Cj\x00mx.example.com\x00{client_name}\x00unknown\x00"),
			f('C', "[203.0.113.25]\x004\x9c\x41203.0.113.25\x00"), f('H', "x\x00"), f('M', "<>\x00"), f('R', "\"q q\"@example.com\x00"),
			f('A', ""), f('A', ""), f('D', "M"), f('M', "<a@b>\x00"), f('D', "Ri\x00q\x00"), f('R', "<c@d>\x00"), f('E', ""), f('A', ""), f('K', ""),
			f('C', "localhost\x00U"), f('M', "<>\x00"), f('U', "FOO\x00"), f('Q', "")),
		"all stages": join(neg, f('C', "x\x00L\x00\x00/tmp/x\x00"), f('H', "x\x00"), f('M', "<a@b>\x00"), f('R', "<c@d>\x00"),
			f('T', ""), f('L', "Subject\x00x\x00"), f('N', ""), f('B', strings.Repeat("line\r\n", 2000)), f('E', "rest"), f('Q', "")),
	}
}

// passOn returns the frames that the guard lets pass.
func passOn(t *testing.T, in io.Reader) [][]byte {
	t.Helper()
	s := NewServer(Config{})
	c := newConn(&tape{Reader: in}, s)
	var frames [][]byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(c, head[:]); err == io.EOF {
			break
		} else if err != nil {
			t.Fatalf("%v: a head is cut short", err)
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(c, frame); err != nil {
			t.Fatalf("%v: %q is cut short", err, frame)
		}
		frames = append(frames, frame)
	}
	_ = c.Close()
	if n := s.lent.Load(); n != 0 {
		t.Errorf("%d bytes of buffers were not given back", n)
	}
	return frames
}

func TestGuardPassesWholeFrames(t *testing.T) {
	pieces := map[string]func(io.Reader) io.Reader{
		"at once":      func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
		"in halves":    iotest.HalfReader,
		"with the EOF": iotest.DataErrReader,
	}
	for name, input := range dialogues() {
		var want [][]byte
		for rest := input; len(rest) > 0; {
			n := 4 + binary.BigEndian.Uint32(rest)
			if rest[4] != 'D' {
				want = append(want, rest[4:n])
			}
			rest = rest[n:]
		}
		for how, cut := range pieces {
			t.Run(name+" "+how, func(t *testing.T) {
				got := passOn(t, cut(bytes.NewReader(input)))
				if len(got) != len(want) {
					t.Fatalf("got %d frames, want %d", len(got), len(want))
				}
				for i := range want {
					if !bytes.Equal(got[i], want[i]) {
						t.Errorf("frame %d: got %.60q, want %.60q", i, got[i], want[i])
					}
				}
			})
		}
	}
}

// The peer may close at every byte; nothing incomplete may pass.
func TestGuardInputEndsAnywhere(t *testing.T) {
	for name, input := range dialogues() {
		t.Run(name, func(t *testing.T) {
			for n := range min(len(input), 700) {
				for _, frame := range passOn(t, bytes.NewReader(input[:n])) {
					if err := wellFormed(frame); err != nil {
						t.Fatalf("after %d bytes: %v", n, err)
					}
				}
			}
		})
	}
}

// wellFormed is what the library relies on, said apart from the guard.
func wellFormed(frame []byte) error {
	if len(frame) == 0 || len(frame) > 64<<10 {
		return fmt.Errorf("frame of %d bytes", len(frame))
	}
	data := frame[1:]
	terminated := len(data) > 0 && data[len(data)-1] == 0
	switch frame[0] {
	case 'C':
		i := bytes.IndexByte(data, 0)
		if i < 0 || i+1 >= len(data) {
			return fmt.Errorf("connect without family: %q", frame)
		}
		if data[i+1] == 'U' {
			return nil
		}
		if len(data) < i+5 || !terminated {
			return fmt.Errorf("connect cut short: %q", frame)
		}
		ip := net.ParseIP(strings.Trim(strings.TrimPrefix(string(data[i+4:len(data)-1]), "IPv6:"), "[]"))
		if data[i+1] != 'L' && ip == nil {
			return fmt.Errorf("connect with an address that is none: %q", frame)
		}
	case 'H', 'M', 'R', 'U', 'L':
		if !terminated {
			return fmt.Errorf("not terminated: %q", frame)
		}
	case 'O':
		if len(data) != 12 {
			return fmt.Errorf("negotiation of %d bytes", len(data))
		}
	case 'A', 'B', 'E', 'K', 'N', 'Q', 'T':
	default:
		return fmt.Errorf("command %q is not for the library", frame[0])
	}
	return nil
}

// FuzzGuard feeds bytes to the guard, and to the guard with library and session
// behind it, whose panic would end the test.
func FuzzGuard(f *testing.F) {
	for _, d := range dialogues() {
		f.Add(d, 1500)
	}
	for _, j := range junk() {
		f.Add(j.input, 7)
	}
	f.Fuzz(func(t *testing.T, input []byte, chunk int) {
		chunk = max(1, min(chunk, 1<<16))
		frames := passOn(t, &chunks{data: input, size: chunk})
		for i, frame := range frames {
			if err := wellFormed(frame); err != nil {
				t.Errorf("passed on: %v", err)
			}
			if (i == 0) != (frame[0] == 'O') {
				t.Errorf("frame %d is %q", i, frame[0])
			}
		}
		s := NewServer(Config{Policy: func() Decider { return script(acceptAll) }})
		c := newConn(&tape{Reader: &chunks{data: input, size: chunk}}, s)
		s.doors.Enter(c)
		s.serve(c)
		for s.doors.Open() > 0 {
			runtime.Gosched()
		}
		if n := s.panics.Load(); n != 0 {
			t.Errorf("%d panics", n)
		}
	})
}

// chunks hands out data in pieces of a size.
type chunks struct {
	data []byte
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.data[:min(len(c.data), c.size)])
	c.data = c.data[n:]
	return n, nil
}

type junkInput struct {
	name  string
	input []byte
}

// junk is input that no MTA sends, whole: it is refused without waiting for more.
func junk() []junkInput {
	neg := miltertest.Negotiation(miltertest.Full())
	after := func(b ...byte) []byte { return append(bytes.Clone(neg), b...) }
	f := miltertest.Frame
	return []junkInput{
		{"zeros", make([]byte, 64)},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")},
		{"SMTP", []byte("EHLO localhost\r\n")},
		{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")},
		{"a length of 4 GiB", []byte("\xff\xff\xff\xffO")},
		{"no negotiation", f('C', "localhost\x00U")},
		{"negotiation of the right length and another letter", f('X', strings.Repeat("x", 12))},
		{"short negotiation", f('O', "\x00\x00\x00\x06")},
		{"negotiation twice", after(neg...)},
		{"empty frame", after(0, 0, 0, 0)},
		{"frame of 512 MiB", after(0x20, 0, 0, 0)},
		{"connect without family", after(f('C', "host\x00")...)},
		{"connect without anything", after(f('C', "")...)},
		{"mail without NUL", after(f('M', "<a@b>")...)},
		{"rcpt without NUL", after(f('R', "<a@b>")...)},
		{"header of one string", after(f('L', "Subject\x00")...)},
		{"macros cut short", after(f('D', "Cj\x00")...)},
		{"unheard of", after(f('z', "")...)},
		{"a mail of 60 KiB", after(f('M', strings.Repeat("x", 60<<10)+"\x00")...)},
	}
}

var errTape = errors.New("tape")

func TestGuardReadError(t *testing.T) {
	neg := miltertest.Negotiation(miltertest.Full())
	in := io.MultiReader(bytes.NewReader(neg), iotest.ErrReader(errTape))
	if got := passOn(t, in); len(got) != 1 {
		t.Errorf("got %d frames, want the negotiation", len(got))
	}
}

// Answers leave in one piece, a quarantine together with what follows.
func TestGuardWrites(t *testing.T) {
	tests := []struct {
		name   string
		writes []string
		reply  string
		want   []string
	}{
		{"head alone", []string{"\x00\x00\x00\x01c"}, "", []string{"\x00\x00\x00\x01c"}},
		{"head and data", []string{"\x00\x00\x00\x03y", "4\x00"}, "", []string{"\x00\x00\x00\x03y4\x00"}},
		{"quarantine", []string{"\x00\x00\x00\x03q", "r\x00", "\x00\x00\x00\x01a"}, "", []string{"\x00\x00\x00\x03qr\x00\x00\x00\x00\x01a"}},
		{"a reply in place of a temporary failure", []string{"\x00\x00\x00\x01t", "\x00\x00\x00\x01t"}, "REPLY", []string{"REPLY", "\x00\x00\x00\x01t"}},
		{"not in place of others", []string{"\x00\x00\x00\x01c", "\x00\x00\x00\x01t"}, "REPLY", []string{"\x00\x00\x00\x01c", "\x00\x00\x00\x01t"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &writes{}
			c := newConn(w, NewServer(Config{}))
			if tt.reply != "" {
				c.reply = []byte(tt.reply)
			}
			for _, s := range tt.writes {
				if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
					t.Errorf("Write(%q) = %d, %v", s, n, err)
				}
			}
			if fmt.Sprintf("%q", w.got) != fmt.Sprintf("%q", tt.want) {
				t.Errorf("got %q, want %q", w.got, tt.want)
			}
		})
	}
}

// writes records each write.
type writes struct {
	tape
	got []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.got = append(w.got, string(p))
	return len(p), nil
}
