package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

const maxTCP = 64 // connections to one server at a time

// server is one of those who resolve for us.
type server struct {
	name    string // address and port
	cached  string // the name where an answer of its is remembered
	udp     pool
	tcp     chan struct{} // one for each connection
	vc      bool          // TCP only
	trusted bool          // its AD bit is believed
	health
}

// newServer reads an address with or without port; the port is 53 when none is given.
func newServer(text string, cfg Config, timeout time.Duration, log *slog.Logger) (*server, error) {
	ap, err := netip.ParseAddrPort(text)
	if err != nil {
		host := text
		if len(host) > 2 && host[0] == '[' && host[len(host)-1] == ']' {
			host = host[1 : len(host)-1]
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return nil, fmt.Errorf("dns: server %q: want an IP address, with or without port: %w", text, err)
		}
		ap = netip.AddrPortFrom(addr, 53)
	}
	s := &server{name: ap.String(), cached: "cache of " + ap.String(), vc: cfg.TCP, tcp: make(chan struct{}, maxTCP)}
	at := ap.Addr().Unmap()
	s.trusted = at.IsLoopback() || slices.Contains(cfg.TrustAD, at)
	s.udp = pool{addr: net.UDPAddrFromAddrPort(ap), sent: make(chan struct{}, window), life: socketLife, open: map[*socket]struct{}{}}
	s.health = health{log: log.With("server", s.name), timeout: timeout, pause: downPause}
	return s, nil
}

// exchange sends w's query, by UDP and then by TCP if the answer did not fit, and
// waits for the message that answers it until the time has come or ctx is done.
func (s *server) exchange(ctx context.Context, w *wait, until time.Time) error {
	before := s.heard.Load()
	err := s.exchangeAny(ctx, w, until)
	switch {
	case err == nil:
		s.answered()
	case isTimeout(err) && s.heard.Load() == before:
		s.silent(s)
	}
	return err
}

func (s *server) exchangeAny(ctx context.Context, w *wait, until time.Time) (err error) {
	if !s.vc {
		if err := s.udp.exchange(ctx, w, until); err != nil || !truncated(w.reply) {
			return err
		}
		s.answered()
	}
	w.reply, err = s.exchangeTCP(ctx, w.query, until)
	return err
}

// exchangeTCP uses one connection for one question. All of it ends in time.
func (s *server) exchangeTCP(ctx context.Context, query []byte, until time.Time) ([]byte, error) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case s.tcp <- struct{}{}:
		defer func() { <-s.tcp }()
	case <-timer.C:
		return nil, os.ErrDeadlineExceeded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d := net.Dialer{Deadline: until}
	conn, err := d.DialContext(ctx, "tcp", s.name)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(until); err != nil {
		return nil, err
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	return converse(conn, query)
}

// converse sends the query with its length before it (RFC 1035, 4.2.2), and reads such an answer.
func converse(conn io.ReadWriter, query []byte) ([]byte, error) {
	if _, err := rand.Read(query[:2]); err != nil {
		return nil, err
	}
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

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
