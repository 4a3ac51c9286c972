package setup

import (
	"context"
	"log/slog"

	"gatepost/internal/config"
)

// HostName is this host's full name ($j): that of the configuration, or the one that
// Open would find out.
func HostName(ctx context.Context, cfg *config.Config, log *slog.Logger) (string, error) {
	if cfg.HostName != "" {
		return cfg.HostName, nil
	}
	s, h := &state{cfg: cfg}, thisHost()
	if err := s.openResolver(h, nil, log); err != nil {
		return "", err
	}
	return h.fullName(ctx, names{s.hosts, s.resolver}, log)
}
