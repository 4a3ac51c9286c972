package tlspolicy_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"gatepost/internal/certtest"
	"gatepost/relay/tlspolicy"
)

// handshake makes a TLS connection as the policy has it with a server that has the
// certificate, and gives its state and the name that the server was told.
func handshake(t *testing.T, p *tlspolicy.Policy, host string, config *tls.Config) (tls.ConnectionState, string, error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	told := make(chan string, 1)
	go func() {
		defer close(told)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		server := tls.Server(conn, config)
		if server.Handshake() == nil {
			told <- server.ConnectionState().ServerName
			_, _ = server.Read(make([]byte, 1)) // until the client leaves
		}
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	client := tls.Client(conn, p.Config(host))
	err = client.Handshake()
	cs := client.ConnectionState()
	conn.Close()
	return cs, <-told, err
}

// pki is an authority, one below it, and another that nobody knows.
type pki struct {
	t              *testing.T
	root, sub, odd *certtest.Authority
}

func newPKI(t *testing.T) pki {
	root := certtest.New(t, certtest.Name(t, "/CN=Root"))
	return pki{t, root, root.Sub(certtest.Name(t, "/CN=Sub")), certtest.New(t, certtest.Name(t, "/CN=Odd"))}
}

func (k pki) issue(a *certtest.Authority, change func(*x509.Certificate), hosts ...string) tls.Certificate {
	k.t.Helper()
	if change == nil {
		change = func(*x509.Certificate) {}
	}
	return a.Issue(certtest.Name(k.t, "/CN=mx.example.org"), hosts, change)
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
}

func clientOnly(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }

// record is a TLSA record of a certificate.
func record(usage, selector, matching uint8, c *x509.Certificate) tlspolicy.TLSA {
	data := c.Raw
	if selector == 1 {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case 1:
		sum := sha256.Sum256(data)
		data = sum[:]
	case 2:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return tlspolicy.TLSA{Usage: usage, Selector: selector, Matching: matching, Data: data}
}

// check makes a handshake with mx.example.org and checks it.
func check(t *testing.T, p tlspolicy.Policy, cert tls.Certificate, want error) {
	t.Helper()
	cs, _, err := handshake(t, &p, "mx.example.org", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Errorf("handshake: %v", err)
		return
	}
	if err := p.Check("mx.example.org", &cs); !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("Check = %v, want %v", err, want)
	}
}

// verifyCase is a certificate that mx.example.org shows, and what is to come of it.
type verifyCase struct {
	cert  tls.Certificate
	names []string
	want  error
}

func verifyCases(k pki) map[string]verifyCase {
	const host = "mx.example.org"
	return map[string]verifyCase{
		"by the root":              {k.issue(k.root, nil, host), nil, nil},
		"by one below it":          {k.issue(k.sub, nil, "a.example", host), nil, nil},
		"star":                     {k.issue(k.root, nil, "*.example.org"), nil, nil},
		"star for two labels":      {k.issue(k.root, nil, "*.org"), nil, tlspolicy.ErrName},
		"star in a label":          {k.issue(k.root, nil, "m*.example.org"), nil, tlspolicy.ErrName},
		"common name alone":        {k.issue(k.root, nil), nil, tlspolicy.ErrName},
		"another host":             {k.issue(k.root, nil, "mx.example.net"), nil, tlspolicy.ErrName},
		"another host, wanted":     {k.issue(k.root, nil, "mx.example.net"), []string{"a.example", "MX.example.net."}, nil},
		"the host, not wanted":     {k.issue(k.root, nil, host), []string{"example.net"}, tlspolicy.ErrName},
		"any below":                {k.issue(k.root, nil, "a.b.example.net"), []string{".example.net"}, nil},
		"not below":                {k.issue(k.root, nil, "example.net", "xexample.net"), []string{".example.net"}, tlspolicy.ErrName},
		"star for any below":       {k.issue(k.root, nil, "*.example.net"), []string{".example.net"}, nil},
		"one label more":           {k.issue(k.root, nil, "a.example.net"), []string{"*.example.net"}, nil},
		"one label more, not two":  {k.issue(k.root, nil, "a.b.example.net"), []string{"*.example.net"}, tlspolicy.ErrName},
		"one label more, not none": {k.issue(k.root, nil, "example.net"), []string{"*.example.net"}, tlspolicy.ErrName},
		"an address":               {k.issue(k.root, nil, "192.0.2.1", "2001:db8::1"), []string{"192.0.2.1"}, nil},
		"an IPv6 address":          {k.issue(k.root, nil, "192.0.2.1", "2001:db8::1"), []string{"2001:DB8:0::1"}, nil},
		"another address":          {k.issue(k.root, nil, "192.0.2.1"), []string{"192.0.2.2"}, tlspolicy.ErrName},
		"unknown authority":        {k.issue(k.odd, nil, host), nil, tlspolicy.ErrAuthority},
		"expired":                  {k.issue(k.root, expired, host), nil, tlspolicy.ErrExpired},
		"for clients only":         {k.issue(k.root, clientOnly, host), nil, tlspolicy.ErrUnfit},
	}
}

func TestVerify(t *testing.T) {
	k := newPKI(t)
	for name, tc := range verifyCases(k) {
		t.Run(name, func(t *testing.T) {
			check(t, tlspolicy.Policy{Level: tlspolicy.Verify, Names: tc.names, Roots: k.root.Pool()}, tc.cert, tc.want)
			for _, level := range []tlspolicy.Level{tlspolicy.None, tlspolicy.May, tlspolicy.Encrypt} {
				check(t, tlspolicy.Policy{Level: level}, tc.cert, nil)
			}
		})
	}
	check(t, tlspolicy.Policy{Level: tlspolicy.Verify}, k.issue(k.root, nil, "mx.example.org"), tlspolicy.ErrAuthority) // the system does not know it
}

func TestFingerprint(t *testing.T) {
	k := newPKI(t)
	cert := k.issue(k.odd, expired, "other.example")
	whole, key := sha256.Sum256(cert.Leaf.Raw), sha256.Sum256(cert.Leaf.RawSubjectPublicKeyInfo)
	authority := sha256.Sum256(k.odd.Certificate().Raw)
	for name, tc := range map[string]struct {
		prints [][]byte
		want   error
	}{
		"certificate":      {[][]byte{make([]byte, 32), whole[:]}, nil},
		"public key":       {[][]byte{key[:]}, nil},
		"of the authority": {[][]byte{authority[:]}, tlspolicy.ErrFingerprint},
		"the beginning":    {[][]byte{whole[:31]}, tlspolicy.ErrFingerprint},
		"none":             {nil, tlspolicy.ErrFingerprint},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, tlspolicy.Policy{Level: tlspolicy.Fingerprint, Fingerprints: tc.prints}, cert, tc.want)
		})
	}
}

