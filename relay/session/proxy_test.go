package session

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"gatepost/policy"
)

// proxyV2 is a header of version 2.
func proxyV2(command, family byte, payload string) string {
	b := append([]byte(nil), proxyV2Signature...)
	b = append(b, command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	return string(b) + payload
}

const (
	v4Payload = "\xc0\x00\x02\x01\xc0\x00\x02\x02\x10\x00\x00\x19"
	v6Payload = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x10\x00\x00\x19"
	mappedPayload = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xc0\x00\x02\x01" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x10\x00\x00\x19"
)

func TestParseProxy(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"v1", "PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", "192.0.2.1"},
		{"v1 IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 65535 25\r\n", "2001:db8::1"},
		{"v1 unknown", "PROXY UNKNOWN and whatever\r\n", "nobody"},
		{"v1 unknown, short", "PROXY UNKNOWN\r\n", "nobody"},
		{"v1 of the other family", "PROXY TCP4 2001:db8::1 2001:db8::2 1 25\r\n", "error"},
		{"v1 IPv4 as TCP6", "PROXY TCP6 192.0.2.1 192.0.2.2 1 25\r\n", "error"},
		{"v1 with a zone", "PROXY TCP6 fe80::1%eth0 fe80::2 1 25\r\n", "error"},
		{"v1 without ports", "PROXY TCP4 192.0.2.1 192.0.2.2\r\n", "error"},
		{"v1 with a port too large", "PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n", "error"},
		{"v1 with two blanks", "PROXY TCP4  192.0.2.1 192.0.2.2 1 25\r\n", "error"},
		{"v1 without CR", "PROXY TCP4 192.0.2.1 192.0.2.2 1 25\n", "error"},
		{"v1 too long", "PROXY UNKNOWN " + strings.Repeat("x", 100), "error"},
		{"v1 unfinished", "PROXY TCP4 192", "more"},
		{"a beginning of both", "", "more"},
		{"v2", proxyV2(0x21, 0x11, v4Payload), "192.0.2.1"},
		{"v2 with TLVs", proxyV2(0x21, 0x11, v4Payload+"\x04\x00\x01x"), "192.0.2.1"},
		{"v2 IPv6", proxyV2(0x21, 0x21, v6Payload), "2001:db8::1"},
		{"v2 IPv4-mapped", proxyV2(0x21, 0x21, mappedPayload), "192.0.2.1"},
		{"v2 local", proxyV2(0x20, 0x00, ""), "local"},
		{"v2 unix", proxyV2(0x21, 0x31, strings.Repeat("x", 216)), "nobody"},
		{"v2 unspecified", proxyV2(0x21, 0x00, ""), "nobody"},
		{"v2 cut short", proxyV2(0x21, 0x11, v4Payload[:11]), "error"},
		{"v2 other command", proxyV2(0x22, 0x11, v4Payload), "error"},
		{"v2 version 3", proxyV2(0x31, 0x11, v4Payload), "error"},
		{"v2 too long", proxyV2(0x21, 0x11, strings.Repeat("x", 5000)), "error"},
		{"v2 unfinished", proxyV2(0x21, 0x11, v4Payload)[:20], "more"},
		{"SMTP", "EHLO x\r\n", "error"},
		{"empty line", "\r\nEHLO x\r\n", "error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const rest = "EHLO x\r\n"
			in := tt.in
			if tt.want != "more" {
				in += rest
			}
			p, n, err := parseProxy([]byte(in))
			got := ""
			switch {
			case err != nil:
				got = "error"
			case n == 0:
				got = "more"
			case p.local:
				got = "local"
			case !p.client.IsValid():
				got = "nobody"
			default:
				got = p.client.String()
			}
			if got != tt.want || got != "more" && got != "error" && in[n:] != rest {
				t.Errorf("got %s, %d bytes, %v; want %s", got, n, err, tt.want)
			}
		})
	}
}

// FuzzParseProxy: a header is the same in whatever pieces it comes, and is bounded.
func FuzzParseProxy(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", "PROXY UNKNOWN\r\n", proxyV2(0x21, 0x21, v6Payload), proxyV2(0x20, 0, ""), "PROXY ", "\r\n\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, n, err := parseProxy(in)
		if n > len(in) || n > proxyV2Head+longestProxyV2 {
			t.Fatalf("%d bytes used of %d", n, len(in))
		}
		if err == nil && n == 0 && len(in) > proxyV2Head+longestProxyV2 {
			t.Fatal("wants more after all that")
		}
		for i := range min(n, len(in)) {
			if _, m, err := parseProxy(in[:i]); err == nil && m != 0 {
				t.Fatalf("%d bytes were enough, all %d are used", i, n)
			}
		}
		if p.client.IsValid() && (p.client.Is4In6() || p.client.Zone() != "" || err != nil) {
			t.Fatalf("address %v, %v", p.client, err)
		}
	})
}

