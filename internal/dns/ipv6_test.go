package dns_test

import (
	"net"
	"testing"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
)

// TestIPv6Server asks a server on ::1, by UDP.
func TestIPv6Server(t *testing.T) {
	conn, err := net.ListenPacket("udp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	s := &mdns.Server{PacketConn: conn, NotifyStartedFunc: func() { close(started) }, Handler: mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg)
		m.SetReply(q)
		m.Answer = []mdns.RR{&mdns.A{Hdr: mdns.RR_Header{Name: q.Question[0].Name, Rrtype: mdns.TypeA, Class: mdns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 6)}}
		_ = w.WriteMsg(m)
	})}
	ended := make(chan error, 1)
	go func() { ended <- s.ActivateAndServe() }()
	<-started
	defer func() {
		_ = s.Shutdown()
		<-ended
	}()
	c := client(t, conn.LocalAddr().String())
	many(t, c, 8, 300, func(ans dns.Answer, err error) {
		if err != nil || ans.String() != "192.0.2.6" {
			t.Errorf("Lookup = %+v, %v, want 192.0.2.6", ans, err)
		}
	})
}
