package main

import (
	"fmt"
	"io/fs"
	"net"

	"gatepost/internal/config"
	"gatepost/internal/listen"
)

// named is a listener with a name for the log.
type named struct {
	net.Listener
	name string
}

// Name is for the log.
func (n named) Name() string { return n.name }

// localListener is the name of relay.submission in the log, and its kind.
const localListener = "local"

const (
	submissionMode fs.FileMode = 0o666 // any program of this host; the policy decides
	controlMode    fs.FileMode = 0o600
	groupMode      fs.FileMode = 0o660
)

// missing is a socket that is not there, and why: nobody has asked for it by name.
type missing struct {
	key, path string
	err       error
}

// openSocket opens a UNIX socket of the relay. It may fail only where the administrator
// has named it; else what is missing is returned, for the log.
func openSocket(key string, at config.Socket, opt listen.SocketOptions) (net.Listener, *missing, error) {
	if at.Path == "" {
		return nil, nil, nil
	}
	ln, err := listen.Open("unix:"+at.Path, opt)
	switch {
	case err == nil:
		return ln, nil, nil
	case at.Named:
		return nil, nil, fmt.Errorf("%s: %w", key, err)
	}
	return nil, &missing{key, at.Path, err}, nil
}

// openSubmission opens relay.submission.
func openSubmission(cfg *config.Config) (net.Listener, *missing, error) {
	ln, gone, err := openSocket("relay.submission", cfg.Relay.Submission, listen.SocketOptions{Mode: submissionMode})
	if ln == nil {
		return nil, gone, err
	}
	as := config.Listener{Name: localListener, Kind: localListener, TLS: config.TLSNone}
	return ruled{Listener: ln, as: as, local: true}, nil, nil
}

// openControl opens relay.control.
func openControl(cfg *config.Config) (net.Listener, *missing, error) {
	opt := listen.SocketOptions{Mode: controlMode}
	if g := cfg.Relay.ControlGroup; g != "" {
		opt.Group, opt.Mode = g, groupMode
	}
	ln, gone, err := openSocket("relay.control", cfg.Relay.Control, opt)
	if ln == nil {
		return nil, gone, err
	}
	return named{ln, "control"}, nil, nil
}