// daneCase is a certificate that mx.example.org shows, its TLSA records, and what is to come of it.
type daneCase struct {
	cert    tls.Certificate
	records []tlspolicy.TLSA
	names   []string
	want    error
}

func daneCases(k pki) map[string]daneCase {
	host := []string{"mx.example.org"}
	good := k.issue(k.sub, nil, host...)
	withRoot := good
	withRoot.Certificate = append(append([][]byte{}, good.Certificate...), k.root.Certificate().Raw)
	old := k.issue(k.odd, expired, "other.example")
	stale := k.issue(k.sub, expired, host...)
	other := k.issue(k.sub, nil, "example.org")
	root, sub := k.root.Certificate(), k.sub.Certificate()
	flipped := record(3, 1, 1, good.Leaf)
	flipped.Data[0] ^= 1
	return map[string]daneCase{
		"EE, key by SHA-256":         {old, []tlspolicy.TLSA{record(3, 1, 1, old.Leaf)}, nil, nil}, // whatever the name and the dates
		"EE, key by SHA-512":         {old, []tlspolicy.TLSA{record(3, 1, 2, old.Leaf)}, nil, nil},
		"EE, certificate by SHA-256": {old, []tlspolicy.TLSA{record(3, 0, 1, old.Leaf)}, nil, nil},
		"EE, certificate itself":     {old, []tlspolicy.TLSA{record(3, 0, 0, old.Leaf)}, nil, nil},
		"EE, key itself":             {old, []tlspolicy.TLSA{record(3, 1, 0, old.Leaf)}, nil, nil},
		"EE, another":                {good, []tlspolicy.TLSA{record(3, 1, 1, old.Leaf)}, nil, tlspolicy.ErrTLSA},
		"EE, a bit off":              {good, []tlspolicy.TLSA{flipped}, nil, tlspolicy.ErrTLSA},
		"EE, the authority's":        {good, []tlspolicy.TLSA{record(3, 1, 1, sub)}, nil, tlspolicy.ErrTLSA},
		"EE, one of two":             {good, []tlspolicy.TLSA{record(3, 1, 1, old.Leaf), record(3, 1, 1, good.Leaf)}, nil, nil},
		"TA below the root":          {good, []tlspolicy.TLSA{record(2, 0, 1, sub)}, nil, nil},
		"TA below the root, its key": {good, []tlspolicy.TLSA{record(2, 1, 2, sub)}, nil, nil},
		"TA that is shown":           {withRoot, []tlspolicy.TLSA{record(2, 1, 1, root)}, nil, nil},
		"TA that is not shown":       {good, []tlspolicy.TLSA{record(2, 1, 1, root)}, nil, tlspolicy.ErrTLSA},
		"TA in the record":           {good, []tlspolicy.TLSA{record(2, 0, 0, root)}, nil, nil},
		"TA of another":              {good, []tlspolicy.TLSA{record(2, 0, 0, k.odd.Certificate())}, nil, tlspolicy.ErrAuthority},
		"TA, expired":                {stale, []tlspolicy.TLSA{record(2, 0, 1, sub)}, nil, tlspolicy.ErrExpired},
		"TA, another name":           {other, []tlspolicy.TLSA{record(2, 0, 1, sub)}, nil, tlspolicy.ErrName},
		"TA, the domain's name":      {other, []tlspolicy.TLSA{record(2, 0, 1, sub)}, []string{"mx.example.org", "example.org"}, nil},
		"TA fails, EE fits":          {stale, []tlspolicy.TLSA{record(2, 0, 1, sub), record(3, 1, 1, stale.Leaf)}, nil, nil},
		"PKIX-EE is not for SMTP":    {good, []tlspolicy.TLSA{record(1, 1, 1, good.Leaf)}, nil, tlspolicy.ErrTLSA},
		"PKIX-TA is not for SMTP":    {good, []tlspolicy.TLSA{record(0, 0, 1, sub)}, nil, tlspolicy.ErrTLSA},
		"the better digest counts":   {good, []tlspolicy.TLSA{record(3, 1, 1, good.Leaf), record(3, 1, 2, old.Leaf)}, nil, tlspolicy.ErrTLSA},
		"... of the same selector":   {good, []tlspolicy.TLSA{record(3, 1, 1, good.Leaf), record(3, 0, 2, old.Leaf)}, nil, nil},
		"no records":                 {good, nil, nil, tlspolicy.ErrTLSA},
	}
}

