package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

const (
	longestProxyV1 = 107     // with CRLF
	longestProxyV2 = 2 << 10 // of the part after the fixed one, TLVs included
	proxyV2Head    = 16
)

var proxyV2Signature = []byte("\r\n\r\n\x00\r\nQUIT\n")

var errNoProxy = errors.New("no PROXY header")

// proxied is what a PROXY header tells.
type proxied struct {
	local  bool       // the proxy speaks for itself
	client netip.Addr // invalid: it does not say who
}

// parseProxy reads a PROXY header, version 1 or 2, at the start of b. n is its
// length; 0 without an error says that it is not all there.
//
// Source: HAProxy's proxy-protocol.txt.
func parseProxy(b []byte) (p proxied, n int, err error) {
	if common := min(len(b), len(proxyV2Signature)); bytes.Equal(b[:common], proxyV2Signature[:common]) {
		return parseProxyV2(b)
	}
	const word = "PROXY "
	if common := min(len(b), len(word)); string(b[:common]) != word[:common] {
		return proxied{}, 0, errNoProxy
	}
	end := bytes.IndexByte(b[:min(len(b), longestProxyV1)], '\n')
	if end < 0 {
		if len(b) >= longestProxyV1 {
			return proxied{}, 0, errors.New("PROXY line too long")
		}
		return proxied{}, 0, nil
	}
	line, ok := strings.CutSuffix(string(b[:end]), "\r")
	if !ok {
		return proxied{}, 0, errors.New("PROXY line without CRLF")
	}
	p, err = proxyLine(strings.Split(line, " "))
	return p, end + 1, err
}

// proxyLine reads the words of PROXY TCP4|TCP6 client server port port.
func proxyLine(words []string) (proxied, error) {
	if words[1] == "UNKNOWN" {
		return proxied{}, nil
	}
	v6 := words[1] == "TCP6"
	if !v6 && words[1] != "TCP4" || len(words) != 6 {
		return proxied{}, errors.New("PROXY line of another form")
	}
	var addrs [2]netip.Addr
	for i := range addrs {
		a, err := netip.ParseAddr(words[2+i])
		if err != nil || a.Is6() != v6 || a.Zone() != "" {
			return proxied{}, errors.New("PROXY line without an address of its family")
		}
		addrs[i] = a
	}
	for _, port := range words[4:] {
		if !isPort(port) {
			return proxied{}, errors.New("PROXY line without ports")
		}
	}
	return proxied{client: addrs[0].Unmap()}, nil
}

func parseProxyV2(b []byte) (proxied, int, error) {
	if len(b) < proxyV2Head {
		return proxied{}, 0, nil
	}
	size := int(binary.BigEndian.Uint16(b[14:]))
	if size > longestProxyV2 {
		return proxied{}, 0, fmt.Errorf("PROXY header of %d bytes, at most %d are taken", size, longestProxyV2)
	}
	if len(b) < proxyV2Head+size {
		return proxied{}, 0, nil
	}
	p, err := proxyAddresses(b[12], b[13], b[proxyV2Head:proxyV2Head+size])
	return p, proxyV2Head + size, err
}

// proxyAddresses reads the part of version 2 that its first bytes tell of.
func proxyAddresses(command, family byte, b []byte) (proxied, error) {
	switch command {
	case 0x20:
		return proxied{local: true}, nil
	case 0x21:
	default:
		return proxied{}, fmt.Errorf("PROXY version and command %#x", command)
	}
	var of [4]byte
	switch {
	case family == 0x11 && len(b) >= 12:
		copy(of[:], b)
		return proxied{client: netip.AddrFrom4(of)}, nil
	case family == 0x21 && len(b) >= 36:
		return proxied{client: netip.AddrFrom16([16]byte(b[:16])).Unmap()}, nil
	case family == 0x11 || family == 0x21:
		return proxied{}, errors.New("PROXY header without its addresses")
	}
	return proxied{}, nil
}

// isPort tells whether s is a port number.
func isPort(s string) bool {
	if s == "" || len(s) > 5 {
		return false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n <= 65535
}
