//go:build integration

package dns_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"gatepost/internal/dns"
	"gatepost/internal/dns/dnstest"
)

// unboundConf is a resolver of its own zones, which asks the test's servers about
// slow.example, loop.example, broken.example and dead.example.
const unboundConf = `server:
  directory: "%[1]s"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: "%[1]s/log"
  interface: 127.0.0.1@%[2]s
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  do-not-query-localhost: no
  module-config: "iterator"
  num-threads: 1
  local-zone: "static.example." static
  local-data: "static.example. 600 IN SOA ns.static.example. host.static.example. 1 2 3 4 60"
  local-data: "static.example. 300 IN MX 10 mx.static.example."
  local-data: "mx.static.example. 300 IN A 192.0.2.1"
  local-data: "mx.static.example. 300 IN AAAA 2001:db8::1"
  local-data: 'long.static.example. 300 IN TXT "%[3]s" "%[3]s" "%[3]s" "%[3]s" "%[3]s" "%[3]s" "%[3]s" "%[3]s" "%[3]s" "%[3]s"'
  local-zone: "refused.example." refuse
  local-zone: "wild.example." redirect
  local-data: "wild.example. 300 IN A 127.0.0.2"
  local-zone: "1.100.51.198.in-addr.arpa." static
  local-data-ptr: "198.51.100.1 300 mx.static.example"
remote-control:
  control-enable: no
forward-zone:
  name: "slow.example."
  forward-addr: 127.0.0.1@%[4]s
forward-zone:
  name: "loop.example."
  forward-addr: 127.0.0.1@%[5]s
forward-zone:
  name: "broken.example."
  forward-addr: 127.0.0.1@%[5]s
forward-zone:
  name: "dead.example."
  forward-addr: 127.0.0.1@%[6]s
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@%[5]s
`

func port(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// unbound runs the real resolver until the test ends.
func unbound(t *testing.T) string {
	t.Helper()
	slow := dnstest.Serve(t, dnstest.Zone{"mx.slow.example": {A: []string{"192.0.2.5"}}}, dnstest.Late(5*time.Second))
	zones := dnstest.Serve(t, dnstest.Zone{
		"a.loop.example": {CNAME: "b.loop.example"},
		"b.loop.example": {CNAME: "a.loop.example"},
		"broken.example": {Fail: "SERVFAIL"},
	}, rootServers)
	dir, server := t.TempDir(), closedPort(t)
	conf := filepath.Join(dir, "conf")
	text := fmt.Sprintf(unboundConf, dir, port(server), strings.Repeat("x", 200), port(slow), port(zones), port(closedPort(t)))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/unbound", "-d", "-c", conf)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("unbound (Debian package unbound): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
			t.Logf("unbound's log:\n%s", log)
		}
	})
	c := client(t, server)
	waitFor(t, func() bool {
		_, err := lookup(c, "mx.static.example", dns.TypeA)
		return err == nil
	})
	return server
}

// rootServers answers questions for the servers of the root.
func rootServers(e *dnstest.Exchange) {
	if q := e.Query.Question[0]; q.Name == "." && q.Qtype == mdns.TypeNS {
		e.Reply.Rcode, e.Reply.Ns = mdns.RcodeSuccess, nil
		e.Reply.Answer = []mdns.RR{&mdns.NS{Hdr: mdns.RR_Header{Name: ".", Rrtype: mdns.TypeNS, Class: mdns.ClassINET, Ttl: 3600}, Ns: "ns.invalid."}}
	}
}