func TestDANE(t *testing.T) {
	for name, tc := range daneCases(newPKI(t)) {
		t.Run(name, func(t *testing.T) {
			check(t, tlspolicy.Policy{Level: tlspolicy.DANE, TLSA: tc.records, Names: tc.names}, tc.cert, tc.want)
		})
	}
}

func TestUsable(t *testing.T) {
	leaf := newPKI(t).issue(certtest.New(t, certtest.Name(t, "/CN=X")), nil, "a.example").Leaf
	for name, tc := range map[string]struct {
		record tlspolicy.TLSA
		want   bool
	}{
		"3 1 1":              {record(3, 1, 1, leaf), true},
		"2 0 2":              {record(2, 0, 2, leaf), true},
		"usage 0":            {record(0, 1, 1, leaf), false},
		"usage 1":            {record(1, 1, 1, leaf), false},
		"usage 4":            {record(4, 1, 1, leaf), false},
		"selector 2":         {tlspolicy.TLSA{Usage: 3, Selector: 2, Matching: 1, Data: make([]byte, 32)}, false},
		"matching 3":         {tlspolicy.TLSA{Usage: 3, Selector: 1, Matching: 3, Data: make([]byte, 32)}, false},
		"short digest":       {tlspolicy.TLSA{Usage: 3, Selector: 1, Matching: 1, Data: make([]byte, 31)}, false},
		"SHA-512 of 32":      {tlspolicy.TLSA{Usage: 3, Selector: 1, Matching: 2, Data: make([]byte, 32)}, false},
		"no certificate":     {tlspolicy.TLSA{Usage: 2, Selector: 0, Matching: 0, Data: []byte{1, 2}}, false},
		"no key":             {tlspolicy.TLSA{Usage: 3, Selector: 1, Matching: 0}, false},
		"certificate itself": {record(3, 0, 0, leaf), true},
	} {
		if got := tlspolicy.Usable([]tlspolicy.TLSA{tc.record}); (len(got) == 1) != tc.want {
			t.Errorf("%s: usable %v, want %v", name, !tc.want, tc.want)
		}
	}
}

