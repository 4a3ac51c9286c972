package route

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gatepost/internal/dns/dnsfake"
	"gatepost/relay/deliver"
)

const testTable = `one.example	smtp:[mx.one.example]
.lan	esmtp:[%1.lan]
list.example	smtp:a.example:[b.example]:26
port.example	relay:c.example
own.example	relay:
user.example	smtp:ann@hub.example
kept.example	local:joe
same.example	local:
lmtp.example	lmtp:unix:/run/lmtp
gone.example	error:5.1.2:550 no more
void.example	discard:
bad.example	uucp:x
example.com	smtp:[never.example]
`

func TestRoute(t *testing.T) {
	tabled := newSite(t, dnsfake.Zone{}, testTable)
	r := New(Config{Site: tabled, RelayPort: 587, Listening: takesMail})
	smart := New(Config{Site: tabled, RelayPort: 587, SmartHost: SmartHost{Host: "[smart.isp.example]", Hops: hops(t, "[smart.isp.example]"), Source: "f:3"}})
	esmtp := New(Config{Site: tabled, RelayPort: 587, SmartHost: SmartHost{Mailer: "esmtp", Host: "a.isp.example:b.isp.example", Hops: hops(t, "a.isp.example:b.isp.example")}})
	self := New(Config{Site: tabled, SmartHost: SmartHost{Host: "mx.example.com", Hops: hops(t, "mx.example.com")}})
	for _, tc := range []struct {
		r        *Router
		to, want string // mailer, host, user, destination, source
	}{
		{r, "bob@one.example", "smtp [mx.one.example] bob@one.example [mx.one.example] mt:1"},
		{r, "bob@One.Example.", "smtp [mx.one.example] bob@One.Example [mx.one.example] mt:1"},
		{r, "bob@x.y.lan", "esmtp [x.y.lan] bob@x.y.lan [x.y.lan] mt:2"},
		{r, "bob@lan", "esmtp lan bob@lan lan "},
		{r, "bob@list.example", "smtp a.example:[b.example]:26 bob@list.example a.example:26,[b.example]:26 mt:3"},
		{r, "bob@port.example", "relay c.example bob@port.example c.example:587 mt:4"},
		{r, "bob@own.example", "relay own.example bob@own.example own.example:587 mt:5"},
		{r, "bob@user.example", "smtp hub.example ann@hub.example hub.example mt:6"},
		{r, "bob@kept.example", "local  joe@mx.example.com  mt:7"},
		{r, "bob@same.example", "local  bob@same.example  mt:8"},
		{r, "bob@lmtp.example", "lmtp unix:/run/lmtp bob@lmtp.example unix:/run/lmtp mt:9"},
		{r, "bob@gone.example", "error 5.1.2 bob@gone.example  mt:10 550 5.1.2 no more"},
		{r, "bob@void.example", "discard  bob@void.example  mt:11"},
		{r, "bob@bad.example", "unknown"},
		{r, "bob@example.com", "local  bob@example.com  "}, // class w comes first
		{r, "bob", "local  bob@mx.example.com  "},
		{r, "bob@other.example", "esmtp other.example bob@other.example other.example "},
		{r, `"b b"@other.example`, `esmtp other.example "b b"@other.example other.example `},
		{r, "bob@[192.0.2.1]", "esmtp [192.0.2.1] bob@[192.0.2.1] [192.0.2.1] "},
		{r, "bob@[IPv6:2001:db8::9]", "esmtp [IPv6:2001:db8::9] bob@[IPv6:2001:db8::9] [2001:db8::9] "},
		{r, "bob@[192.0.2.25]", "local  bob@[192.0.2.25]  "},
		{r, "bob@[127.0.0.1]", "Failed 5.4.6"},
		{r, "bob@[0.0.0.0]", "Failed 5.4.6"},
		{r, "bob@[300.0.0.1]", "Failed 5.1.2"},
		{r, "bob@a,b", "Failed 5.1.2"},
		{r, "bob@a:26", "Failed 5.1.2"},
		{r, "bob@a/b.example", "Failed 5.1.2"},
		{r, "bob@b\u00fccher.example", "esmtp xn--bcher-kva.example bob@b\u00fccher.example xn--bcher-kva.example "},
		{r, "bob@" + strings.Repeat("a.", 130) + "example", "Failed 5.1.2"},
		{smart, "bob@one.example", "smtp [mx.one.example] bob@one.example [mx.one.example] mt:1"},
		{smart, "bob@other.example", "relay [smart.isp.example] bob@other.example [smart.isp.example]:587 f:3"},
		{smart, "bob@[192.0.2.1]", "relay [smart.isp.example] bob@[192.0.2.1] [smart.isp.example]:587 f:3"},
		{smart, "bob@example.com", "local  bob@example.com  "},
		{esmtp, "bob@other.example", "esmtp a.isp.example:b.isp.example bob@other.example a.isp.example,b.isp.example "},
		{self, "bob@other.example", "esmtp other.example bob@other.example other.example "},
	} {
		a, err := tc.r.Route(t.Context(), "", tc.to)
		got := fmt.Sprintf("%s %s %s %s %s", a.Mailer, a.Host, a.User, a.Destination, a.Source)
		if !a.Fault.IsZero() {
			got += " " + a.Fault.String()
		}
		if err != nil {
			got = word(err)
		} else if a.Destination != "" && !strings.HasPrefix(a.Destination, "unix:") {
			parsed, err := deliver.ParseDestination(a.Destination)
			if err != nil || deliver.FormatDestination(parsed) != a.Destination {
				t.Errorf("%s goes to %q, which is no destination: %v", tc.to, a.Destination, err)
			}
		}
		if got != tc.want {
			t.Errorf("%s:\n got %q\nwant %q", tc.to, got, tc.want)
		}
	}
}