// TestUnbound has a real resolver answer each kind of question.
func TestUnbound(t *testing.T) {
	server := unbound(t)
	for _, tc := range []struct {
		ask  string
		t    dns.Type
		want string // the records; or an error, as "error: A|B"
		ttl  time.Duration
	}{
		{"static.example", dns.TypeMX, "10 mx.static.example", 300 * time.Second},
		{"MX.static.example", dns.TypeA, "192.0.2.1", 300 * time.Second},
		{"mx.static.example", dns.TypeAAAA, "2001:db8::1", 300 * time.Second},
		{"1.100.51.198.in-addr.arpa", dns.TypePTR, "mx.static.example", 300 * time.Second},
		{"long.static.example", dns.TypeTXT, strings.Repeat("x", 2000), 300 * time.Second}, // by TCP
		{"mx.static.example", dns.TypeMX, "", 60 * time.Second},
		{"nosuch.static.example", dns.TypeA, "", 60 * time.Second},
		{"any.wild.example", dns.TypeA, "127.0.0.2", 300 * time.Second},
		{"x.refused.example", dns.TypeA, "error: REFUSED", 0},
		{"broken.example", dns.TypeMX, "error: SERVFAIL", 0},
		{"dead.example", dns.TypeMX, "error: SERVFAIL|time-out", 0},
		{"mx.slow.example", dns.TypeA, "error: time-out|SERVFAIL", 0},
		{"a.loop.example", dns.TypeA, "error: SERVFAIL|CNAME loop|time-out", 0},
	} {
		t.Run(tc.ask+" "+tc.t.String(), func(t *testing.T) {
			c, err := dns.NewClient(dns.Config{Servers: []string{server}, Timeout: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			ans, err := lookup(c, tc.ask, tc.t)
			if reason, fails := strings.CutPrefix(tc.want, "error: "); fails {
				checkError(t, err, reason)
			} else if err != nil || ans.String() != tc.want || ans.TTL > tc.ttl || ans.TTL < tc.ttl-5*time.Second {
				t.Errorf("Lookup = %+v, %v, want %q for %v", ans, err, tc.want, tc.ttl)
			}
			if d := time.Since(begin); d > 4*time.Second {
				t.Errorf("it took %v", d)
			}
			if _, err := lookup(c, "static.example", dns.TypeMX); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			if n := c.Stats().Down; n != 0 {
				t.Errorf("%d servers down, want none: this one answers", n)
			}
		})
	}
}

// TestRbldnsd asks the real server of DNS lists.
func TestRbldnsd(t *testing.T) {
	dir, server := t.TempDir(), closedPort(t)
	list := filepath.Join(dir, "list")
	if err := os.WriteFile(list, []byte(":127.0.0.2:see http://list.example/?$\n127.0.0.2\n192.0.2.0/24\n192.0.2.9:127.0.0.4:spam \"source\"\n!192.0.2.77\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Dir(dir)} { // for the user that it becomes
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/usr/sbin/rbldnsd", "-n", "-r/", "-unobody", "-b127.0.0.1/"+port(server), "list.example:ip4set:"+list)
	if err := cmd.Start(); err != nil {
		t.Fatalf("rbldnsd (Debian package rbldnsd): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	c := client(t, server)
	waitFor(t, func() bool {
		_, err := lookup(c, "2.0.0.127.list.example", dns.TypeA)
		return err == nil
	})
	for _, tc := range []struct {
		ask  string
		t    dns.Type
		want string
	}{
		{"2.0.0.127.list.example", dns.TypeA, "127.0.0.2"},
		{"1.0.0.127.list.example", dns.TypeA, ""},
		{"7.2.0.192.list.example", dns.TypeA, "127.0.0.2"},
		{"7.2.0.192.list.example", dns.TypeTXT, "see http://list.example/?192.0.2.7"},
		{"9.2.0.192.list.example", dns.TypeA, "127.0.0.4"},
		{"9.2.0.192.list.example", dns.TypeTXT, `spam "source"`},
		{"77.2.0.192.list.example", dns.TypeA, ""},
		{"7.2.0.192.other.example", dns.TypeA, "error: REFUSED"},
	} {
		ans, err := lookup(c, tc.ask, tc.t)
		if reason, fails := strings.CutPrefix(tc.want, "error: "); fails {
			checkError(t, err, reason)
		} else if err != nil || ans.String() != tc.want {
			t.Errorf("%v of %s = %+v, %v, want %q", tc.t, tc.ask, ans, err, tc.want)
		}
	}
}
