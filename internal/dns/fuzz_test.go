package dns

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
)

// fuzzQuery is a fixed question, "MX of example.com", with id 0x1234.
const fuzzQuery = "123401000001000000000001" + "076578616d706c6503636f6d00" + "000f0001" + "00002904d0000000000000"

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// seedReplies are answers of each kind to fuzzQuery.
func seedReplies(f *testing.F) [][]byte {
	var query mdns.Msg
	if err := query.Unpack(mustHex(fuzzQuery)); err != nil {
		f.Fatal(err)
	}
	var list [][]byte
	for _, text := range [][]string{
		{"example.com. 60 IN MX 10 mx.example.com.", "example.com. 60 IN MX 20 mx2.example.com."},
		{"example.com. 60 IN CNAME a.example.net.", "A.example.net. 30 IN MX 0 ."},
		{"example.com. 60 IN CNAME a.example.net.", "a.example.net. 30 IN CNAME example.com."},
		{"example.com. 60 IN CNAME a.example.net."},
		{"example.com. 60 IN A 192.0.2.1", `example.com. 60 IN TXT "a" "b"`, "example.com. 60 IN AAAA 2001:db8::1", "example.com. 60 IN PTR a.b.", "example.com. 60 IN TLSA 3 1 1 0123456789abcdef"},
		{},
	} {
		m := new(mdns.Msg)
		m.SetReply(&query)
		for _, s := range text {
			rr, err := mdns.NewRR(s)
			if err != nil {
				f.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		if len(text) == 0 {
			soa, err := mdns.NewRR("com. 900 IN SOA ns.example. host.example. 1 2 3 4 5")
			if err != nil {
				f.Fatal(err)
			}
			m.Ns = []mdns.RR{soa}
		}
		for _, m.Compress = range []bool{false, true} {
			b, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			list = append(list, b)
		}
	}
	return list
}

// FuzzReply gives any bytes to what handles a server's message: they are
// ignored, refused or read, and what is read holds what Answer promises.
func FuzzReply(f *testing.F) {
	query := mustHex(fuzzQuery)
	end := questionEnd(query)
	for _, b := range seedReplies(f) {
		f.Add(b, false)
		f.Add(b[end:], true)
		f.Add(b[:len(b)-1], false)
	}
	f.Add([]byte{}, false)
	f.Add(query, false)
	f.Fuzz(func(t *testing.T, data []byte, behindQuestion bool) {
		if behindQuestion { // reach the records: a right header with any counts, the right question
			head := bytes.Clone(query[:end])
			head[2] |= 0x80
			for i := range min(6, len(data)) {
				head[6+i] = data[i]
			}
			data = append(head, data...)
		}
		if !answers(query, data) {
			return
		}
		if data[0] != 0x12 || data[1] != 0x34 || data[2]&0x80 == 0 || !bytes.EqualFold(data[headerLen:end], query[headerLen:end]) {
			t.Fatalf("accepted as an answer: %x", data)
		}
		m := new(mdns.Msg)
		if unpack(m, data) != nil {
			return
		}
		for _, typ := range []Type{TypeMX, TypeA, TypeAAAA, TypePTR, TypeTXT, TypeTLSA} {
			checkFinding(t, m, typ)
		}
	})
}

func checkFinding(t *testing.T, m *mdns.Msg, typ Type) {
	f, err := read(m, typ)
	if err != nil {
		return
	}
	if f.aliases > maxAliases || f.ttl > seconds(maxTTL) || (f.aliases == 0 && !f.settled) {
		t.Errorf("read(%v): %d aliases, TTL %d, settled %v\n%v", typ, f.aliases, f.ttl, f.settled, m)
	}
	if !f.ans.Empty() && (m.Rcode != mdns.RcodeSuccess || len(m.Answer) == 0 || f.absent) {
		t.Errorf("read(%v) found records in\n%v", typ, m)
	}
	if f.ans.Empty() && m.Rcode != mdns.RcodeSuccess && m.Rcode != mdns.RcodeNameError {
		t.Errorf("read(%v) took an error for absence:\n%v", typ, m)
	}
	for _, a := range f.ans.Addrs {
		if a.Is4() != (typ == TypeA) {
			t.Errorf("read(%v) found the address %v", typ, a)
		}
	}
}

// FuzzName: whatever a client sends as a name becomes a packed question or is refused.
func FuzzName(f *testing.F) {
	for _, s := range []string{"example.com", "", ".", "a..b", `a\`, `a\.b`, `\255\`, `\999.a`, "b\xfccher.de", "a\x00b", strings.Repeat("a.", 130), strings.Repeat(`\001`, 250)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		fqdn, ok := absolute(lower(relative(name)))
		if !ok {
			return
		}
		query, err := packQuery(new([maxQuery]byte), fqdn, TypeA, true)
		if err != nil {
			t.Fatalf("absolute(%q) is good, but: %v", name, err)
		}
		if end := questionEnd(query); end == 0 || end > headerLen+maxWireName+4 {
			t.Fatalf("question of %q ends at %d: %x", name, end, query)
		}
		reply := bytes.Clone(query)
		reply[2] |= 0x80
		if !answers(query, reply) {
			t.Fatalf("the answer about %q is not known again: %x", name, query)
		}
	})
}

// FuzzText: the bytes of a text come out of the codec as they went in.
func FuzzText(f *testing.F) {
	for _, s := range []string{"", "v=spf1 -all", `a "b" \ c`, "\x00\xff\n", `\123`, `\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 255 {
			return
		}
		reply := mustHex("123481000001000100000000" + "0161000010" + "0001" + "c00c00100001" + "0000003c")
		reply = append(reply, 0, byte(len(text)+1))
		if len(text) == 255 {
			reply = append(reply[:len(reply)-2], 1, 0)
		}
		reply = append(append(reply, byte(len(text))), text...)
		var m mdns.Msg
		if err := unpack(&m, reply); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		found, err := read(&m, TypeTXT)
		if err != nil || len(found.ans.Texts) != 1 || found.ans.Texts[0] != text {
			t.Errorf("%q was read as %q, %v", text, found.ans.Texts, err)
		}
	})
}

// FuzzParseResolvConf: whatever is in the file, a client can be made of it.
func FuzzParseResolvConf(f *testing.F) {
	for _, s := range []string{"", "nameserver 192.0.2.1\nnameserver fe80::1%eth0\noptions timeout:3 attempts:9 rotate use-vc", "nameserver\noptions timeout: attempts:-1\x00\nnameserver ::ffff:192.0.2.1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := parseResolvConf(data)
		if _, err := NewClient(c); err != nil || len(c.Servers) > maxServers || c.Timeout > maxTimeout*time.Second || c.Attempts > maxAttempts {
			t.Errorf("%q was read as %+v: %v", data, c, err)
		}
	})
}

// FuzzParseHosts: any file can be read, and what is found leads back.
func FuzzParseHosts(f *testing.F) {
	for _, s := range []string{
		"127.0.0.1 localhost\n::1 localhost ip6-localhost # six\n",
		"192.0.2.1\tprinter printer.example.com\r\n192.0.2.2 printer\n#x\n 192.0.2.3 a",
		"fe80::1%eth0 link\n::ffff:192.0.2.4 mapped.\nbad line here\n192.0.2.9\n\x00\xff . ..\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h := ParseHosts(data)
		for name, e := range h.byName {
			if _, addrs, found := h.Find(name); found && len(addrs) == 0 {
				t.Errorf("%q is found without an address", name)
			}
			for _, addr := range e.addrs {
				checkAddr(t, h, addr)
			}
		}
	})
}

func checkAddr(t *testing.T, h *Hosts, addr netip.Addr) {
	name, found := h.Name(addr)
	if !found || name == "" || strings.ContainsAny(name, " \t\n#") {
		t.Errorf("Name(%v) = %q, %v", addr, name, found)
	}
	if _, _, found := h.Find(name); !found {
		t.Errorf("Find(%q), the name of %v: not found", name, addr)
	}
}
