package sts

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	fetchTime = time.Minute // in all (RFC 8461, 3.3)
	dialTime  = 20 * time.Second
)

// fetch gets the policy from the domain's policy host (RFC 8461, 3.3).
func (s *Store) fetch(ctx context.Context, domain string) (Policy, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	host := "mta-sts." + domain
	transport := &http.Transport{
		DialContext:            s.dial(host),
		TLSClientConfig:        &tls.Config{RootCAs: s.cfg.Roots(), MinVersion: tls.VersionTLS12, ServerName: host},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxPolicy,
	}
	defer transport.CloseIdleConnections()
	client := http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/.well-known/mta-sts.txt", nil)
	if err != nil {
		return Policy{}, err
	}
	request.Header.Set("User-Agent", "gatepost-relay")
	reply, err := client.Do(request)
	if err != nil {
		return Policy{}, err
	}
	defer reply.Body.Close()
	return readReply(reply)
}

func readReply(reply *http.Response) (Policy, error) {
	if reply.StatusCode != http.StatusOK {
		return Policy{}, fmt.Errorf("HTTP status %d, expected 200", reply.StatusCode)
	}
	if kind := reply.Header.Get("Content-Type"); kind != "" {
		if t, _, err := mime.ParseMediaType(kind); err != nil || t != "text/plain" {
			return Policy{}, fmt.Errorf("content type %.40q, expected text/plain", kind)
		}
	}
	text, err := io.ReadAll(io.LimitReader(reply.Body, maxPolicy+1))
	if err != nil {
		return Policy{}, err
	}
	return Parse(string(text))
}

// dial connects to the policy host, whatever is asked for: no proxy, no other resolver.
func (s *Store) dial(host string) func(ctx context.Context, network, _ string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		addrs, err := s.cfg.Addresses(ctx, host)
		if err != nil {
			return nil, err
		}
		err = errors.New("the policy host " + host + " has no address")
		for _, a := range addrs {
			var conn net.Conn
			dialer := net.Dialer{Timeout: dialTime}
			if conn, err = dialer.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(int(s.cfg.port())))); err == nil {
				return conn, nil
			}
		}
		return nil, err
	}
}

func (c *Config) port() uint16 {
	if c.Port == 0 {
		return 443
	}
	return c.Port
}
