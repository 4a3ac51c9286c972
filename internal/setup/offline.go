package setup

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"gatepost/internal/config"
	"gatepost/internal/dns"
	"gatepost/maps"
	"gatepost/policy"
)

// Tables are the administrator's tables as they are at one moment.
type Tables struct {
	Access         maps.Map // nil without access_db
	RelayDomains   maps.Map
	LocalHostNames maps.Map
	Trusted        maps.Map // nil when it is not used
	Spammers       maps.Map // nil without
	VirtualHosts   maps.Map // nil without
	GenericsTable  maps.Map // nil without the feature

	GenericsDomains []maps.Map // class G
}

func (s *state) snapshots() Tables {
	return Tables{
		Access: s.access.asked(), RelayDomains: s.relay.asked(), LocalHostNames: s.local.asked(),
		Trusted: s.trusted.asked(), Spammers: s.spammers.asked(), VirtualHosts: s.virtual.asked(),
		GenericsTable:   s.rewrite.generics.asked(),
		GenericsDomains: s.class("generics_domain", &s.cfg.Relay.GenericsDomain, s.rewrite.genericsDomains),
	}
}

// ReadTables reads the tables of the configuration once. What is wrong with
// single lines goes to the log.
func ReadTables(cfg *config.Config, log *slog.Logger) (Tables, error) {
	s := &state{cfg: cfg}
	if err := s.openTables(nil, log); err != nil {
		return Tables{}, err
	}
	return s.snapshots(), nil
}

// Offline is what a policy is made of when neither this machine nor the network
// is asked: the configuration must have a host_name, its addresses come from the
// resolver or the hosts file given, and there are no network interfaces.
func Offline(ctx context.Context, cfg *config.Config, t Tables, r dns.Resolver, hosts *dns.Hosts, log *slog.Logger) (policy.Config, error) {
	s := &state{cfg: cfg, resolver: r, hosts: hosts}
	if err := s.identify(ctx, nowhere(), log); err != nil {
		return policy.Config{}, err
	}
	c := s.configOver(t)
	c.Features.DNSListTimeout = 0 // what is written down is there at once
	return c, nil
}

// nowhere is a host without name and interfaces.
func nowhere() host {
	return host{
		hostname:  func() (string, error) { return "", errors.New("offline") },
		addresses: func() ([]net.Addr, error) { return nil, nil },
	}
}
