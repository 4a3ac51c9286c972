package setup

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"gatepost/internal/certtest"
	"gatepost/relay/tlspolicy"
)

func (p *place) openTLSOut(e *Engine) *TLSOut {
	p.t.Helper()
	out, err := e.OpenTLSOut(p.cfg, p.logger())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := out.Close(); err != nil {
			p.t.Errorf("Close: %v", err)
		}
	})
	return out
}

// waitFor has ok come true in five seconds.
func (p *place) waitFor(what string, ok func() bool) time.Duration {
	p.t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > 5*time.Second {
			p.t.Fatalf("%s: not within 5 s; log:\n%s", what, p.log.String())
		}
		time.Sleep(2 * time.Millisecond)
	}
	return time.Since(start)
}

// TestTLSPolicyFollowed: an edit of the table is in force within a second, and a bad one not
// at all.
func TestTLSPolicyFollowed(t *testing.T) {
	p := newPlace(t)
	p.write("tls-policy", "[smart.example]:587\tencrypt\n")
	p.cfg.Relay.TLSPolicy = textTable(p.path("tls-policy"))
	e := p.open()
	out := p.openTLSOut(e)
	done := make(chan struct{})
	go func() { e.Run(t.Context()); close(done) }()
	t.Cleanup(func() { <-done })
	ask := tlspolicy.Ask{Domain: "smart.example", Bracketed: true, Host: "smart.example", Port: 587}
	find := func() tlspolicy.Policy {
		found, err := out.Find(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if got := find(); got.Level != tlspolicy.Encrypt || got.Source != p.path("tls-policy")+":1" {
		t.Fatalf("before the edit: %+v", got)
	}
	p.write("tls-policy", "# edited\n[smart.example]:587\tsecure\n")
	took := p.waitFor("the edit", func() bool { return find().Level == tlspolicy.Verify })
	if took > time.Second {
		t.Errorf("the edit was in force after %v, want at most a second", took)
	}
	p.write("tls-policy", "# edited\n[smart.example]:587\tmay\n[other.example] encrpyt\n")
	bad := p.path("tls-policy") + `:3: `
	p.waitFor("the error", func() bool { return strings.Contains(p.log.String(), bad) })
	if got := find(); got.Level != tlspolicy.Verify {
		t.Errorf("after a bad edit: %+v, want what was there before", got)
	}
	p.write("tls-policy", "[smart.example]:587\tdane\n")
	p.waitFor("the repair", func() bool { return find().Level == tlspolicy.May })

	answers, err := e.LookupTLSPolicy(t.Context(), "[smart.example]:587")
	if err != nil || len(answers) != 1 || !answers[0].Found || answers[0].Value != "dane" {
		t.Errorf("LookupTLSPolicy = %+v, %v", answers, err)
	}
	if answers, err = e.LookupTLSPolicy(t.Context(), "a.smart.example"); err != nil || len(answers) != 3 || answers[2].Key != ".example" || answers[2].Found {
		t.Errorf("LookupTLSPolicy = %+v, %v, want three misses", answers, err)
	}
	if _, err := e.LookupTLSPolicy(t.Context(), "joe@example.com"); err == nil {
		t.Error("LookupTLSPolicy took an address for a next hop")
	}
}

func TestTLSOutFaults(t *testing.T) {
	p := newPlace(t)
	if _, err := p.open().LookupTLSPolicy(t.Context(), "a.example"); err == nil || err.Error() != "no tls_policy table: [relay] does not name one" {
		t.Errorf("without a table: %v", err)
	}
	p.cfg.Relay.TLSCAFile = p.path("none")
	if _, err := p.open().OpenTLSOut(p.cfg, p.logger()); err == nil || !strings.HasPrefix(err.Error(), "relay.tls_ca_file: ") {
		t.Errorf("no file of authorities: %v", err)
	}
	p.write("tls-policy", "a.example\tverify match=\n")
	p.cfg.Relay.TLSPolicy = textTable(p.path("tls-policy"))
	_, err := open(context.Background(), p.cfg, p.logger(), p.host)
	if err == nil || !strings.Contains(err.Error(), p.path("tls-policy")+`:1: `) {
		t.Errorf("a bad table: %v", err)
	}
}

// TestTLSOutAuthorities: those of tls_ca_file stand alone, but for MTA-STS, which is about
// servers of the whole world, beside the system's.
func TestTLSOutAuthorities(t *testing.T) {
	p := newPlace(t)
	one, two := certtest.New(t, certtest.Name(t, "/CN=One")), certtest.New(t, certtest.Name(t, "/CN=Two"))
	text := func(a *certtest.Authority) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw}))
	}
	p.write("ca.pem", text(one))
	p.write("tls-policy", "a.example\tverify\n")
	p.cfg.Relay.TLSPolicy = textTable(p.path("tls-policy"))
	p.cfg.Relay.TLSCAFile = p.path("ca.pem")
	out := p.openTLSOut(p.open())
	knows := func(a *certtest.Authority) bool {
		found, err := out.Find(t.Context(), tlspolicy.Ask{Domain: "a.example", Host: "mx.a.example", Port: 25})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Host("mx.a.example").Leaf.Verify(x509.VerifyOptions{Roots: found.Roots})
		return err == nil
	}
	if !knows(one) || knows(two) {
		t.Errorf("known: %v, %v, want the first alone", knows(one), knows(two))
	}
	p.write("ca.pem", text(two))
	p.waitFor("another authority", func() bool { return knows(two) })
	r, err := readRoots(p.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	system, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	system.AddCert(two.Certificate())
	if !r.public.Equal(system) || r.named.Equal(system) {
		t.Error("the authorities for MTA-STS are not the system's and those of the file")
	}
}

