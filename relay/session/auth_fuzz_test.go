package session

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"net"
	"net/netip"
	"strings"
	"testing"

	"gatepost/relay/sasl"
)

// FuzzAuthResponse: a line that is taken is the base64 of what it is taken for.
func FuzzAuthResponse(f *testing.F) {
	for _, s := range []string{"", "=", "*", "AGpvZQBwYXNz", "AGpvZQBwYXN=", "AGpv\rZQ==", "AGpv\nZQ==", "Zg", "Zg==", "Zh==", "\x00", "===="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		b, err := authResponse(line)
		if err == nil && base64.StdEncoding.EncodeToString(b) != string(line) {
			t.Fatalf("%q was taken for %q", line, b)
		}
		first, ferr := initialResponse(string(line))
		if same := bytes.Equal(first, b) && ferr == err; string(line) != "=" && !same || string(line) == "=" && (ferr != nil || len(first) > 0) {
			t.Fatalf("initial response %q: %q, %v", line, first, ferr)
		}
	})
}

func (c *tape) LocalAddr() net.Addr { return c.RemoteAddr() }

// FuzzAuth plays whole sessions with AUTH: nothing panics, each reply has its form, and
// nobody gets in without the password.
func FuzzAuth(f *testing.F) {
	const ehlo = "EHLO x\r\n"
	for _, s := range []string{
		ehlo + "AUTH PLAIN AGpvZQBwYXNz\r\nMAIL FROM:<a@b> AUTH=<>\r\n", ehlo + "AUTH PLAIN\r\nAGpvZQBwYXNz\r\nAUTH PLAIN =\r\n", ehlo + "AUTH LOGIN\r\nam9l\r\n*\r\n",
		ehlo + "AUTH CRAM-MD5\r\nam9lIDAxMjM=\r\n", ehlo + "AUTH DIGEST-MD5\r\ndXNlcm5hbWU9ImpvZSI=\r\n\r\n", ehlo + "AUTH SCRAM-SHA-256 biwsbj1qb2Uscj1hYmM=\r\nYz1iaXdz\r\n",
		"AUTH PLAIN =\r\n" + ehlo + "auth\r\nAUTH GSSAPI x y\r\nSTARTTLS\r\n", ehlo + "AUTH PLAIN\r\n" + strings.Repeat("A", 5000) + "\r\nQUIT\r\n",
	} {
		f.Add([]byte(s), 1000)
		f.Add([]byte(s), 1)
	}
	auth, err := sasl.NewServer(sasl.Config{Mechanisms: sasl.Mechanisms(), HostName: "mx.example.com", Accounts: []sasl.Accounts{passwords{"joe": rand.Text()}},
		Throttle: sasl.Throttle{Source: 1 << 30, Network: 1 << 30, Account: 1 << 30}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, input []byte, size int) {
		h := &heap{}
		s, err := NewServer(Config{HostName: "mx.example.com", Policy: func() Policy { return script{verdict: acceptAll} }, Spool: h, Limits: Limits{Commands: 50, CommandLine: 100}})
		if err != nil {
			t.Fatal(err)
		}
		conn := &tape{in: bytes.NewReader(input), max: max(1, size)}
		c := &session{server: s, peer: netip.MustParseAddr("127.0.0.1"), rules: &Rules{Auth: auth, PlainOK: true, RequireAuth: true}}
		c.wire = newWire(conn, &s.lender, s.cfg.Limits.CommandLine)
		s.doors.Enter(c)
		c.serve()
		if st := s.Stats(); st.Panics != 0 || st.Logins != 0 || st.Messages != 0 || s.lender.lent.Load() != 0 || c.facts.Auth.Type != "" {
			t.Fatalf("%q: stats %+v, %d buffers lent, %+v", input, st, s.lender.lent.Load(), c.facts.Auth)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(conn.out.String(), "\r\n"), "\r\n") {
			if !replyForm.MatchString(line) {
				t.Fatalf("%q got the reply %q", input, line)
			}
		}
	})
}
