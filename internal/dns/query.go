package dns

import (
	"encoding/binary"

	mdns "github.com/miekg/dns"
)

const (
	headerLen = 12
	udpSize   = 1232 // the EDNS size that fits any path unfragmented (DNS flag day 2020)
	optLen    = 11
)

// maxQuery is the room that any query of ours fits in.
const maxQuery = headerLen + maxWireName + 4 + optLen

// packQuery packs one question into b, recursion desired, and EDNS (RFC 6891)
// unless the server did not understand it. Its id is zero: whoever sends it sets one.
func packQuery(b *[maxQuery]byte, fqdn string, t Type, edns bool) ([]byte, error) {
	*b = [maxQuery]byte{2: 0x01, 5: 1} // recursion desired, one question
	n, err := mdns.PackDomainName(fqdn, b[:], headerLen, nil, false)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint16(b[n:], uint16(t))
	binary.BigEndian.PutUint16(b[n+2:], mdns.ClassINET)
	n += 4
	if edns {
		b[11] = 1 // one additional record: the root, OPT, our size, no flags, no data
		binary.BigEndian.PutUint16(b[n+1:], mdns.TypeOPT)
		binary.BigEndian.PutUint16(b[n+3:], udpSize)
		n += optLen
	}
	return b[:n], nil
}

func setID(query []byte, id uint16) { binary.BigEndian.PutUint16(query, id) }

// wantAD asks for the AD bit, which a server need not set unasked (RFC 6840, 5.7).
func wantAD(query []byte) { query[3] |= 0x20 }

// answers tells whether a message answers the query: a response with the
// query's id, operation and question. The question follows the header
// uncompressed in both, so it is compared as bytes, letters without case.
func answers(query, reply []byte) bool {
	end := questionEnd(query)
	if end == 0 || len(reply) < end {
		return false
	}
	if reply[0] != query[0] || reply[1] != query[1] { // id
		return false
	}
	if reply[2]&0xf8 != 0x80 { // response bit set, operation QUERY
		return false
	}
	if reply[4] != 0 || reply[5] != 1 { // one question
		return false
	}
	// Length bytes, and the types and the class that we ask for, have no letter's value.
	for i := headerLen; i < end; i++ {
		if lowerByte(reply[i]) != lowerByte(query[i]) {
			return false
		}
	}
	return true
}

// questionEnd is the offset behind the question of one of our own queries; 0 if it is none.
func questionEnd(query []byte) int {
	for i := headerLen; i < len(query); i += 1 + int(query[i]) {
		if query[i] == 0 && i+5 <= len(query) {
			return i + 5
		}
	}
	return 0
}

// truncated tells whether the TC bit is set (RFC 1035, 4.1.1).
func truncated(reply []byte) bool { return reply[2]&0x02 != 0 }
