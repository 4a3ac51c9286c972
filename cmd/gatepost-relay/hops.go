package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"gatepost/relay/deliver"
)

// maxClients bounds the servers that clients are kept for.
const maxClients = 1000

// hopper delivers to the next hops of a destination, in their order, until one can be
// reached: by a client for each server.
type hopper struct {
	ways *ways
	lmtp bool

	mu      sync.Mutex
	clients map[string]*deliver.SMTP
}

// client is the transport for SMTP or LMTP to any destination.
func (w *ways) client(lmtp bool) deliver.Transport {
	h := &hopper{ways: w, lmtp: lmtp, clients: map[string]*deliver.SMTP{}}
	w.close = append(w.close, h.forget)
	return h
}

func (h *hopper) String() string {
	if h.lmtp {
		return "lmtp"
	}
	return "smtp"
}

func (h *hopper) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.clients {
		c.Close()
	}
	clear(h.clients)
}

func (h *hopper) at(address string) (*deliver.SMTP, error) {
	h.mu.Lock()
	c, ok := h.clients[address]
	full := len(h.clients) >= maxClients
	h.mu.Unlock()
	if ok {
		return c, nil
	}
	if full {
		h.forget()
	}
	c, err := deliver.NewSMTP(deliver.Config{
		Address: address, LMTP: h.lmtp, HostName: h.ways.engine.HostName(),
		Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			a, err := h.ways.router.Resolve(ctx, host)
			return a.Addrs, err
		},
	})
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clients[address] = c
	return c, nil
}

// Deliver implements deliver.Transport.
func (h *hopper) Deliver(ctx context.Context, destination string, m deliver.Message, recipients []int) []deliver.Result {
	results := h.failed(errors.New("no next hop"), len(recipients))
	servers, err := h.servers(ctx, destination)
	if err != nil {
		return h.failed(err, len(recipients))
	}
	for _, address := range servers {
		c, err := h.at(address)
		if err != nil {
			results = h.failed(err, len(recipients))
			continue
		}
		results = c.Deliver(ctx, "", m, recipients)
		if len(results) == 0 || !results[0].Down {
			break
		}
	}
	return results
}

func (h *hopper) failed(err error, n int) []deliver.Result {
	r := deliver.Result{Reply: deliver.Sanitise([]byte(err.Error())), Down: true}
	var none deliver.NoRoute
	if errors.As(err, &none) {
		r = deliver.Result{Outcome: none.Outcome, Status: none.Status, Reply: deliver.Sanitise([]byte(none.Text))}
	}
	results := make([]deliver.Result, n)
	for i := range results {
		results[i] = r
	}
	return results
}

// servers are the addresses of all servers of a destination.
func (h *hopper) servers(ctx context.Context, destination string) (all []string, err error) {
	if strings.HasPrefix(destination, "unix:") {
		return []string{destination}, nil
	}
	hops, err := deliver.ParseDestination(destination)
	if err != nil {
		return nil, err
	}
	for _, hop := range hops {
		hosts := []string{hop.Host}
		if hop.MX {
			found, wrong := h.ways.router.Exchangers(ctx, hop.Host)
			hosts, err = found.Hosts, errors.Join(err, wrong)
		}
		for _, host := range hosts {
			address := "[" + host + "]"
			if hop.Port != 0 {
				address = net.JoinHostPort(host, strconv.Itoa(int(hop.Port)))
			}
			all = append(all, address)
		}
	}
	if len(all) > 0 {
		err = nil
	}
	return all, err
}
