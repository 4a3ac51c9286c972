package session

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// smuggled is what an attacker hides in a message: commands that would make
// another one, if something before them ended it.
const smuggled = "MAIL FROM:<evil@sender.example>\r\nRCPT TO:<victim@local.example>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n"

// falseEnds are what some servers take for the end of a message.
var falseEnds = []string{
	"\n.\n", "\r.\r", "\n.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r\n", "\n.\r", "\r.\n",
	"\r\n\x00.\r\n", "\r\n.\x00\r\n", "\x00\r\n.\n", "\r\x00\n.\r\n", "\r\n.\r\x00\n", "\r\n..\n", "\n..\r\n",
	"\r\n.\r\r\n", "\r\n\r.\r\n", "\r\r\n.\r\r\n", "\r\n\n.\r\n", "\n\n.\r\n", "\n\r.\n\r", "\r\n.\n\r\n", "\r\n. \r\n", "\r\n .\r\n",
	"\r\n.\x0b\r\n", "\xc2\x85.\xc2\x85", "\xe2\x80\xa8.\xe2\x80\xa8",
}

func TestSmuggling(t *testing.T) {
	for _, mode := range []Mode{Reject, Normalize} {
		for _, chunking := range []bool{false, true} {
			f := accepting(t, func(c *Config) { c.BareNewline = func(netip.Addr) Mode { return mode } })
			taken := 0
			for _, end := range falseEnds {
				for _, bytewise := range []bool{false, true} {
					name := fmt.Sprintf("mode %d, BDAT %v, %q, bytewise %v", mode, chunking, end, bytewise)
					t.Run(name, func(t *testing.T) {
						c := f.greeted()
						c.t = t
						taken += smuggle(t, c, end, chunking, bytewise)
					})
				}
			}
			if got := len(f.stored()); got != taken || taken == 0 {
				t.Errorf("mode %d, BDAT %v: %d messages stored, %d accepted", mode, chunking, got, taken)
			}
			for _, text := range f.stored() {
				if bare := strings.ReplaceAll(text, "\r\n", ""); strings.ContainsAny(bare, "\r\n\x00") {
					t.Errorf("stored with bare characters: %q", text)
				}
				if !strings.Contains(text, "MAIL FROM:<evil@sender.example>\r\n") {
					t.Errorf("what was to be smuggled is not part of the message: %q", text)
				}
			}
		}
	}
}

// smuggle sends a message with a false end and returns how many were accepted.
func smuggle(t *testing.T, c *talker, end string, chunking, bytewise bool) int {
	text := "Subject: first\r\n\r\nhello" + end + smuggled
	c.say("MAIL FROM:<a@sender.example>", "250 ")
	c.say("RCPT TO:<u@local.example>", "250 ")
	if chunking {
		text = strings.TrimSuffix(text, ".\r\n")
		c.send(fmt.Sprintf("BDAT %d LAST\r\n", len(text)))
	} else {
		c.say("DATA", "354 ")
	}
	if bytewise {
		for i := range len(text) {
			c.send(text[i : i+1])
		}
	} else {
		c.send(text)
	}
	result := c.reply()
	// The next reply must be that to NOOP: nothing of the text was a command.
	c.say("NOOP", "250 2.0.0 OK")
	switch {
	case strings.HasPrefix(result, "250 2.0.0 "):
		return 1
	case !strings.HasPrefix(result, "554 5.6.0 "):
		t.Errorf("the message got %q", result)
	}
	return 0
}

// What is stored after normalizing cannot end a message where it goes next: there
// each dot that begins a line is doubled.
func TestNormalizedTextIsText(t *testing.T) {
	f := accepting(t, func(c *Config) { c.BareNewline = func(netip.Addr) Mode { return Normalize } })
	c := f.greeted()
	c.transaction()
	c.say("a: b\n\nline\n.\r\nand\r.\rmore\n..\n\r\n.", "250 2.0.0 ")
	want := "a: b\r\n\r\nline\r\n.\r\nand\r\n.\r\nmore\r\n..\r\n\r\n"
	if got := f.stored(); len(got) != 1 || got[0] != want {
		t.Errorf("stored %q, want %q", got, want)
	}
}

