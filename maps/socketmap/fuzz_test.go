package socketmap

import (
	"bufio"
	"net"
	"strings"
	"testing"

	"gatepost/internal/servers"
)

// FuzzReply has a server say anything. Only what is exactly the netstring of an OK is a value.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{"9:OK REJECT,", "9:NOTFOUND ,", "15:TEMP overloaded,", "6:OK abc,6:OK def,", "100001:OK ", "0:,", "6:OK abc"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		reply, err := readNetstring(bufio.NewReader(strings.NewReader(said)))
		if err != nil {
			return
		}
		if len(reply) > maxReply || !strings.HasPrefix(said, servers.Netstring(reply)) {
			t.Fatalf("%q was read as %q", said, reply)
		}
		value, found, err := parseReply(reply)
		switch {
		case found && (err != nil || reply != "OK "+value):
			t.Errorf("%q means %q, %v", reply, value, err)
		case !found && err == nil && reply != "NOTFOUND" && !strings.HasPrefix(reply, "NOTFOUND "):
			t.Errorf("%q means absent", reply)
		case err != nil && len(err.Error()) > 4*10*maxReason:
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}

// FuzzRequest reads back what is asked.
func FuzzRequest(f *testing.F) {
	f.Add("access", "connect:192.0.2.1")
	f.Add("", "\n,\x00:")
	f.Fuzz(func(t *testing.T, name, key string) {
		got, err := servers.ReadRequest(bufio.NewReader(strings.NewReader(string(appendRequest(nil, name, key)))))
		if got != name+" "+key || err != nil {
			t.Errorf("%q and %q were read as %q, %v", name, key, got, err)
		}
	})
}

// FuzzParseAddress has what it takes be fit for net.Dial.
func FuzzParseAddress(f *testing.F) {
	for _, seed := range []string{"inet:127.0.0.1:8461:access", "inet:[::1]:1:a", "inet6:8461@::1:access", "unix:/run/map.sock:access", "inet:@:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		network, address, name, err := ParseAddress(s)
		if err != nil {
			return
		}
		if name == "" || strings.ContainsAny(name, ": \n") {
			t.Errorf("%q has the name %q", s, name)
		}
		host, port, err := net.SplitHostPort(address)
		if network != "unix" && (host == "" || port == "" || err != nil) || network == "unix" && address[0] != '/' {
			t.Errorf("%q is at %s %q: %v", s, network, address, err)
		}
	})
}