func isLocal(a netip.Addr) bool { return a.IsLoopback() }

func TestProxy(t *testing.T) {
	seen := make(chan netip.Addr, 1)
	p := script{verdict: func(at policy.Stage, f *policy.Facts) policy.Verdict {
		if at == policy.StageConnect {
			seen <- f.Conn.Addr
		}
		return accept
	}}
	f := start(t, p, func(c *Config) { c.Proxies = isLocal })
	for _, tt := range []struct{ header, want string }{
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n", "192.0.2.1"},
		{proxyV2(0x21, 0x21, v6Payload), "2001:db8::1"},
		{proxyV2(0x20, 0, ""), "127.0.0.1"},
		{"PROXY UNKNOWN\r\n", "invalid IP"},
	} {
		c := f.dial()
		for i := range len(tt.header) {
			c.send(tt.header[i : i+1])
		}
		c.expect("220 mx.example.com ESMTP Gatepost")
		if got := (<-seen).String(); got != tt.want {
			t.Errorf("%q: client %s, want %s", tt.header, got, tt.want)
		}
		c.say("QUIT", "221 ")
	}
	for _, bad := range []string{"EHLO x\r\n", "PROXY TCP4 x y z\r\n", "\r\nQUIT\r\n"} {
		c := f.dial()
		c.send(bad)
		c.expect("EOF")
	}
	if n := f.Stats().Foreign; n != 3 {
		t.Errorf("%d foreign connections, want 3", n)
	}
	look := f.dial()
	_ = look.conn.(*net.TCPConn).CloseWrite()
	look.expect("EOF")
	if n := f.Stats().Foreign; n != 3 {
		t.Errorf("a proxy that only looks is foreign")
	}
	early := f.dial()
	early.send("PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\nEHLO x\r\n")
	early.expect("554 mx.example.com ESMTP not accepting messages")
	<-seen
}

func TestProxyIsForProxies(t *testing.T) {
	f := accepting(t)
	c := f.dial()
	c.expect("220 mx.example.com ESMTP Gatepost")
	c.say("PROXY TCP4 192.0.2.1 192.0.2.2 1 25", "500 5.5.1 Command unrecognized")
}

// TestXclientIsNotForClientsOfAProxy: the networks of proxies and of filters may overlap.
func TestXclientIsNotForClientsOfAProxy(t *testing.T) {
	f := accepting(t, func(c *Config) { c.Proxies, c.Xclient = isLocal, isLocal })
	c := f.dial()
	c.send("PROXY TCP4 203.0.113.9 192.0.2.2 1 25\r\n")
	c.expect("220 mx.example.com ESMTP Gatepost")
	c.send("EHLO x\r\n")
	if r := c.reply(); strings.Contains(r, "XCLIENT") {
		t.Errorf("EHLO: %q", r)
	}
	c.say("XCLIENT ADDR=127.0.0.1", "550 5.7.0 Insufficient authorization")
}

func TestClientsOfAProxyAreCounted(t *testing.T) {
	f := accepting(t, func(c *Config) { c.Proxies, c.Limits.ConnsPerClient = isLocal, 1 })
	header := "PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n"
	first := f.dial()
	first.send(header)
	first.expect("220 mx.example.com ESMTP Gatepost")
	second := f.dial()
	second.send(header)
	second.expect("421 4.7.0 mx.example.com Too many connections from your address, please try again later")
	for _, tt := range []struct{ client, want string }{
		{"TCP4 192.0.2.3 192.0.2.2", "220 mx.example.com ESMTP Gatepost"},
		{"TCP6 2001:db8::1 2001:db8::2", "220 mx.example.com ESMTP Gatepost"},
		{"TCP6 2001:db8::ffff:1 2001:db8::2", "421 4.7.0 mx.example.com Too many connections from your address, please try again later"},
		{"TCP6 2001:db8:0:1::1 2001:db8::2", "220 mx.example.com ESMTP Gatepost"},
	} {
		c := f.dial()
		c.send("PROXY " + tt.client + " 1 25\r\n")
		c.expect(tt.want)
	}
}

