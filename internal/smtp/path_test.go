package smtp

import (
	"strings"
	"testing"
)

func TestParseMailbox(t *testing.T) {
	cases := []struct {
		name, arg     string
		syntax        Syntax
		local, domain string
	}{
		{"plain", "<u@example.com>", Syntax{}, "u", "example.com"},
		{"no brackets", "u@example.com", Syntax{}, "u", "example.com"},
		{"case and detail kept", "<U+d@Example.COM>", Syntax{}, "U+d", "Example.COM"},
		{"unqualified", "<joe>", Syntax{}, "joe", ""},
		{"source route", "<@a.net,@b.net:u@c.net>", Syntax{}, "u", "c.net"},
		{"route through a literal", "<@[IPv6:2001:db8::1]:u@c.net>", Syntax{}, "u", "c.net"},
		{"percent hack alone", "<u%isp.net>", Syntax{}, "u", "isp.net"},
		{"last percent", "<a%b%c>", Syntax{}, "a%b", "c"},
		{"percent before an at sign", "<u%isp.net@example.com>", Syntax{}, "u%isp.net", "example.com"},
		{"bang path", "<host.net!u>", Syntax{}, "u", "host.net"},
		{"bang path without dot", "<host!u>", Syntax{}, "u", "host.UUCP"},
		{"bang before percent", "<host.net!u%x>", Syntax{}, "u%x", "host.net"},
		{"nouucp", "<host!u>", Syntax{NoUUCP: true}, "host!u", ""},
		{"nopercenthack", "<u%x>", Syntax{NoPercentHack: true}, "u%x", ""},
		{"quoted at sign", `<"u@isp.net"@example.com>`, Syntax{}, `"u@isp.net"`, "example.com"},
		{"quoted words", `"q q"@example.com`, Syntax{}, `"q q"`, "example.com"},
		{"literal", "<u@[192.0.2.1]>", Syntax{}, "u", "[192.0.2.1]"},
		{"IPv6 literal", "<u@[IPv6:2001:db8::1]>", Syntax{}, "u", "[IPv6:2001:db8::1]"},
		{"escaped at sign", `<a\@b@example.com>`, Syntax{}, `a\@b`, "example.com"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := ParsePath(c.arg)
			if !p.Fault().IsZero() {
				t.Fatalf("%s: fault %s", c.arg, p.Fault())
			}
			if p.Raw() != c.arg {
				t.Errorf("raw %q, want %q", p.Raw(), c.arg)
			}
			m := ParseMailbox(p.Text(), c.syntax)
			if m.Local != c.local || m.Domain != c.domain {
				t.Errorf("%s: got %q at %q, want %q at %q", c.arg, m.Local, m.Domain, c.local, c.domain)
			}
		})
	}
}

func TestPathFault(t *testing.T) {
	cases := []struct{ arg, want string }{
		{"<>", ""},
		{"<u@example.com>", ""},
		{"<a b@example.com>", ""},
		{"<a;b@example.com>", ""},
		{"<.a@example.com>", ""},
		{"<a@-x.example.com>", ""},
		{"<a@[300.1.1.1]>", ""},
		{"<jürgen@example.com>", ""},
		{"<@example.com>", "553 5.1.3 User address required"},
		{"<a@>", "553 5.1.3 Hostname required"},
		{"<a@.example.com>", "553 5.1.2 Invalid host name"},
		{"<a@example..com>", "553 5.1.2 Invalid host name"},
		{"<a@b@c>", "553 5.1.3 Invalid route address"},
		{"<a@@c>", "553 5.1.3 Invalid route address"},
		{"<a@b:c>", "553 5.1.3 Colon illegal in host name part"},
		{"<a@[1.2.3.4]x>", "553 5.1.2 Invalid address"},
		{"<a@b", "553 5.0.0 Unbalanced '<'"},
		{"a@b>", "553 5.0.0 Unbalanced '>'"},
		{`<"a@b>`, "553 5.0.0 Unbalanced '<'"},
		{"<a\x01@b>", "553 5.1.0 Address contained invalid control characters"},
		{"<a\x00@b>", "553 5.1.0 Address contained invalid control characters"},
		{"<a\xff@b>", "553 5.1.0 Address contained invalid control characters"},
		{"<" + strings.Repeat("a", 256) + "@b>", "553 5.1.1 Address too long (255 bytes max)"},
	}
	for _, c := range cases {
		if got := ParsePath(c.arg).Fault().String(); got != c.want {
			t.Errorf("%q: fault %q, want %q", c.arg, got, c.want)
		}
	}
}

func TestNullPath(t *testing.T) {
	if !ParsePath("<>").IsNull() {
		t.Error("<> is not null")
	}
	for _, p := range []Path{{}, ParsePath(""), ParsePath("<a>"), ParsePath("<a@>")} {
		if p.IsNull() {
			t.Errorf("%q is null", p.Raw())
		}
	}
}

func TestTokenBoundary(t *testing.T) {
	const s = "x+a.friend.org"
	for i, want := range map[int]bool{0: true, 1: true, 2: true, 3: true, 4: true, 5: false, 10: true, 11: true, 12: false, len(s): true} {
		if got := TokenBoundary(s, i); got != want {
			t.Errorf("boundary of %q at %d: %v, want %v", s, i, got, want)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"<>", "<u@x>", `<"a\"@b"@c>`, "<@a,@b:u@c>", "<a!b%c@[IPv6:::1]>", `"`, `\`, "<<>>", "@,@:@", "<@[>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		p := ParsePath(arg)
		if !p.Fault().IsZero() {
			if c := p.Fault().Code(); c != 553 {
				t.Errorf("%q: fault code %d", arg, c)
			}
			return
		}
		for _, s := range []Syntax{{}, {NoUUCP: true}, {NoPercentHack: true}} {
			if m := ParseMailbox(p.Text(), s); len(m.Local)+len(m.Domain) > len(arg)+len(".UUCP") {
				t.Errorf("%q grew to %q", arg, m)
			}
		}
	})
}

func TestIndexUnquoted(t *testing.T) {
	for _, tc := range []struct {
		s    string
		want int
	}{
		{"a%b", 1}, {`"a%b"`, -1}, {`"a%b"%c`, 5}, {`"a\"b"%c`, 6}, {`"a\\"%c`, 5}, {`"a%b`, -1}, {"", -1}, {"%", 0}, {"a!b", 1}, {`\"%`, -1},
	} {
		if got := IndexUnquoted(tc.s, "%!"); got != tc.want {
			t.Errorf("IndexUnquoted(%q) = %d, want %d", tc.s, got, tc.want)
		}
	}
}
