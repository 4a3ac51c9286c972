package session

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/internal/peer"
	"gatepost/policy"
)

// localClient is a session over a UNIX socket, greeted.
func localClient(t *testing.T, path string) *talker {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &talker{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// serveLocal has the server take local clients too; it returns the socket's path.
func serveLocal(t *testing.T, f *fixture) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go f.Serve(context.Background(), ln, &Rules{Name: "local", Local: true})
	return path
}

// TestLocal: a client over a UNIX socket is to the policy what sendmail -bs is, and in
// Received it is the user that the kernel knows.
func TestLocal(t *testing.T) {
	var seen []policy.Conn
	judge := script{verdict: func(_ policy.Stage, f *policy.Facts) policy.Verdict {
		seen = append(seen, f.Conn)
		return accept
	}}
	everybody := func(netip.Addr) bool { return true }
	f := start(t, judge, func(c *Config) { c.Xclient, c.Proxies = everybody, everybody })
	c := localClient(t, serveLocal(t, f))
	c.expect("220 mx.example.com ESMTP Gatepost")
	user := localUser{uid: uint32(os.Getuid()), name: peer.Name(uint32(os.Getuid()))}
	c.send("EHLO liar.example\r\n")
	hello := c.reply()
	if !strings.HasPrefix(hello, "250-mx.example.com Hello "+user.String()+", pleased to meet you\n") || strings.Contains(hello, "XCLIENT") {
		t.Errorf("EHLO is answered %q", hello)
	}
	c.say("XCLIENT ADDR=192.0.2.7", "550 5.7.0 ")
	c.say("PROXY TCP4 192.0.2.7 192.0.2.1 40000 25", "500 5.5.1 ")
	c.transaction()
	c.send("Subject: as the system has lines\n\none\n.\ntwo\r\n.\r\n")
	if got := c.reply(); !strings.HasPrefix(got, "250 2.0.0 ") {
		t.Fatalf("the message is answered %q", got)
	}
	if len(seen) == 0 {
		t.Fatal("the policy was not asked")
	}
	for _, at := range seen {
		if !at.Local || at.Addr.IsValid() || at.Name != "localhost" || at.Resolve != policy.ResolveOK || at.Rate+at.Open != 0 {
			t.Errorf("the policy was told %+v", at)
		}
	}
	text := f.read(f.spool.Messages()[0])
	want := fmt.Sprintf("Received: from localhost (%s)\r\n\tby mx.example.com with ESMTP id ", user)
	if !strings.HasPrefix(text, want) || !strings.HasSuffix(text, "\r\n\r\none\r\n.\r\ntwo\r\n") {
		t.Errorf("the message is %q, want it to begin with %q", text, want)
	}
	if e := f.envelope(); e.Client.Addr.IsValid() || e.Client.Helo != "" || e.Client.Auth != "" {
		t.Errorf("the envelope has the client as %+v", e.Client)
	}
	if log := f.log.String(); !strings.Contains(log, `client="`+user.String()+`"`) {
		t.Errorf("the log does not name the user:\n%s", log)
	}
}

// TestLocalLimit: users have so many connections each as hosts have.
func TestLocalLimit(t *testing.T) {
	f := accepting(t, limits(func(l *Limits) { l.ConnsPerClient = 2 }))
	path := serveLocal(t, f)
	for range 2 {
		localClient(t, path).expect("220 mx.example.com ESMTP Gatepost")
	}
	localClient(t, path).expect("421 4.7.0 mx.example.com Too many connections from your address, please try again later")
	f.greeted() // by the network there is room
	if got := f.Stats().Refused; got != 1 {
		t.Errorf("%d connections were refused, want 1", got)
	}
}

func TestLocalRules(t *testing.T) {
	f := accepting(t)
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bad := &Rules{Name: "local", Local: true, Allowed: func(netip.Addr) bool { return true }}
	if err := f.Serve(context.Background(), ln, bad); err == nil || !strings.Contains(err.Error(), "it is local, and TLS, AUTH and networks are not") {
		t.Errorf("rules that make no sense are answered %v", err)
	}
	if ln, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go f.Serve(context.Background(), ln, &Rules{Local: true})
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	(&talker{t: t, conn: conn, in: bufio.NewReader(conn)}).expect("421 4.3.0 mx.example.com Service not available, closing transmission channel")
}
