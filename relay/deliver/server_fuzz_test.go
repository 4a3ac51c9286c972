package deliver

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"gatepost/relay/sasl/saslclient"
	"gatepost/relay/tlspolicy"
)

// talker is a connection to a server that says certain lines, whatever it is told.
type talker struct {
	says []byte
	told bytes.Buffer
}

func (t *talker) Read(b []byte) (int, error) {
	if len(t.says) == 0 {
		return 0, io.EOF
	}
	line := t.says
	if n := bytes.IndexByte(line, '\n'); n >= 0 {
		line = line[:n+1]
	}
	n := copy(b, line)
	t.says = t.says[n:]
	return n, nil
}

func (t *talker) Write(b []byte) (int, error)      { return t.told.Write(b) }
func (t *talker) Close() error                     { return nil }
func (t *talker) LocalAddr() net.Addr              { return nil }
func (t *talker) RemoteAddr() net.Addr             { return nil }
func (t *talker) SetDeadline(time.Time) error      { return nil }
func (t *talker) SetReadDeadline(time.Time) error  { return nil }
func (t *talker) SetWriteDeadline(time.Time) error { return nil }

// FuzzServer: whatever a server says from the greeting on, nobody counts as delivered
// without a 2xx after the message, every result is fit for the log, and there is an end.
func FuzzServer(f *testing.F) {
	for _, seed := range []string{
		"220 hi\n250-hi\n250-PIPELINING\n250-AUTH TEST\n250-CHUNKING\n250-LIMITS RCPTMAX=1\n250 DSN\n334 YQ==\n235 ok\n250 ok\n250 ok\n354 go\n250 taken\n",
		"220 hi\n502 no\n250 ok\n250 ok\n250 ok\n550 no\n354 go\n250 taken\n",
		"220 hi\n250-hi\n250-STARTTLS\n250 AUTH=TEST\n454 no\n334 YQ==\n535 no\n",
		"220 hi\n250-hi\n250 SIZE 10\n", "421 no\n", "220 hi\n250 hi\n452 no\n", "\xff",
	} {
		f.Add([]byte(seed), true, true)
	}
	f.Fuzz(func(t *testing.T, says []byte, large, login bool) {
		s, err := NewSMTP(Config{HostName: "relay.example.com"})
		if err != nil {
			t.Fatal(err)
		}
		s.choose = func(*saslclient.Credentials, []string, string, *tlsState) (saslclient.Mechanism, error) {
			return &scripted{says: []string{"-", "a", "b", "!"}}, nil
		}
		peer := Peer{Host: "mx.example", Port: 25, Addr: mustAddr("192.0.2.1")}
		wire := &talker{says: says}
		timeouts := DefaultTimeouts()
		c := newConn(wire, peer.String(), &timeouts)
		c.demand.policy.Level = tlspolicy.None
		if login {
			c.demand.login = &saslclient.Credentials{User: "u"}
		}
		m := message("bob@example.net", "carol@example.net")
		if large {
			m.body = string(bytes.Repeat([]byte("x\r\n"), chunk))
		}
		release := c.guard(t.Context())
		p := s.prepare(c, &peer, false)
		release()
		if p != nil {
			if !fit(p.text) {
				t.Errorf("%q: %q", says, p.text)
			}
			return
		}
		tr := transaction{message: m, env: &m.env, to: []int{0, 1}, results: make([]Result, 2)}
		tr.begin(tr.addressable())
		if p := c.run(t.Context(), &tr, false); p != nil {
			tr.ended(p, c.via)
		}
		for _, i := range tr.of {
			r := &tr.results[i]
			if !fit(r.Reply) || r.Outcome == Delivered && (r.Code/100 != 2 || !tr.sending) || r.Code != 0 && (r.Code < 200 || r.Code > 599) {
				t.Errorf("%q: %+v", says, r)
			}
		}
		if wire.told.Len() > 3*len(m.body)+4096 {
			t.Errorf("%q: told %d bytes", says, wire.told.Len())
		}
	})
}
