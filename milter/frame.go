package milter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Commands of the MTA (mfdef.h, SMFIC_*).
const (
	cmdAbort     = 'A'
	cmdBody      = 'B'
	cmdConnect   = 'C'
	cmdMacro     = 'D'
	cmdEndBody   = 'E'
	cmdHelo      = 'H'
	cmdQuitNC    = 'K'
	cmdHeader    = 'L'
	cmdMail      = 'M'
	cmdEndHeader = 'N'
	cmdNegotiate = 'O'
	cmdQuit      = 'Q'
	cmdRcpt      = 'R'
	cmdData      = 'T'
	cmdUnknown   = 'U'
)

// Sizes of a frame, without the four bytes that carry its length.
const (
	headSize       = 4
	maxFrame       = 64 << 10 // command and data; MTAs send chunks of a body of 65535 bytes
	maxTextFrame   = 16 << 10 // commands made of SMTP lines and macros, far above what MTAs let pass
	negotiateFrame = 13       // version, actions and protocol, 32 bits each
	minVersion     = 2
)

var errUnterminated = errors.New("a string is not terminated")

// checkLength judges the announced length of a frame, before any of it is here.
func checkLength(n uint32) error {
	if n < 1 || n > maxFrame {
		return fmt.Errorf("frame of %d bytes, expected 1 to %d", n, maxFrame)
	}
	return nil
}

// checkFrame judges a whole frame: command byte and data. What it lets pass the
// library can read without looking beyond the end of anything.
//
// It changes one byte of a CONNECT whose address is no address: see checkConnect.
func checkFrame(frame []byte) error {
	cmd, data := frame[0], frame[1:]
	if cmd != cmdBody && cmd != cmdHeader && cmd != cmdEndBody && len(frame) > maxTextFrame {
		return fmt.Errorf("%q frame of %d bytes, at most %d", cmd, len(frame), maxTextFrame)
	}
	var err error
	switch cmd {
	case cmdNegotiate:
		err = checkNegotiate(data)
	case cmdConnect:
		err = checkConnect(data)
	case cmdMacro:
		err = checkMacros(data)
	case cmdHelo, cmdUnknown:
		err = checkStrings(data, 1, 1)
	case cmdMail, cmdRcpt:
		err = checkStrings(data, 1, len(data))
	case cmdHeader:
		err = checkStrings(data, 2, 2)
	case cmdAbort, cmdQuit, cmdQuitNC, cmdData, cmdEndHeader:
		if len(data) != 0 {
			err = fmt.Errorf("%d bytes of data, expected none", len(data))
		}
	case cmdBody, cmdEndBody:
	default:
		return fmt.Errorf("unknown command %q", cmd)
	}
	if err != nil {
		return fmt.Errorf("%q frame: %w", cmd, err)
	}
	return nil
}

func checkNegotiate(data []byte) error {
	if len(data) != negotiateFrame-1 {
		return fmt.Errorf("%d bytes of data, expected %d", len(data), negotiateFrame-1)
	}
	if v := binary.BigEndian.Uint32(data); v < minVersion {
		return fmt.Errorf("protocol version %d, expected %d or later", v, minVersion)
	}
	return nil
}

// checkStrings wants from least to most strings, each ended by a NUL, and nothing after them.
func checkStrings(data []byte, least, most int) error {
	if len(data) == 0 || data[len(data)-1] != 0 {
		return errUnterminated
	}
	if n := bytes.Count(data, []byte{0}); n < least || n > most {
		return fmt.Errorf("%d strings, expected %d", n, least)
	}
	return nil
}

// checkConnect wants host NUL family, and for network families port, address NUL.
//
// The library hangs up on an address that it cannot parse, and sendmail without
// F= then goes on without a filter. Such a client is passed on as one of the
// unix family instead, which the session knows to have no address.
func checkConnect(data []byte) error {
	_, rest, ok := bytes.Cut(data, []byte{0})
	if !ok {
		return errUnterminated
	}
	if len(rest) == 0 {
		return errors.New("no address family")
	}
	family, rest := &rest[0], rest[1:]
	if *family == 'U' && len(rest) == 0 {
		return nil // no network connection; with an address it would be no such thing
	}
	if !strings.ContainsRune("UL46", rune(*family)) {
		return fmt.Errorf("unknown address family %q", *family)
	}
	if len(rest) < 3 {
		return errors.New("no port or address")
	}
	addr := rest[2:]
	if err := checkStrings(addr, 1, 1); err != nil {
		return err
	}
	if *family == 'U' || !parseable(*family, string(addr[:len(addr)-1])) {
		*family = 'L'
	}
	return nil
}

// parseable tells whether the library takes an address of this family.
func parseable(family byte, addr string) bool {
	switch family {
	case '4':
		ip := net.ParseIP(addr)
		return ip != nil && ip.To4() != nil
	case '6':
		addr = strings.TrimPrefix(addr, "IPv6:")
		if len(addr) > 2 && addr[0] == '[' && addr[len(addr)-1] == ']' {
			addr = addr[1 : len(addr)-1]
		}
		return net.ParseIP(addr) != nil
	}
	return true
}

// checkMacros wants the command that the macros are for, then names and values in turn.
func checkMacros(data []byte) error {
	if len(data) == 0 {
		return errors.New("no command")
	}
	if !strings.ContainsRune("CHMRTNEULBA", rune(data[0])) {
		return fmt.Errorf("for unknown command %q", data[0])
	}
	if len(data) == 1 {
		return nil
	}
	if data[len(data)-1] != 0 {
		return errUnterminated
	}
	if bytes.Count(data[1:], []byte{0})%2 != 0 {
		return errors.New("a macro without value")
	}
	return nil
}
