package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"gatepost/internal/config"
	"gatepost/relay/sasl"
	"gatepost/relay/sasl/sasldb"
	"gatepost/relay/sasl/users"
)

// accountFaults reads the accounts as the relay does at its start, and returns what would
// keep it from that. Files that are not there or whose mode is not good are findings of
// setup.ReviewListeners.
func accountFaults(cfg *config.Config) error {
	r := &cfg.Relay
	byPassword := slices.ContainsFunc(r.AuthMechanisms, func(m string) bool { return m != sasl.External })
	if !byPassword || !slices.ContainsFunc(cfg.AllListeners(), func(l config.Listener) bool { return l.Auth }) {
		return nil
	}
	_, errUsers := users.List(r.Users)
	_, errCyrus := sasldb.Open(r.SASLDB, r.AuthRealm, nil)
	var faults []error
	for _, one := range []struct {
		key, file string
		err       error
	}{{"relay.users", r.Users, errUsers}, {"relay.sasldb", r.SASLDB, errCyrus}} {
		told := errors.Is(one.err, fs.ErrNotExist) || errors.Is(one.err, fs.ErrPermission)
		if info, err := os.Stat(one.file); err == nil {
			told = told || info.Mode().Perm()&0o007 != 0
		}
		if one.file != "" && one.err != nil && !told {
			faults = append(faults, fmt.Errorf("%s: %w", one.key, one.err))
		}
	}
	return errors.Join(faults...)
}
