package milter

import (
	"context"
	"maps"
	"net/netip"
	"testing"

	"gatepost/milter/miltertest"
	"gatepost/policy"
)

// seen returns a Decider that keeps a copy of the facts of each stage.
func seen(at map[policy.Stage]policy.Facts) script {
	return func(_ context.Context, stage policy.Stage, f *policy.Facts) policy.Verdict {
		at[stage] = *f
		return accept
	}
}

func TestClientFacts(t *testing.T) {
	v4, v6 := netip.MustParseAddr("203.0.113.25"), netip.MustParseAddr("2001:db8:1:3::8")
	tests := []struct {
		name string
		peer miltertest.Peer
		want policy.Conn
		bare policy.Conn // without {client_name}, {client_ptr}, {client_resolve}
	}{
		{"verified", miltertest.Peer{Addr: v4, Name: "mail.example.net", Ptr: "mail.example.net"},
			policy.Conn{Addr: v4, Name: "mail.example.net", Ptr: "mail.example.net", Resolve: policy.ResolveOK},
			policy.Conn{Addr: v4, Name: "mail.example.net", Resolve: policy.ResolveOK}},
		{"no reverse name", miltertest.Peer{Addr: v4},
			policy.Conn{Addr: v4, Resolve: policy.ResolveFail},
			policy.Conn{Addr: v4, Resolve: policy.ResolveFail}},
		{"forged", miltertest.Peer{Addr: v6, Ptr: "forged.example", Resolve: "FORGED"},
			policy.Conn{Addr: v6, Ptr: "forged.example", Resolve: policy.ResolveForged},
			policy.Conn{Addr: v6, Resolve: policy.ResolveFail}},
		{"temporary", miltertest.Peer{Addr: v6, Resolve: "TEMP"},
			policy.Conn{Addr: v6, Resolve: policy.ResolveTemp},
			policy.Conn{Addr: v6, Resolve: policy.ResolveFail}},
		{"final dot", miltertest.Peer{Addr: v6, Name: "mail.example.net.", Ptr: "mail.example.net."},
			policy.Conn{Addr: v6, Name: "mail.example.net", Ptr: "mail.example.net", Resolve: policy.ResolveOK},
			policy.Conn{Addr: v6, Name: "mail.example.net", Resolve: policy.ResolveOK}},
		{"on this host", miltertest.Peer{},
			policy.Conn{Local: true, Name: "localhost", Ptr: "localhost", Resolve: policy.ResolveOK},
			policy.Conn{Local: true, Name: "localhost", Resolve: policy.ResolveOK}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bothMTAs(t, func(t *testing.T, mta miltertest.MTA) {
				for _, offer := range []miltertest.Offer{miltertest.Full(), {Version: 6, Protocol: miltertest.ProtocolsAll}} {
					want := tt.want
					if offer.Actions == 0 {
						want = tt.bare
					}
					at := map[policy.Stage]policy.Facts{}
					c := start(t, seen(at)).dialOffer(mta, offer)
					expect(t, "connect", "c")(c.Connect(tt.peer))
					want.Daemon = c.Macros["{daemon_name}"]
					// sendmail tells its version only when asked for it.
					want.Routes = mta == miltertest.Postfix || offer.Actions == 0
					if got := at[policy.StageConnect].Conn; got != want {
						t.Errorf("offer %+v: got %+v, want %+v", offer, got, want)
					}
				}
			})
		})
	}
}

