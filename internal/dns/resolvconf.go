package dns

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"time"

	mdns "github.com/miekg/dns"
)

// What resolv.conf(5) allows at most; more is silently less there too.
const (
	maxServers  = 3
	maxTimeout  = 30 // seconds
	maxAttempts = 5
)

// ReadResolvConf reads the name servers and the options "timeout" and
// "attempts" of a file in the form of resolv.conf(5), for Config. A file that
// is not there or names no server stands for the server on this host. The
// search list and the other options are not used.
func ReadResolvConf(path string) (servers []string, timeout time.Duration, attempts int, err error) {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, 0, fmt.Errorf("dns: name servers: %w", err)
	}
	conf, err := mdns.ClientConfigFromReader(bytes.NewReader(data))
	if err != nil {
		return nil, 0, 0, fmt.Errorf("dns: name servers: %s: %w", path, err)
	}
	for _, s := range conf.Servers[:min(len(conf.Servers), maxServers)] {
		servers = append(servers, net.JoinHostPort(s, conf.Port))
	}
	if len(servers) == 0 {
		servers = []string{"127.0.0.1:53"}
	}
	timeout = time.Duration(min(conf.Timeout, maxTimeout)) * time.Second
	return servers, timeout, min(conf.Attempts, maxAttempts), nil
}
