package tlspolicy

import (
	"crypto/tls"
	"reflect"
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	sum := strings.Repeat("AB:", 31) + "ab"
	print := []byte(strings.Repeat("\xab", 32))
	for value, want := range map[string]rule{
		"none":    {level: wordNone},
		"may":     {level: wordMay},
		"Encrypt": {level: wordEncrypt},
		"verify":  {level: wordVerify, match: []string{"hostname"}},
		"secure":  {level: wordSecure, match: []string{"nexthop", "dot-nexthop"}},
		"secure match=nexthop:.example.com, match=*.example.net": {level: wordSecure, match: []string{"nexthop", ".example.com", "*.example.net"}},
		"dane":                                            {level: wordDANE},
		"dane-only wrappermode=no":                        {level: wordDANEOnly},
		"fingerprint match=" + sum:                        {level: wordFingerprint, prints: [][]byte{print}},
		"fingerprint match=" + sum + "|" + sum:            {level: wordFingerprint, prints: [][]byte{print, print}},
		"encrypt wrappermode=yes min_version=1.3":         {level: wordEncrypt, wrapped: true, minVersion: tls.VersionTLS13},
		"encrypt protocols=>=TLSv1.2":                     {level: wordEncrypt, minVersion: tls.VersionTLS12},
		"encrypt protocols=!SSLv2:!SSLv3":                 {level: wordEncrypt, minVersion: tls.VersionTLS10},
		"encrypt protocols=TLSv1.2:TLSv1.3":               {level: wordEncrypt, minVersion: tls.VersionTLS12},
		"encrypt protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1": {level: wordEncrypt, minVersion: tls.VersionTLS12},
	} {
		if got, err := parseRule(value); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q gave %+v, %v, want %+v", value, got, err, want)
		}
	}
}

func TestRuleFaults(t *testing.T) {
	for value, want := range map[string]string{
		"":                               "no level, expected none, may",
		"must":                           `level "must", expected none, may`,
		"none match=a":                   `"match=a" after none`,
		"encrypt match=a.example":        "match= means nothing at the level encrypt",
		"fingerprint":                    "fingerprint without a certificate",
		"fingerprint match=12:34":        `fingerprint "12:34", expected a SHA-256`,
		"verify match=a b":               `"b", expected match=`,
		"verify match=":                  `"match=", expected match=`,
		"verify match=a..b":              `match="a..b", expected hostname`,
		"verify ciphers=high":            `attribute "ciphers" is not supported`,
		"encrypt min_version=1.0.1":      "min_version=1.0.1, expected TLSv1",
		"encrypt min_version=SSLv3":      "min_version=SSLv3, expected TLSv1",
		"encrypt protocols=TLSv9":        `"TLSv9" is no version of TLS`,
		"encrypt protocols=!TLSv1.3":     "leaves a newer version of TLS out",
		"encrypt protocols=TLSv1":        "leaves a newer version of TLS out",
		"encrypt protocols=<>TLSv1.2":    "expected such as >=TLSv1.2",
		"encrypt wrappermode=on":         "wrappermode=on, expected yes or no",
		"encrypt protocols=!SSLv3:SSLv2": "leaves a newer version",
	} {
		if got, err := parseRule(value); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %+v, %v, want %q", value, got, err, want)
		}
	}
}

func TestParseKey(t *testing.T) {
	type parsed struct {
		host      string
		bracketed bool
		port      uint16
	}
	for key, want := range map[string]parsed{
		"Example.org":             {"example.org", false, 0},
		"example.org.:26":         {"example.org", false, 26},
		"[mx.example.org]":        {"mx.example.org", true, 0},
		"[mx.example.org]:587":    {"mx.example.org", true, 587},
		"[192.0.2.1]:465":         {"192.0.2.1", true, 465},
		"[2001:DB8:0::1]":         {"2001:db8::1", true, 0},
		"[IPv6:2001:db8::1]:2525": {"2001:db8::1", true, 2525},
		"localhost":               {"localhost", false, 0},
	} {
		host, bracketed, port, err := ParseKey(key)
		if got := (parsed{host, bracketed, port}); err != nil || got != want {
			t.Errorf("%q gave %+v, %v, want %+v", key, got, err, want)
		}
	}
	for _, key := range []string{"", "[]", "[a", "a]", "[a]587", "[a]:0", "[a]:65536", "a:", "a b", "192.0.2.1", "2001:db8::1", "a..b", ".", "[a]:1:2", "user@example.org"} {
		if host, _, _, err := ParseKey(key); err == nil {
			t.Errorf("%q gave %q, want an error", key, host)
		}
	}
	for key, want := range map[string]string{".example.org": "", "example.org": "", "..example.org": "is no next hop", "user@example.org": "is no next hop"} {
		if err := CheckEntry(key, "encrypt"); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckEntry(%q) = %v, want %q", key, err, want)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, tc := range []struct {
		domain    string
		bracketed bool
		port      uint16
		want      string
	}{
		{"A.example.org.", false, 25, "a.example.org:25 a.example.org .example.org .org"},
		{"a.example.org", false, 0, "a.example.org .example.org .org"},
		{"mx.example.org", true, 587, "[mx.example.org]:587 [mx.example.org]"},
		{"2001:db8::1", true, 25, "[2001:db8::1]:25 [2001:db8::1]"},
	} {
		if got := strings.Join(Keys(tc.domain, tc.bracketed, tc.port), " "); got != tc.want {
			t.Errorf("Keys(%q, %v, %d) = %q, want %q", tc.domain, tc.bracketed, tc.port, got, tc.want)
		}
	}
}

// FuzzEntry gives any entry to the table: what is taken demands no less than its level says,
// and its key is among those that the next hop is looked up by.
func FuzzEntry(f *testing.F) {
	f.Add("[mx.example.org]:587", "secure match=nexthop:.example.com protocols=>=TLSv1.2")
	f.Add(".example.org", "fingerprint match="+strings.Repeat("ab", 32))
	f.Add("[IPv6:2001:db8::1]", "encrypt wrappermode=yes min_version=1.3")
	f.Add("example.org", "dane-only, protocols=!SSLv2:!SSLv3")
	f.Fuzz(func(t *testing.T, key, value string) {
		if r, err := parseRule(value); err == nil {
			if r.level == wordFingerprint && len(r.prints) == 0 || (r.level == wordVerify || r.level == wordSecure) && len(r.match) == 0 {
				t.Errorf("%q demands nothing: %+v", value, r)
			}
			if r.minVersion != 0 && (r.minVersion < tls.VersionTLS10 || r.minVersion > tls.VersionTLS13) {
				t.Errorf("%q: version %x", value, r.minVersion)
			}
		}
		host, bracketed, port, err := ParseKey(key)
		if err != nil {
			return
		}
		keys := Keys(host, bracketed, port)
		again, b, p, err := ParseKey(keys[0])
		if err != nil || again != host || b != bracketed || p != port {
			t.Errorf("%q gave %q, and that %q, %v", key, keys[0], again, err)
		}
	})
}
