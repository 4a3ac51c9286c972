package deliver

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestNewSMTP(t *testing.T) {
	resolve := func(context.Context, string) ([]netip.Addr, error) { return nil, nil }
	for _, c := range []struct {
		address string
		lmtp    bool
		want    string
	}{
		{"smtp.example.com:587", false, "smtp:smtp.example.com:587"},
		{"[smtp.example.com]:587", false, "smtp:smtp.example.com:587"},
		{"[smtp.example.com]", false, "smtp:smtp.example.com:25"},
		{"smtp.example.com", true, "lmtp:smtp.example.com:24"},
		{"[192.0.2.1]:587", false, "smtp:192.0.2.1:587"},
		{"192.0.2.1", false, "smtp:192.0.2.1:25"},
		{"[2001:db8::1]:587", false, "smtp:[2001:db8::1]:587"},
		{"[2001:db8::1]", false, "smtp:[2001:db8::1]:25"},
		{"unix:/run/dovecot/lmtp", true, "lmtp:unix:/run/dovecot/lmtp"},
		{"unix:/run/dovecot/lmtp", false, `"unix:/run/dovecot/lmtp": SMTP goes to host:port; a socket is for LMTP`},
		{"unix:lmtp", true, `"lmtp" is no absolute path of at most 107 bytes`},
		{"unix:/" + strings.Repeat("x", 107), true, `"/` + strings.Repeat("x", 107) + `" is no absolute path of at most 107 bytes`},
		{"2001:db8::1", false, `the IPv6 address in "2001:db8::1" must be in brackets`},
		{"a b:25", false, `"a b:25" is no host, host:port or [host]:port`},
		{"", false, `"" is no host, host:port or [host]:port`},
		{"[]:25", false, `"[]:25" is no host, host:port or [host]:port`},
		{"[a", false, `"[a" is no host, host:port or [host]:port`},
		{"[a]25", false, `"[a]25" is no host, host:port or [host]:port`},
		{"[a]:", false, `"[a]:" is no host, host:port or [host]:port`},
		{"a:", false, `no port after the colon in "a:"`},
		{"a:smtp", false, `"smtp" is no port, 1 to 65535`},
		{"a:0", false, `"0" is no port, 1 to 65535`},
		{"a:65536", false, `"65536" is no port, 1 to 65535`},
	} {
		x, err := NewSMTP(Config{Address: c.address, LMTP: c.lmtp, Resolve: resolve})
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = x.String()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.address, got, c.want)
		}
	}
	if _, err := NewSMTP(Config{Address: "smtp.example.com"}); fmt.Sprint(err) != `"smtp.example.com": nothing to look up names with` {
		t.Error(err)
	}
}
