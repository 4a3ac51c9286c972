package config

import (
	"strings"
	"testing"
	"time"
)

func TestQueueKeys(t *testing.T) {
	c, err := Load(write(t, `
[relay]
max_deliveries_per_destination = 7
queue_warn = "0s"
bounce_size = "10 KB"
copy_errors_to = "postmaster"
smart_host = "[smtp.isp.example]"
local_mail = "smart_host"
double_bounce_address = "errors@example.com"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Queue{MaxDeliveriesPerDestination: 7, BounceSize: 10_000, CopyErrorsTo: "postmaster", DoubleBounceAddress: "errors@example.com"}
	if c.Relay.Queue != want {
		t.Errorf("%+v", c.Relay.Queue)
	}
	if d := defaultQueue(); d.QueueWarn != 4*time.Hour || d.MaxDeliveriesPerDestination != 20 || d.CopyErrorsTo != "" {
		t.Errorf("%+v", d)
	}
	_, err = Load(write(t, "[relay]\ndouble_bounce_address = \"root\"\n"))
	if err == nil || !strings.HasSuffix(err.Error(), `:2: relay.double_bounce_address is "root" at this host, whose mail relay.local_mail refuses, expected a full address such as "root@example.com"`) {
		t.Error(err)
	}
	for _, bad := range []string{"<a@b.example>", "a b", "@b.example", "a@", "a@b@c", "a@[192.0.2.1]", "a\\r\\nb", "\\\"a\\\"@b.example"} {
		_, err := Load(write(t, "[relay]\ncopy_errors_to = \""+bad+"\"\n"))
		if err == nil || !strings.Contains(err.Error(), `:2: relay.copy_errors_to is `) || !strings.Contains(err.Error(), "expected an address such as") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
