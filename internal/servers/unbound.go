package servers

import (
	"crypto"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// SignedZone is the name of the zone that an Unbound finds signed.
const SignedZone = "signed.example."

// Records are those of an Unbound, in the form of zone files with full names.
type Records struct {
	Signed []string // below SignedZone
	Forged []string // likewise, with signatures of another key
	Plain  []string // elsewhere, not signed
}

// Unbound is a real resolver that validates: SignedZone by its key, and nothing else, since
// it knows no other.
type Unbound struct {
	process
	Addr string // 127.0.0.1 and a port
}

const unboundConf = `server:
  directory: "%[1]s"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: "%[1]s/log"
  interface: 127.0.0.1@%[2]d
  do-daemonize: no
  module-config: "validator iterator"
  num-threads: 1
  trust-anchor: '%[3]s'
%[4]s
remote-control:
  control-enable: yes
  control-use-cert: no
  control-interface: "%[1]s/socket"
auth-zone:
  name: "%[5]s"
  zonefile: "%[1]s/zone"
  for-downstream: no
  for-upstream: yes
  fallback-enabled: no
`

// StartUnbound starts one that ends with the test.
func StartUnbound(t testing.TB, records Records) *Unbound {
	t.Helper()
	dir, port := t.TempDir(), FreePort(t)
	u := &Unbound{process: process{t: t, dir: dir, socket: filepath.Join(dir, "socket")}, Addr: fmt.Sprintf("127.0.0.1:%d", port)}
	key := newZoneKey(t)
	u.Write("zone", signZone(t, key, newZoneKey(t), records))
	var local strings.Builder
	for _, text := range records.Plain {
		fmt.Fprintf(&local, "  local-data: '%s'\n", text)
	}
	conf := u.Write("conf", fmt.Sprintf(unboundConf, dir, port, strings.ReplaceAll(key.record.String(), "\t", " "), local.String(), SignedZone))
	u.start("/usr/sbin/unbound", "-d", "-c", conf)
	t.Cleanup(u.Kill)
	return u
}

// zoneKey is a key of SignedZone.
type zoneKey struct {
	record *mdns.DNSKEY
	signer crypto.Signer
}

func newZoneKey(t testing.TB) zoneKey {
	t.Helper()
	k := zoneKey{record: &mdns.DNSKEY{
		Hdr:   mdns.RR_Header{Name: SignedZone, Rrtype: mdns.TypeDNSKEY, Class: mdns.ClassINET, Ttl: 300},
		Flags: mdns.ZONE | mdns.SEP, Protocol: 3, Algorithm: mdns.ECDSAP256SHA256,
	}}
	private, err := k.record.Generate(256)
	if err != nil {
		t.Fatal(err)
	}
	k.signer = private.(crypto.Signer)
	return k
}

// signZone is the text of the zone, signed, with NSEC records for what is not there (RFC 4034, 4).
func signZone(t testing.TB, key, other zoneKey, records Records) string {
	t.Helper()
	sets := map[string]map[uint16][]mdns.RR{} // by names and types
	add := func(rr mdns.RR) {
		h := rr.Header()
		if sets[h.Name] == nil {
			sets[h.Name] = map[uint16][]mdns.RR{}
		}
		sets[h.Name][h.Rrtype] = append(sets[h.Name][h.Rrtype], rr)
	}
	for _, text := range slices.Concat([]string{
		SignedZone + " 300 IN SOA ns." + SignedZone + " host." + SignedZone + " 1 3600 600 86400 60",
		SignedZone + " 300 IN NS ns." + SignedZone, "ns." + SignedZone + " 300 IN A 127.0.0.1", key.record.String(),
	}, records.Signed, records.Forged) {
		rr, err := mdns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		add(rr)
	}
	names := slices.SortedFunc(func(yield func(string) bool) {
		for name := range sets {
			if !yield(name) {
				return
			}
		}
	}, canonicalOrder)
	for i, name := range names {
		types := []uint16{mdns.TypeRRSIG, mdns.TypeNSEC}
		for typ := range sets[name] {
			types = append(types, typ)
		}
		slices.Sort(types)
		add(&mdns.NSEC{
			Hdr:        mdns.RR_Header{Name: name, Rrtype: mdns.TypeNSEC, Class: mdns.ClassINET, Ttl: 60},
			NextDomain: names[(i+1)%len(names)], TypeBitMap: types,
		})
	}
	var text strings.Builder
	for _, name := range names {
		for _, set := range sets[name] {
			with := key
			if slices.ContainsFunc(records.Forged, func(s string) bool {
				rr, err := mdns.NewRR(s)
				return err == nil && rr.String() == set[0].String()
			}) {
				with = other
			}
			for _, rr := range append(set, sign(t, key, with, set)) {
				fmt.Fprintln(&text, rr)
			}
		}
	}
	return text.String()
}

// sign makes a signature that says it is by key.
func sign(t testing.TB, key, by zoneKey, set []mdns.RR) mdns.RR {
	t.Helper()
	sig := &mdns.RRSIG{
		Hdr:    mdns.RR_Header{Name: set[0].Header().Name, Rrtype: mdns.TypeRRSIG, Class: mdns.ClassINET, Ttl: set[0].Header().Ttl},
		KeyTag: key.record.KeyTag(), SignerName: SignedZone, Algorithm: key.record.Algorithm,
		Inception: uint32(time.Now().Add(-time.Hour).Unix()), Expiration: uint32(time.Now().Add(time.Hour).Unix()),
	}
	if err := sig.Sign(by.signer, set); err != nil {
		t.Fatal(err)
	}
	return sig
}

// canonicalOrder is that of RFC 4034, 6.1: by labels, from the right.
func canonicalOrder(a, b string) int {
	reversed := func(name string) []string {
		labels := mdns.SplitDomainName(strings.ToLower(name))
		slices.Reverse(labels)
		return labels
	}
	return slices.Compare(reversed(a), reversed(b))
}
