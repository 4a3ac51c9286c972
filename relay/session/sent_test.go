package session_test

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatepost/internal/dns/dnstest"
)

// dialog says commands as a client and returns the replies.
func dialog(t *testing.T, addr string, client netip.Addr, commands ...string) []string {
	t.Helper()
	conn, err := net.Dial("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewReader(conn)
	var replies []string
	for i, c := range append([]string{"PROXY TCP4 " + client.String() + " 192.0.2.1 1025 25"}, commands...) {
		if _, err := io.WriteString(conn, c+"\r\n"); err != nil {
			t.Fatal(err)
		}
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		if i > 0 {
			replies = append(replies, strings.TrimSuffix(line, "\r\n"))
		}
	}
	return replies
}

// TestAddressesAsSent: a stranger's address leaves as the one that the rules judged,
// in a form in which no server sees the end of the address before its end.
func TestAddressesAsSent(t *testing.T) {
	s := serve(t, map[string]string{
		"relay-domains": "friend.example\n",
		"access":        "To:joe@friend.example 550 Not joe\nTo:secret.friend.example REJECT\n",
		"gatepost.toml": "[features]\nblocklist_recipients = true\nnocanonify = true\naccept_unresolvable_domains = true\naccept_unqualified_senders = true\n",
	}, dnstest.Serve(t, world(t)), nil)
	stranger := netip.MustParseAddr("203.0.113.9")
	for _, tc := range []struct{ from, to, reply, sent string }{
		{"<a@b.example>", "<ann@friend.example>", "250 2.1.5 ", "<a@b.example> <ann@friend.example>"},
		{"<a@b.example>", "<joe@friend.example>", "550 5.0.0 ", ""},
		{"<a@b.example>", `<j\oe@friend.example>`, "550 5.0.0 ", ""},
		{"<a@b.example>", `<"joe"@friend.example>`, "550 5.0.0 ", ""},
		{"<a@b.example>", `<j"o"e@friend.example>`, "550 5.0.0 ", ""},
		{"<a@b.example>", `<"j\oe"@friend.example>`, "550 5.0.0 ", ""},
		{"<a@b.example>", `<"j oe"@friend.example>`, "250 2.1.5 ", `<a@b.example> <"j oe"@friend.example>`},
		{"<a@b.example>", `<a\nn@friend.example>`, "250 2.1.5 ", "<a@b.example> <ann@friend.example>"},
		{"<a@b.example>", `<joe@"far.example> "friend.example>`, "553 5.1.2 ", ""},
		{"<a@b.example>", "<joe@far.example!friend.example>", "553 5.1.2 ", ""},
		{"<a@b.example>", "<joe@far.example%friend.example>", "553 5.1.2 ", ""},
		{"<a@b.example>", `<joe@far.example\friend.example>`, "553 5.1.2 ", ""},
		{"<a@b.example>", "<joe@far.example(friend.example>", "553 5.1.2 ", ""},
		{`<a\"\> SIZE=1 \"x@b.example>`, "<ann@friend.example>", "250 2.1.5 ", `<"a\"> SIZE=1 \"x"@b.example> <ann@friend.example>`},
		{"<a b@c.example>", "<ann@friend.example>", "250 2.1.5 ", `<"a b"@c.example> <ann@friend.example>`},
		{`<a@"x> "b.example>`, "", "553 5.1.2 ", ""},
		{"<a@b.example.>", "<ann@friend.example.>", "250 2.1.5 ", "<a@b.example> <ann@friend.example>"},
		{"<a>", "<ann@friend.example>", "250 2.1.5 ", "<a> <ann@friend.example>"},
		{"<host!a>", "<ann@friend.example>", "250 2.1.5 ", "<host!a> <ann@friend.example>"},
		{"<>", "<ann@friend.example>", "250 2.1.5 ", "<> <ann@friend.example>"},
		{"<@x.example:a@b.example>", "<ann@friend.example>", "250 2.1.5 ", "<a@b.example> <ann@friend.example>"},
	} {
		commands := []string{"HELO client.example", "MAIL FROM:" + tc.from}
		if tc.to != "" {
			commands = append(commands, "RCPT TO:"+tc.to)
		}
		if tc.sent != "" {
			commands = append(commands, "DATA", "A: b\r\n.")
		}
		got := dialog(t, s.addr, stranger, append([]string{}, commands...)...)
		at := len(got) - 1
		if tc.sent != "" {
			at -= 2
		}
		if !strings.HasPrefix(got[at], tc.reply) {
			t.Errorf("from %s to %s: %q, want %q", tc.from, tc.to, got, tc.reply)
			continue
		}
		if tc.sent == "" {
			continue
		}
		all := s.spool.Messages()
		e, err := all[len(all)-1].Envelope()
		if err != nil {
			t.Fatal(err)
		}
		if sent := "<" + e.Sender + "> <" + e.Recipients[0].Address + ">"; sent != tc.sent {
			t.Errorf("from %s to %s: sent on as %s, want %s", tc.from, tc.to, sent, tc.sent)
		}
	}
}
