package socketmap

import (
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	cases := []struct{ in, network, address, name string }{
		{"inet:127.0.0.1:8461:access", "tcp", "127.0.0.1:8461", "access"},
		{"inet:map.example.com:8461:access", "tcp", "map.example.com:8461", "access"},
		{"inet:[2001:db8::1]:8461:access", "tcp", "[2001:db8::1]:8461", "access"},
		{"inet:8461@127.0.0.1:access", "tcp", "127.0.0.1:8461", "access"},
		{"inet:8461@[127.0.0.1]:access", "tcp", "127.0.0.1:8461", "access"},
		{"inet6:8461@2001:db8::1:access", "tcp6", "[2001:db8::1]:8461", "access"},
		{"INET6:8461@[::1]:access", "tcp6", "[::1]:8461", "access"},
		{"unix:/run/map.sock:access", "unix", "/run/map.sock", "access"},
		{"local:/run/map:1.sock:access", "unix", "/run/map:1.sock", "access"},
		{"unix:/run/m@p:access", "unix", "/run/m@p", "access"},
	}
	for _, c := range cases {
		network, address, name, err := ParseAddress(c.in)
		if network != c.network || address != c.address || name != c.name || err != nil {
			t.Errorf("ParseAddress(%q) = %q, %q, %q, %v, want %q, %q, %q", c.in, network, address, name, err, c.network, c.address, c.name)
		}
	}
}

func TestParseAddressErrors(t *testing.T) {
	cases := []struct{ in, want string }{
		{"", `"": `},
		{"unix:/run/map.sock", `"unix:/run/map.sock": `},
		{"unix:/run/map.sock:", `"unix:/run/map.sock:": a map cannot have the name ""; `},
		{"unix:/run/map.sock:two words", `"unix:/run/map.sock:two words": a map cannot have the name "two words"; `},
		{"unix:map.sock:access", `"unix:map.sock:access": "map.sock" is no absolute path of at most 107 bytes; `},
		{"unix:/" + strings.Repeat("x", 107) + ":a", `"unix:/` + strings.Repeat("x", 107) + `:a": "/` + strings.Repeat("x", 107) + `" is no absolute path of at most 107 bytes; `},
		{"tcp:127.0.0.1:8461:access", `"tcp:127.0.0.1:8461:access": unknown kind of socket "tcp"; `},
		{"inet:8461:access", `"inet:8461:access": no port in "8461"; `},
		{"inet:host:smtp:access", `"inet:host:smtp:access": "smtp" is no port, 1 to 65535; `},
		{"inet:host:0:access", `"inet:host:0:access": "0" is no port, 1 to 65535; `},
		{"inet:65536@host:access", `"inet:65536@host:access": "65536" is no port, 1 to 65535; `},
		{"inet:8461@:access", `"inet:8461@:access": "" is no host; `},
		{"inet:a b:8461:access", `"inet:a b:8461:access": "a b" is no host; `},
		{"inet:::1:8461:access", `"inet:::1:8461:access": the IPv6 address ::1 must be in brackets; `},
		{"inet:[::1:8461:access", `"inet:[::1:8461:access": "[::1" is no host; `},
	}
	for _, c := range cases {
		want := c.want + forms
		if network, address, name, err := ParseAddress(c.in); err == nil || err.Error() != want || network+address+name != "" {
			t.Errorf("ParseAddress(%q) = %q, %q, %q, %v, want %s", c.in, network, address, name, err, want)
		}
	}
}
