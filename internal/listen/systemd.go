package listen

import (
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
)

// Passed is a socket that systemd handed to this process.
type Passed struct {
	net.Listener
	Name string // its FileDescriptorName, by default the name of the socket unit
}

// Systemd returns the stream sockets that systemd handed to this
// process (sd_listen_fds(3)), none if there are none. It can be called once: it
// takes the variables out of the environment.
func Systemd() ([]Passed, error) {
	var passed []Passed
	files := activation.Files(true)
	for i, f := range files {
		ln, err := net.FileListener(f)
		_ = f.Close() // the listener has its own
		if err != nil {
			for _, p := range passed {
				_ = p.Close()
			}
			for _, rest := range files[i+1:] {
				_ = rest.Close()
			}
			return nil, fmt.Errorf("sockets from systemd: number %d is not a listening stream socket", i+1)
		}
		if u, ok := ln.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // it stays systemd's
		}
		passed = append(passed, Passed{ln, f.Name()})
	}
	return passed, nil
}

// All opens the listeners of a daemon: those that systemd passed, and those of the
// command line (named) or else, when systemd passed none, of the configuration.
// open opens one of them.
func All(named, configured []string, open func(addr string) (net.Listener, error)) ([]net.Listener, error) {
	passed, err := Systemd()
	if err != nil {
		return nil, err
	}
	var all []net.Listener
	for _, p := range passed {
		all = append(all, p.Listener)
	}
	if len(named) == 0 && len(all) == 0 {
		named = configured
	}
	for _, addr := range named {
		ln, err := open(addr)
		if err != nil {
			Close(all)
			return nil, err
		}
		all = append(all, ln)
	}
	return all, nil
}