func TestReviewTLSOut(t *testing.T) {
	p := newPlace(t)
	p.write("tls-policy", "a.example\tencrypt\nb.example\nc.example\tdane-only\na.example\tmay\n")
	p.cfg.Relay.TLSPolicy = textTable(p.path("tls-policy"))
	p.cfg.Relay.TLSLevel = "dane"
	review := func() string {
		found, err := p.open().ReviewTLSOut()
		text := fmt.Sprint(err)
		for _, f := range found {
			text += "\n" + f.String()
		}
		return text
	}
	at := p.path("tls-policy")
	skipped := "\n" + at + ":2: key \"b.example\" has no value; skipped\n" + at + ":4: key \"a.example\" stands in line 1 already, the first one counts; skipped"
	if got := review(); got != "<nil>"+skipped {
		t.Errorf("behind a resolver on this host: %s", got)
	}
	p.cfg.DNS.Servers = []string{"192.0.2.53:53"}
	got := review()
	if !strings.Contains(got, `"dane", which is no more than "may"`) || !strings.HasSuffix(got, at+`:3: c.example has the level "dane-only", but no name server is on this host or in dns.trust_ad, so no answer counts as signed`) {
		t.Errorf("behind one elsewhere: %s", got)
	}
	p.cfg.DNS.TrustAD = []netip.Addr{netip.MustParseAddr("192.0.2.53")}
	if got := review(); got != "<nil>"+skipped {
		t.Errorf("behind one elsewhere that is trusted: %s", got)
	}
	p.cfg.Relay.TLSCAFile = p.path("none")
	if got := review(); !strings.HasPrefix(got, "relay.tls_ca_file: ") {
		t.Errorf("no file of authorities: %s", got)
	}
}

// TestTLSOutSTS: the policies are kept in the folder of the queue.
func TestTLSOutSTS(t *testing.T) {
	p := newPlace(t)
	p.cfg.Relay.MTASTS, p.cfg.Relay.Spool = true, p.dir
	p.write(stsFile, `{"version": 1, "policies": [{"domain": "sts.example", "id": "1", "mode": "enforce", "mx": ["mx.sts.example"], "max_age": 600, "fetched": "`+time.Now().Format(time.RFC3339)+`"}]}`)
	out := p.openTLSOut(p.open())
	found, err := out.Find(t.Context(), tlspolicy.Ask{Domain: "sts.example", Host: "mx.sts.example", Port: 25})
	if err != nil || found.Level != tlspolicy.Verify || found.Source != "MTA-STS of sts.example" {
		t.Errorf("Find = %+v, %v, want verify by MTA-STS", found, err)
	}
	if _, err := out.Find(t.Context(), tlspolicy.Ask{Domain: "sts.example", Host: "mx.other.example", Port: 25}); err == nil {
		t.Error("a host that the policy does not name was let through")
	}
	if _, err := os.Stat(p.path(stsFile)); err != nil {
		t.Error(err)
	}
}
