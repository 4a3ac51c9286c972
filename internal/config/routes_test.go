package config

import (
	"slices"
	"testing"
)

func TestSmartHost(t *testing.T) {
	for in, want := range map[string]string{
		"[smtp.isp.example]:587":         "/[smtp.isp.example]:587",
		"smtp.isp.example.":              "/smtp.isp.example",
		"smtp.isp.example:587":           "/smtp.isp.example:587",
		"[192.0.2.1]":                    "/[192.0.2.1]",
		"192.0.2.1:26":                   "/[192.0.2.1]:26",
		"[2001:db8::1]:587":              "/[IPv6:2001:db8::1]:587",
		"2001:db8::1":                    "/[IPv6:2001:db8::1]",
		"localhost:2525":                 "/localhost:2525",
		"relay:[smtp.isp.example]":       "relay/[smtp.isp.example]",
		"ESMTP:a.example:[b.example]:26": "esmtp/a.example:26 [b.example]:26",
		"":                               "", "[]": "", "[a": "", "a]": "", "[a]587": "", "a:0": "", "a:65536": "", "a:": "", "a b": "", ":25": "", "a:1:2": "",
		"local:": "", "smpt:a.example": "", "relay:": "",
	} {
		c, err := Parse("f", []byte("[relay]\nsmart_host = \""+in+"\"\n"))
		if want == "" {
			if err == nil {
				t.Errorf("%q gave %v, want an error", in, c.Relay.SmartHost)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q gave %v, want %s", in, err, want)
			continue
		}
		got, h := c.Relay.SmartHost.Mailer+"/", c.Relay.SmartHost
		for i, hop := range h.Hops {
			if i > 0 {
				got += " "
			}
			got += hop.String()
		}
		if got != want || !h.Set() {
			t.Errorf("%q gave %s, want %s", in, got, want)
		}
	}
}

func TestRouteKeys(t *testing.T) {
	c, err := Parse("/f", []byte("host_name = \"a.b\"\n[relay]\nmailertable = [\"mt\", \"ldap:x\"]\nrelay_mailer_port = 587\ninet_protocols = \"ipv4\"\n[[ldap]]\nname = \"x\"\nurl = \"ldap://localhost\"\nbase = \"o=x\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	l := c.Relay
	if !l.Given || l.SmartHost.Set() || !l.Mailertable.Named || len(l.Mailertable.Maps) != 2 || l.Mailertable.Maps[0].Path != "/mt" ||
		l.RelayMailerPort != 587 || !slices.Equal(l.InetProtocols, []string{"ipv4"}) {
		t.Errorf("gave %+v", l)
	}
	if d := Default().Relay; d.Given || d.Mailertable.Named || d.RelayMailerPort != 25 || len(d.InetProtocols) != 2 {
		t.Errorf("the defaults are %+v", d.Routes)
	}
}

func TestRouteFaults(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"smart_host = \"smtp://isp\"", `f:2: relay.smart_host is "smtp://isp", expected a host, and a port after a colon, such as "[smtp.isp.example]:587" or "192.0.2.25": "//isp" is no host name`},
		{"smart_host = 25", `f:2: relay.smart_host is the number 25, expected a string such as "[smtp.isp.example]:587"`},
		{"smart_host = \"uucp:x\"", `f:2: relay.smart_host is "uucp:x", expected one of the mailers relay, smtp, esmtp, smtp8, dsmtp before the host, or none`},
		{"smart_host = \"[127.0.0.1]\"", `f:2: relay.smart_host is "[127.0.0.1]", where relay.listen has us ourselves: mail would go round in circles`},
		{"relay_mailer_port = 2525\nlisten = [\":2525\"]\nsmart_host = \"localhost\"", `f:4: relay.smart_host is "localhost", where relay.listen has us ourselves: mail would go round in circles`},
		{"listen = [\"[::]:25\"]\nsmart_host = \"[192.0.2.1]:[::1]\"", `f:3: relay.smart_host is "[192.0.2.1]:[::1]", where relay.listen has us ourselves: mail would go round in circles`},
		{"local_mail = \"smart_host\"", `f:2: relay.local_mail is "smart_host" and there is none, expected smart_host = "[mail.example.com]" or another local_mail`},
		{"relay_mailer_port = 0", `f:2: relay.relay_mailer_port is the number 0, expected a number from 1 to 65535`},
		{"inet_protocols = [\"ipv4\", \"ipx\"]", `f:2: relay.inet_protocols[1] is "ipx", expected "ipv4" or "ipv6"`},
		{"inet_protocols = []", `f:2: relay.inet_protocols is an empty list, expected a string such as "ipv4", or a list of them`},
	} {
		_, err := Parse("f", []byte("[relay]\n"+tc.text+"\n"))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%q\n got %v\nwant %s", tc.text, err, tc.want)
		}
	}
}