// TestRouteUnknown: a class that cannot be asked makes nobody local, nor remote.
func TestRouteUnknown(t *testing.T) {
	s := newSite(t, dnsfake.Zone{}, testTable)
	s.local = func(string) (bool, error) { return false, errors.New("no server") }
	if a, err := New(Config{Site: s}).Route(t.Context(), "", "bob@one.example"); err == nil {
		t.Errorf("gave %+v", a)
	}
}

// TestRouteRules: the answer says what decided, and what was looked for.
func TestRouteRules(t *testing.T) {
	s := newSite(t, dnsfake.Zone{}, testTable)
	a, err := New(Config{Site: s}).Route(t.Context(), "", "bob@x.lan")
	if err != nil || a.Rule != ".lan esmtp:[%1.lan]" || strings.Join(a.Keys, " ") != "x.lan .lan" {
		t.Errorf("gave %+v, %v", a, err)
	}
	a, err = New(Config{Site: s, SmartHost: SmartHost{Mailer: "smtp", Host: "a", Hops: hops(t, "a")}}).Route(t.Context(), "", "bob@x.y")
	if err != nil || a.Rule != "smart_host smtp:a" || strings.Join(a.Keys, " ") != "x.y .y ." {
		t.Errorf("gave %+v, %v", a, err)
	}
}

// FuzzRoute: no address goes anywhere but where the table, or its own domain, says.
func FuzzRoute(f *testing.F) {
	for _, s := range []string{"bob@x.lan", "bob@[::1]", "bob@a,b", "bob@[a]:25", "\"@\"@x.lan", "a%b@c", "bob@x.lan.", "@a:b@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, to string) {
		s := newSite(t, dnsfake.Zone{}, "a.example smtp:[mx.a.example]\n.lan smtp:[%1.lan]\n")
		a, err := New(Config{Site: s, Listening: takesMail}).Route(t.Context(), "", to)
		if err != nil || a.Mailer == "local" {
			return
		}
		parsed, err := deliver.ParseDestination(a.Destination)
		if err != nil || len(parsed) != 1 || parsed[0].Port != 0 {
			t.Fatalf("%q goes to %q, %v", to, a.Destination, err)
		}
	})
}
