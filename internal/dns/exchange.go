package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"

	mdns "github.com/miekg/dns"
)

const (
	headerLen = 12
	udpSize   = 1232 // the EDNS size that fits any path unfragmented (DNS flag day 2020)
	readSize  = 4096 // room for servers that send more than was asked for
)

// newQuery packs one question with a random id, recursion desired, and EDNS
// (RFC 6891) unless the server did not understand it.
func newQuery(fqdn string, t Type, edns bool) ([]byte, error) {
	m := new(mdns.Msg)
	m.SetQuestion(fqdn, uint16(t))
	if edns {
		m.SetEdns0(udpSize, false)
	}
	return m.Pack()
}

// exchange sends the query to the server, by UDP and then by TCP if the answer
// did not fit, and returns the first message that answers it. Each connection
// has a fresh local port and ends with ctx.
func exchange(ctx context.Context, server string, query []byte) ([]byte, error) {
	reply, err := exchangeUDP(ctx, server, query)
	if err != nil || !truncated(reply) {
		return reply, err
	}
	return exchangeTCP(ctx, server, query)
}

func exchangeUDP(ctx context.Context, server string, query []byte) ([]byte, error) {
	conn, done, err := dial(ctx, "udp", server)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, readSize)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		// What does not match is a late answer to another, junk or a forgery: the true answer may still come.
		if answers(query, buf[:n]) {
			return buf[:n], nil
		}
	}
}

func exchangeTCP(ctx context.Context, server string, query []byte) ([]byte, error) {
	conn, done, err := dial(ctx, "tcp", server)
	if err != nil {
		return nil, err
	}
	defer done()
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
	if _, err := conn.Write(framed); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, reply); err != nil {
		return nil, err
	}
	if !answers(query, reply) || truncated(reply) {
		return nil, errors.New("the answer by TCP does not fit the question")
	}
	return reply, nil
}

// dial connects; reads and writes fail as soon as ctx is done. done closes the connection.
func dial(ctx context.Context, network, server string) (conn net.Conn, done func(), err error) {
	var d net.Dialer
	conn, err = d.DialContext(ctx, network, server)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { stop(); conn.Close() }, nil
}

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