func TestConnectFrames(t *testing.T) {
	const port = "\x9c\x41"
	known := func(addr string) policy.Conn {
		return policy.Conn{Addr: netip.MustParseAddr(addr), Resolve: policy.ResolveFail, Routes: true}
	}
	tests := []struct {
		name, frame string
		known       bool
		want        policy.Conn
	}{
		{"IPv4", "[192.0.2.1]\x004" + port + "192.0.2.1\x00", true, known("192.0.2.1")},
		{"IPv4 mapped", "[x]\x006" + port + "::ffff:192.0.2.1\x00", true, known("192.0.2.1")},
		{"IPv4 mapped, as sendmail writes it", "[x]\x006" + port + "IPv6:::ffff:192.0.2.1\x00", true, known("192.0.2.1")},
		{"IPv6 in brackets", "unknown\x006" + port + "[2001:db8::1]\x00", true, known("2001:db8::1")},
		{"local", "localhost\x00U", true, policy.Conn{Local: true, Name: "localhost", Resolve: policy.ResolveOK, Routes: true}},
		{"unknown family with an address", "localhost\x00U" + port + "203.0.113.9\x00", false, policy.Conn{}},
		{"unknown family, other host", "mail.example.net\x00U", false, policy.Conn{}},
		{"unknown family, host unknown", "unknown\x00U", false, policy.Conn{}},
		{"unknown family, localhost in capitals", "LOCALHOST\x00U", false, policy.Conn{}},
		{"unix family, localhost", "localhost\x00L" + port + "/tmp/x\x00", false, policy.Conn{}},
		{"unix family, an address for a path", "localhost\x00L" + port + "127.0.0.1\x00", false, policy.Conn{}},
		{"localhost with an address that is none", "localhost\x004" + port + "none\x00", false, policy.Conn{}},
		{"IPv6 in the family of IPv4", "localhost\x004" + port + "::1\x00", false, policy.Conn{}},
		{"no address", "localhost\x006" + port + "\x00", false, policy.Conn{}},
		{"zone", "localhost\x006" + port + "fe80::1%eth0\x00", false, policy.Conn{}},
		{"hundreds", "x\x004" + port + "192.0.2.256\x00", false, policy.Conn{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at := map[policy.Stage]policy.Facts{}
			f := start(t, seen(at))
			c := f.dial(miltertest.Sendmail)
			send(t, c, miltertest.Frame('C', tt.frame))
			if cmd, _, err := c.ReadFrame(); cmd != 'c' || err != nil {
				t.Fatalf("connect: got %q, %v", cmd, err)
			}
			want := fault
			if tt.known {
				want = "c"
				if got := at[policy.StageConnect].Conn; got != tt.want {
					t.Errorf("got %+v, want %+v", got, tt.want)
				}
			}
			expect(t, "helo", "c")(c.Helo("x"))
			expect(t, "mail", want)(c.Mail("<a@example.net>"))
			if !tt.known && (len(at) != 0 || f.log.count("did not tell the client's address") != 1) {
				t.Errorf("policy was asked: %v; log: %s", at, f.log)
			}
		})
	}
}