func TestXclient(t *testing.T) {
	type facts struct {
		conn policy.Conn
		helo policy.Helo
		auth policy.Auth
	}
	var last atomic.Pointer[facts]
	p := script{verdict: func(_ policy.Stage, f *policy.Facts) policy.Verdict {
		last.Store(&facts{f.Conn, f.Helo, f.Auth})
		return accept
	}}
	addr := netip.MustParseAddr("192.0.2.1")
	tests := []struct {
		name, command string
		want          facts
	}{
		{"address and name", "ADDR=192.0.2.1 NAME=a.example", facts{conn: policy.Conn{Routes: true, Addr: addr, Resolve: policy.ResolveOK, Name: "a.example", Ptr: "a.example"}}},
		{"no name", "addr=192.0.2.1 name=[UNAVAILABLE]", facts{conn: policy.Conn{Routes: true, Addr: addr, Resolve: policy.ResolveFail}}},
		{"no name for now", "ADDR=192.0.2.1 NAME=[TEMPUNAVAIL]", facts{conn: policy.Conn{Routes: true, Addr: addr, Resolve: policy.ResolveTemp}}},
		{"forged name", "ADDR=192.0.2.1 NAME=[UNAVAILABLE] REVERSE_NAME=b.example", facts{conn: policy.Conn{Routes: true, Addr: addr, Resolve: policy.ResolveForged, Ptr: "b.example"}}},
		{"only the address: looked up", "ADDR=IPV6:2001:db8::1", facts{conn: policy.Conn{Routes: true, Addr: netip.MustParseAddr("2001:db8::1"), Resolve: policy.ResolveFail}}},
		{"no address", "ADDR=[UNAVAILABLE] NAME=[UNAVAILABLE]", facts{conn: policy.Conn{Routes: true, Resolve: policy.ResolveFail}}},
		{"HELO and login", "ADDR=192.0.2.1 NAME=[UNAVAILABLE] HELO=client+2Eexample LOGIN=joe PORT=25 DESTADDR=192.0.2.9 DESTPORT=25 PROTO=ESMTP",
			facts{policy.Conn{Routes: true, Addr: addr, Resolve: policy.ResolveFail}, policy.Helo{Given: true, Name: "client.example"}, policy.Auth{Type: "XCLIENT", Authen: "joe"}}},
	}
	f := start(t, p, func(c *Config) { c.Xclient = isLocal })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := f.dial()
			c.expect("220 mx.example.com ESMTP Gatepost")
			c.say("EHLO proxy.example", "250-")
			c.say("XCLIENT "+tt.command, "220 mx.example.com ESMTP Gatepost")
			if got := *last.Load(); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			c.say("MAIL FROM:<a@b>", "250 ")
		})
	}
	t.Run("in two commands", func(t *testing.T) {
		c := f.greeted()
		c.say("XCLIENT ADDR=192.0.2.1 NAME=a.example", "220 ")
		c.say("XCLIENT LOGIN=joe", "220 ")
		want := facts{conn: policy.Conn{Routes: true, Addr: addr, Resolve: policy.ResolveOK, Name: "a.example", Ptr: "a.example"}, auth: policy.Auth{Type: "XCLIENT", Authen: "joe"}}
		if got := *last.Load(); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		c.say("XCLIENT ADDR=192.0.2.2 NAME=[UNAVAILABLE]", "220 ")
		if last.Load().auth.Type != "" {
			t.Error("the next client is logged in")
		}
	})
	t.Run("what is wrong", func(t *testing.T) {
		c := f.greeted()
		for _, bad := range []string{"", "ADDR", "ADDR=", "ADDR=x", "NAME=a+0D+0Ab", "NAME=a+2", "HELO=a+20b", "FOO=bar", "PORT=99999", "LOGIN=a+0Ab"} {
			c.say("XCLIENT "+bad, "501 5.5.4 Bad XCLIENT command: ")
		}
		c.say("MAIL FROM:<a@b>", "250 ")
		c.say("XCLIENT ADDR=192.0.2.1", "503 5.5.1 MAIL transaction in progress")
	})
	t.Run("announced", func(t *testing.T) {
		c := f.dial()
		c.expect("220 mx.example.com ESMTP Gatepost")
		c.send("EHLO x\r\n")
		if r := c.reply(); !strings.Contains(r, "250-"+xclientKeyword) {
			t.Errorf("EHLO: %q", r)
		}
	})
}

func TestXclientOfARefusedClient(t *testing.T) {
	f := start(t, script{verdict: func(at policy.Stage, f *policy.Facts) policy.Verdict {
		switch f.Conn.Addr.String() {
		case "192.0.2.66":
			return refusal(550, "5.7.1", "Access denied")
		case "192.0.2.42":
			return refusal(421, "4.7.0", "Go")
		}
		return accept
	}}, func(c *Config) { c.Xclient = isLocal })
	c := f.greeted()
	c.say("XCLIENT ADDR=192.0.2.66", "220 ")
	c.say("MAIL FROM:<a@b>", "550 5.7.1 Access denied")
	c.say("XCLIENT ADDR=192.0.2.1", "220 ")
	c.say("MAIL FROM:<a@b>", "250 ")
	c.say("RSET", "250 ")
	c.say("XCLIENT ADDR=192.0.2.42", "421 4.7.0 Go")
	c.expect("EOF")
}
