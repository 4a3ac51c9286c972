package config

import (
	"crypto/tls"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTLSOut(t *testing.T) {
	c, err := Parse("/etc/gatepost/f", []byte(`[relay]
tls_policy = "hash:tls-policy"
tls_security_level = "dane"
tls_ca_file = "ca.pem"
tls_client_min = "1.3"
mta_sts = true
`))
	if err != nil {
		t.Fatal(err)
	}
	want := TLSOut{
		TLSPolicy: Table{Named: true, Line: 2, Maps: []Map{{Kind: "db", Path: "/etc/gatepost/tls-policy.db", Text: "/etc/gatepost/tls-policy"}}},
		TLSLevel:  "dane", TLSCAFile: "/etc/gatepost/ca.pem", TLSClientMin: tls.VersionTLS13, MTASTS: true,
	}
	if diff := cmp.Diff(want, c.Relay.TLSOut); diff != "" {
		t.Errorf("[relay] gave (-want +got):\n%s", diff)
	}
	for text, want := range map[string]string{
		`tls_security_level = "secure"`: `f:2: relay.tls_security_level is "secure", expected "none", "may", "encrypt", "verify" or "dane"`,
		`tls_client_min = "1.1"`:        `f:2: relay.tls_client_min is "1.1", expected "1.2" or "1.3"`,
		`mta_sts = "yes"`:               `f:2: relay.mta_sts is "yes", expected true or false`,
		`tls_ca_file = ""`:              `f:2: relay.tls_ca_file is "", expected a string such as "/etc/gatepost/ca.pem"`,
	} {
		if _, err := Parse("f", []byte("[relay]\n"+text+"\n")); err == nil || err.Error() != want {
			t.Errorf("%s gave %v, want %s", text, err, want)
		}
	}
}
