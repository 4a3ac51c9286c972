package smtp

import "testing"

func TestForwardPath(t *testing.T) {
	for _, tc := range []struct {
		m    Mailbox
		want string
	}{
		{Mailbox{"u", "example.com"}, "u@example.com"},
		{Mailbox{"first.last+tag", "[192.0.2.1]"}, "first.last+tag@[192.0.2.1]"},
		{Mailbox{"u", ""}, "u"},
		{Mailbox{"jürgen", "example.com"}, "jürgen@example.com"},
		{Mailbox{"a%b!c", "example.com"}, "a%b!c@example.com"},
		{Mailbox{"u@far", "example.com"}, `"u@far"@example.com`},
		{Mailbox{`u\@far`, "example.com"}, `"u@far"@example.com`},
		{Mailbox{`"u far"`, "example.com"}, `"u far"@example.com`},
		{Mailbox{`"plain"`, "example.com"}, "plain@example.com"},
		{Mailbox{`a."b c".d`, "example.com"}, `"a.b c.d"@example.com`},
		{Mailbox{`"a\"b\\c"`, "example.com"}, `"a\"b\\c"@example.com`},
		{Mailbox{"a b", "example.com"}, `"a b"@example.com`},
		{Mailbox{"a..b", "example.com"}, `"a..b"@example.com`},
		{Mailbox{".a", "example.com"}, `".a"@example.com`},
		{Mailbox{"<a>", "example.com"}, `"<a>"@example.com`},
		{Mailbox{`""`, "example.com"}, `""@example.com`},
		{Mailbox{`a\`, "example.com"}, `"a\\"@example.com`},
	} {
		if got := tc.m.ForwardPath(); got != tc.want {
			t.Errorf("%q at %q is handed on as %s, want %s", tc.m.Local, tc.m.Domain, got, tc.want)
		}
	}
}

func TestValidDomain(t *testing.T) {
	for domain, want := range map[string]bool{
		"example.com": true, "a_b.example-1.com": true, "localhost": true, "[192.0.2.1]": true, "[IPv6:2001:db8::1]": true,
		"bücher.example": true, "例え.テスト": true, "l·l.example": true, "xn--bcher-kva.example": true,
		"": false, ".": false, ".a": false, "a.": false, "a..b": false, "[]": false, "[192.0.2.1]x": false, "[a b]": false, "[a>b]": false, "[192.0.2.1": false,
		"a b.example": false, "a\tb": false, `"a".example`: false, `"a> "b.example`: false, `a\b`: false, "a%b": false, "a!b": false, "a@b": false,
		"a,b": false, "a;b": false, "a:b": false, "a/b": true, "a(b)": false, "a<b>": false, "a^b": false, "a+b": true, "a]b": false, "a\x7fb": false,
		"far。example": false, "far．example": false, "far＠example": false, "far％example": false, "far／example": false, "a\xffb": false, "a\u0085b": false,
	} {
		if got := ValidDomain(domain); got != want {
			t.Errorf("%q: %v, want %v", domain, got, want)
		}
	}
}

func TestUser(t *testing.T) {
	for local, want := range map[string]string{
		"joe": "joe", "joe+lists": "joe", "joe+a+b": "joe", `"joe+a b"`: "joe", `"j\"oe"`: `j"oe`, "+joe": "+joe", `""`: "", "joe+": "joe",
	} {
		if got := (Mailbox{local, "example.com"}).User(); got != want {
			t.Errorf("%s is %q, want %q", local, got, want)
		}
	}
}

// FuzzForwardPath: what is handed on is read as the same mailbox again, at the
// same domain, and stays as it is from then on.
func FuzzForwardPath(f *testing.F) {
	for _, s := range []string{`"u@far"`, `a\"b`, `"a`, `a."b c"`, `\`, "a,b:c", "@a:b", "<x>", "host!u", "u%far"} {
		f.Add(s)
	}
	syntax := Syntax{NoUUCP: true, NoPercentHack: true}
	f.Fuzz(func(t *testing.T, local string) {
		if p := ParsePath("<" + local + "@example.com>"); !p.Fault().IsZero() {
			return
		} else if ParseMailbox(p.Text(), syntax) != (Mailbox{local, "example.com"}) {
			return
		}
		text := Mailbox{local, "example.com"}.ForwardPath()
		p := ParsePath("<" + text + ">")
		if len(text) > MaxPath {
			return
		}
		m := ParseMailbox(p.Text(), syntax)
		if !p.Fault().IsZero() || m.Domain != "example.com" || unquote(m.Local) != unquote(local) {
			t.Errorf("%q is handed on as %s, which is read as %q (%v)", local, text, m, p.Fault())
		}
		if again := m.ForwardPath(); again != text {
			t.Errorf("%q is handed on as %s, then as %s", local, text, again)
		}
	})
}
