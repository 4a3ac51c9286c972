package main

import (
	"bufio"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"gatepost/internal/certtest"
	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/dns/dnstest"
)

// greedy is a mail server with a good certificate that offers AUTH to everybody.
type greedy struct {
	addr             string
	logins, messages atomic.Int32
	demanding        bool // takes no mail without a login
}

func newGreedy(t *testing.T, addr string, cert tls.Certificate, demanding bool) *greedy {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip("a port for mail is needed: ", err)
	}
	t.Cleanup(func() { ln.Close() })
	g := &greedy{addr: ln.Addr().String(), demanding: demanding}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go g.serve(c, cert)
		}
	}()
	return g
}

func (g *greedy) serve(c net.Conn, cert tls.Certificate) {
	defer func() { c.Close() }()
	fmt.Fprint(c, "220 greedy\r\n")
	secure, message, known := false, false, false
	for in := bufio.NewScanner(c); in.Scan(); {
		verb, _, _ := strings.Cut(in.Text(), " ")
		switch {
		case message && in.Text() != ".":
		case message:
			message = false
			g.messages.Add(1)
			fmt.Fprint(c, "250 2.0.0 taken\r\n")
		case verb == "EHLO" && secure:
			fmt.Fprint(c, "250-greedy\r\n250 AUTH PLAIN\r\n")
		case verb == "EHLO":
			fmt.Fprint(c, "250-greedy\r\n250 STARTTLS\r\n")
		case verb == "STARTTLS":
			fmt.Fprint(c, "220 go\r\n")
			c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
			in, secure = bufio.NewScanner(c), true
		case verb == "AUTH":
			known = true
			g.logins.Add(1)
			fmt.Fprint(c, "235 2.7.0 thank you\r\n")
		case verb == "MAIL" && g.demanding && !known:
			fmt.Fprint(c, "530 5.7.0 Authentication required\r\n")
		case verb == "DATA":
			message = true
			fmt.Fprint(c, "354 go\r\n")
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

// TestPasswordForStrangers: a server that a recipient's domain names gets no password by
// AuthInfo: alone, nor by an address, however good its certificate is; the smart host does.
func TestPasswordForStrangers(t *testing.T) {
	ca := certtest.New(t, certtest.Name(t, "/CN=authority"))
	evil := newGreedy(t, "127.0.0.77:25", ca.Issue(certtest.Name(t, "/CN=x"), []string{"mx.evil.example"}), false)
	smart := newGreedy(t, "127.0.0.1:0", ca.Issue(certtest.Name(t, "/CN=x"), []string{"smart.example"}), true)
	_, port, _ := net.SplitHostPort(smart.addr)
	dns := dnstest.Serve(t, dnsfake.Zone{
		"evil.example":    {MX: []dnsfake.MX{{Preference: 10, Host: "mx.evil.example"}}},
		"mx.evil.example": {A: []string{"127.0.0.77"}},
		"smart.example":   {A: []string{"127.0.0.1"}},
	})
	s := newSite(t)
	s.write("ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Certificate().Raw})))
	s.write("authinfo", "AuthInfo:\t\"U:joe\" \"P:secret\"\nAuthInfo:127.0.0.77\t\"U:joe\" \"P:secret\"\n")
	s.write("mailertable", "smart.example\trelay:[smart.example]:"+port+"\n")
	s.write("gatepost.toml", strings.NewReplacer("smart_host = \"SMART\"\n", "", "127.0.0.1:9", dns,
		"[relay]\n", "[relay]\nauthinfo = \"authinfo\"\ntls_ca_file = \"ca\"\nmailertable = \"mailertable\"\n").Replace(siteConfig))
	s.start()
	for to, at := range map[string]*greedy{"a@evil.example": evil, "a@smart.example": smart} {
		if got := s.from(trusted).message("me@a.example", "<"+to+">"); got[0] != '2' {
			t.Fatalf("mail for %s is answered %q", to, got)
		}
		s.eventually(to+" has arrived", func() bool { return at.messages.Load() == 1 })
	}
	if n := evil.logins.Load(); n != 0 {
		t.Errorf("the password was told to a stranger %d times", n)
	}
	if n := smart.logins.Load(); n != 1 {
		t.Errorf("the relay logged in to the smart host %d times", n)
	}
}