func TestConfig(t *testing.T) {
	k := newPKI(t)
	cert := k.issue(k.root, nil, "mx.example.org")
	old := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	for name, tc := range map[string]struct {
		policy tlspolicy.Policy
		host   string
		told   string
	}{
		"host":    {tlspolicy.Policy{}, "mx.example.org", "mx.example.org"},
		"address": {tlspolicy.Policy{}, "192.0.2.1", ""},
		"verify":  {tlspolicy.Policy{Level: tlspolicy.Verify, Names: []string{"example.org"}}, "mx.example.org", "mx.example.org"},
		"DANE":    {tlspolicy.Policy{Level: tlspolicy.DANE, Names: []string{"base.example.org", "example.org"}}, "mx.example.org", "base.example.org"},
	} {
		if _, told, err := handshake(t, &tc.policy, tc.host, &tls.Config{Certificates: []tls.Certificate{cert}}); err != nil || told != tc.told {
			t.Errorf("%s: the server was told %q, %v, want %q", name, told, err, tc.told)
		}
	}
	if _, _, err := handshake(t, &tlspolicy.Policy{}, "mx.example.org", old); err == nil {
		t.Error("TLS 1.1 was taken")
	}
	if _, _, err := handshake(t, &tlspolicy.Policy{MinVersion: tls.VersionTLS10}, "mx.example.org", old); err != nil {
		t.Errorf("TLS 1.1, which is allowed: %v", err)
	}
}

func TestCheckWithoutTLS(t *testing.T) {
	for level, want := range map[tlspolicy.Level]error{
		tlspolicy.May: nil, tlspolicy.None: nil, tlspolicy.Encrypt: tlspolicy.ErrNoTLS, tlspolicy.Fingerprint: tlspolicy.ErrNoTLS,
		tlspolicy.Verify: tlspolicy.ErrNoTLS, tlspolicy.DANE: tlspolicy.ErrNoTLS,
	} {
		p := tlspolicy.Policy{Level: level}
		for _, cs := range []*tls.ConnectionState{nil, {}} {
			if err := p.Check("a.example", cs); !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("level %d: %v, want %v", level, err, want)
			}
		}
		if p.Required() != (want != nil) {
			t.Errorf("level %d: Required() = %v", level, p.Required())
		}
	}
	p := tlspolicy.Policy{Level: tlspolicy.Verify}
	if err := p.Check("a.example", &tls.ConnectionState{HandshakeComplete: true}); !errors.Is(err, tlspolicy.ErrNoCertificate) {
		t.Errorf("no certificate: %v", err)
	}
}

// The names of a stranger's certificate do not flood the log, or break its lines.
func TestErrorIsBounded(t *testing.T) {
	k := newPKI(t)
	var many []string
	for range 50 {
		many = append(many, strings.Repeat("a", 60)+"\n.example")
	}
	p := tlspolicy.Policy{Level: tlspolicy.Verify, Roots: k.root.Pool()}
	leaf := k.issue(k.root, nil, "b.example").Leaf
	leaf.DNSNames = many
	err := p.Check("mx.example.org", &tls.ConnectionState{HandshakeComplete: true, PeerCertificates: []*x509.Certificate{leaf}})
	if err == nil || len(err.Error()) > 600 || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), "47 more, expected mx.example.org") {
		t.Errorf("Check = %v", err)
	}
}