func send(t *testing.T, c *miltertest.Client, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func TestTLSAndAuth(t *testing.T) {
	cert := map[string]string{"{tls_version}": "TLSv1.3", "{cert_subject}": "/CN=client", "{cert_issuer}": "/CN=ca"}
	bothMTAs(t, func(t *testing.T, mta miltertest.MTA) {
		at := map[policy.Stage]policy.Facts{}
		c := start(t, seen(at)).dial(mta)
		expect(t, "connect", "c")(c.Connect(peer))
		expect(t, "helo", "c")(c.Helo("x"))
		if got := at[policy.StageHelo].TLS; got != (policy.TLS{}) {
			t.Errorf("before STARTTLS: got %+v, want nothing", got)
		}
		maps.Copy(c.Macros, cert)
		want := policy.TLS{CertSubject: "/CN=client", CertIssuer: "/CN=ca"}
		if mta == miltertest.Sendmail {
			c.Macros["{verify}"], want.Verify = "OK", "OK"
		}
		expect(t, "helo after STARTTLS", "c")(c.Helo("x"))
		if got := at[policy.StageHelo].TLS; got != want {
			t.Errorf("after STARTTLS: got %+v, want %+v", got, want)
		}
		for _, auth := range []policy.Auth{{Type: "PLAIN", Authen: "fred"}, {}} {
			delete(c.Macros, "{auth_type}")
			delete(c.Macros, "{auth_authen}")
			if auth.Type != "" {
				c.Macros["{auth_type}"], c.Macros["{auth_authen}"] = auth.Type, auth.Authen
			}
			expect(t, "mail", "c")(c.Mail("<a@example.net>"))
			got := at[policy.StageMail]
			if got.TLS != want || got.Auth != auth {
				t.Errorf("at MAIL: got %+v %+v, want %+v %+v", got.TLS, got.Auth, want, auth)
			}
			if err := c.Abort(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// The MTA sends the macros of HELO once. Without lists it does not repeat them at
// MAIL, and the second message must know them as well.
func TestHeloMacrosOutliveAbort(t *testing.T) {
	at := map[policy.Stage]policy.Facts{}
	c := start(t, seen(at)).dialOffer(miltertest.Sendmail, miltertest.Offer{Version: 6, Protocol: miltertest.ProtocolsAll})
	expect(t, "connect", "c")(c.Connect(peer))
	c.Macros["{cert_subject}"] = "/CN=client"
	expect(t, "helo", "c")(c.Helo("x"))
	for range 3 {
		expect(t, "mail", "c")(c.Mail("<a@example.net>"))
		if got := at[policy.StageMail].TLS.CertSubject; got != "/CN=client" {
			t.Errorf("certificate at MAIL: got %q, want /CN=client", got)
		}
		if err := c.Abort(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.QuitNC(); err != nil {
		t.Fatal(err)
	}
	expect(t, "connect", "c")(c.Connect(peer))
	expect(t, "helo", "c")(c.Helo("y"))
	if got := at[policy.StageHelo].TLS; got != (policy.TLS{}) {
		t.Errorf("after QUIT_NC: got %+v, want nothing of the session before", got)
	}
}

func TestMacros(t *testing.T) {
	var m macros
	set := func(s string) { m.set([]byte(s)) }
	check := func(when string, id macro, want string, wantKnown bool) {
		t.Helper()
		if got, known := m.get(id); got != want || known != wantKnown {
			t.Errorf("%s: got %q %v, want %q %v", when, got, known, want, wantKnown)
		}
	}
	set("C{daemon_name}\x00MTA\x00client_resolve\x00OK\x00{unheard_of}\x00x\x00")
	check("with braces", macroDaemonName, "MTA", true)
	check("without braces", macroClientResolve, "OK", true)
	set("H{verify}\x00OK\x00{cert_issuer}\x00\x00")
	check("empty is supplied", macroCertIssuer, "", true)
	check("never sent", macroCertSubject, "", false)
	set("Mi\x00q1\x00{auth_type}\x00PLAIN\x00")
	set("Uv\x00x\x00")
	check("macros of other commands change nothing", macroAuthType, "PLAIN", true)
	set("Mi\x00q2\x00")
	check("a stage anew forgets itself", macroAuthType, "", false)
	check("but not those before", macroVerify, "OK", true)
	m.ended(cmdAbort)
	check("ABORT forgets from MAIL on", macroQueueID, "", false)
	check("ABORT keeps HELO's", macroVerify, "OK", true)
	set("H")
	check("HELO anew", macroVerify, "", false)
	check("HELO anew keeps CONNECT's", macroDaemonName, "MTA", true)
	set("H{auth_type}\x00PLAIN\x00")
	check("a login is told with MAIL only", macroAuthType, "", false)
	for _, cmd := range []byte{cmdHelo, cmdEndBody} {
		set("M{auth_type}\x00PLAIN\x00")
		m.ended(cmdMail)
		check("MAIL itself keeps its macros", macroAuthType, "PLAIN", true)
		m.ended(cmd)
		check("HELO and the end of a message forget the login", macroAuthType, "", false)
	}
	m.ended(cmdQuitNC)
	check("QUIT_NC forgets all", macroDaemonName, "", false)
}