func TestBareCharactersInCommands(t *testing.T) {
	f := accepting(t)
	for _, tt := range []struct{ command, first, second string }{
		{"NOOP\nMAIL FROM:<evil@sender.example>\r\n", "500 5.5.2 Bare <LF> not allowed, closing connection", "EOF"},
		{"EHLO a\rMAIL FROM:<evil@sender.example>\r\nNOOP\r\n", "500 5.5.2 Bare <CR> not allowed in commands", "250 2.0.0 OK"},
		{"NOOP\x00\r\nNOOP\r\n", "500 5.5.2 NUL not allowed in commands", "250 2.0.0 OK"},
		{"NOOP\r\r\nNOOP\r\n", "500 5.5.2 Bare <CR> not allowed in commands", "250 2.0.0 OK"},
		{strings.Repeat("x", 5000) + "\nNOOP\r\n", "500 5.5.2 Bare <LF> not allowed, closing connection", "EOF"},
		{strings.Repeat("x", 5000) + "\r\nNOOP\r\n", "500 5.5.2 Line too long (2048 bytes max)", "250 2.0.0 OK"},
		{strings.Repeat("x", 2046) + "\r\nNOOP\r\n", "500 5.5.1 Command unrecognized", "250 2.0.0 OK"},
		{strings.Repeat("x", 2047) + "\r\nNOOP\r\n", "500 5.5.2 Line too long (2048 bytes max)", "250 2.0.0 OK"},
	} {
		t.Run(fmt.Sprintf("%.40q", tt.command), func(t *testing.T) {
			c := f.greeted()
			c.t = t
			c.send(tt.command)
			c.expect(tt.first)
			c.expect(tt.second)
		})
	}
	lenient := accepting(t, func(c *Config) { c.BareNewline = func(netip.Addr) Mode { return Normalize } })
	c := lenient.greeted()
	c.send("NOOP\nMAIL FROM:<a@b>\n")
	c.expect("250 2.0.0 OK")
	c.expect("250 2.1.0 <a@b>... Sender ok")
}

// TestRefusedDataIsNoCommands: a client that sends its message without waiting for the
// answer to DATA has a message that is not taken, not one more by what stands in it.
func TestRefusedDataIsNoCommands(t *testing.T) {
	const hidden = "Subject: x\r\n\r\nRSET\r\nMAIL FROM:<boss@sender.example>\r\nRCPT TO:<u@local.example>\r\nDATA\r\nforged\r\n.\r\nQUIT\r\n"
	for _, tt := range []struct{ name, begin, want string }{
		{"no recipient", "MAIL FROM:<a@b>\r\nRCPT TO:<c@d@e>\r\nDATA\r\n", "503 5.0.0 Need RCPT (recipient)"},
		{"no sender", "DATA\r\n", "503 5.0.0 Need MAIL command"},
		{"argument", "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA x\r\n", "501 5.5.4 DATA takes no argument"},
		{"BDAT", "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 0\r\nDATA\r\n", "503 5.5.1 BDAT in progress"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := accepting(t)
			c := f.greeted()
			c.send(tt.begin + hidden)
			last := ""
			for r := c.next(); r != "EOF"; r = c.next() {
				last = r
			}
			if last != tt.want || len(f.stored()) != 0 {
				t.Errorf("the last reply is %q, want %q; %d messages are stored", last, tt.want, len(f.stored()))
			}
		})
	}
	f := accepting(t)
	c := f.greeted()
	c.send("MAIL FROM:<a@b>\r\nRCPT TO:<c@d@e>\r\nDATA\r\n")
	c.expect("250 2.1.0 <a@b>... Sender ok")
	c.expect("553 5.1.3 <c@d@e>... Invalid route address")
	c.expect("503 5.0.0 Need RCPT (recipient)")
	c.say("NOOP", "250 ")
}
