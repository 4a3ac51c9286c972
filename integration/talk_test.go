//go:build integration

package integration

import (
	"bufio"
	"net"
	"net/netip"
	"strings"
	"testing"
)

// The clients that the tests of this package use (peers/root.zone).
const (
	friend   = "198.51.100.101" // may relay under faultPolicy
	outsider = "198.51.100.7"
)

// talk is a session that is held line by line, with something happening between.
type talk struct {
	t *testing.T
	c *conversation
}

// connect opens a session and says EHLO.
func (s *stack) connect(t *testing.T, d Driver, client, token string) *talk {
	t.Helper()
	from := netip.MustParseAddr(client)
	to, err := d.Addr(from)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := s.dial(from, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	k := &talk{t, &conversation{conn: conn, in: bufio.NewReaderSize(conn, maxReplyLine), token: token}}
	k.hear("220")
	k.say("EHLO client.example", "250")
	return k
}

// say sends lines and expects a reply that begins with want.
func (k *talk) say(line, want string) (reply string) {
	k.t.Helper()
	var steps []Step
	for l := range strings.SplitSeq(line, "\n") {
		steps = append(steps, Step{Kind: Send, Lines: []string{l}})
	}
	if err := k.c.send(steps); err != nil {
		k.t.Fatalf("%v\n%s", err, k.said())
	}
	reply = k.hear(want)
	k.c.inData = strings.HasPrefix(reply, "354")
	return reply
}

func (k *talk) hear(want string) string {
	k.t.Helper()
	reply, err := k.c.readReply()
	if err != nil {
		k.t.Fatalf("want a reply %q: %v\n%s", want, err, k.said())
	}
	last := Plain(reply[len(reply)-1])
	if !strings.HasPrefix(last, want) {
		k.t.Fatalf("got reply %q, want %q\n%s", last, want, k.said())
	}
	return last
}

// ask sends a line and returns the reply, or "closed".
func (k *talk) ask(line string) string {
	k.t.Helper()
	if err := k.c.send([]Step{{Kind: Send, Lines: []string{line}}}); err != nil {
		return "closed"
	}
	reply, err := k.c.readReply()
	if err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			k.t.Fatalf("no reply to %q\n%s", line, k.said())
		}
		return "closed"
	}
	last := Plain(reply[len(reply)-1])
	k.c.inData = strings.HasPrefix(last, "354")
	return last
}

func (k *talk) said() string { return "transcript:\n" + k.c.said.String() }

// note writes the transcript to the test's log, with a heading.
func (k *talk) note(heading string) {
	k.t.Helper()
	k.t.Logf("%s\n%s", heading, k.c.said.String())
}

// message is a body, up to and with its final dot.
const message = "Subject: test\n\nhello\n."
