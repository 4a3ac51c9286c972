//go:build integration

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"gatepost/relay/spool"
)

// relayServer is gatepost-relay, which needs no mail server beside it.
type relayServer struct {
	d     *daemon
	spool string // its spool, as seen from here
}

func (s *stack) relayDriver(t *testing.T) Driver {
	t.Helper()
	r := &relayServer{s.relay(t), filepath.Join(s.state, "spool")}
	s.waitListening(t, r)
	return r
}

func (r *relayServer) Name() string { return "relay" }

func (r *relayServer) Addr(client netip.Addr) (netip.AddrPort, error) { return serverAddr(28, client) }

// Idle tells whether all messages have been delivered, but those that are held.
func (r *relayServer) Idle(ctx context.Context) (bool, error) {
	status, body, err := r.d.get(ctx, "/status")
	if err != nil || status != 200 {
		return false, fmt.Errorf("status %d: %w", status, err)
	}
	var is struct{ Queue struct{ Messages, Held int } }
	if err := json.Unmarshal([]byte(body), &is); err != nil {
		return false, err
	}
	return is.Queue.Messages == is.Queue.Held, nil
}

// Held looks into the spool, which belongs to one process at a time: the relay is
// stopped meanwhile.
func (r *relayServer) Held(ctx context.Context) (map[string]int, error) {
	if _, err := docker(ctx, "stop", "-t", "40", r.d.container); err != nil {
		return nil, err
	}
	held, err := heldIn(r.spool)
	if err != nil {
		return nil, err
	}
	_, err = docker(ctx, "start", r.d.container)
	return held, err
}

func heldIn(dir string) (map[string]int, error) {
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	held := map[string]int{}
	for _, m := range s.Messages() {
		token, err := tokenOf(m)
		if err != nil {
			return nil, fmt.Errorf("message %s: %w", m.ID(), err)
		}
		held[token]++
	}
	return held, nil
}

func tokenOf(m *spool.Message) (string, error) {
	text, err := m.Open()
	if err != nil {
		return "", err
	}
	defer text.Close()
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		if token, ours := strings.CutPrefix(lines.Text(), TokenHeader+": "); ours {
			return token, nil
		}
	}
	return "", lines.Err()
}
