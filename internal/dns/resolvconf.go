package dns

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// What resolv.conf(5) allows at most; more is silently less there too.
const (
	maxServers    = 3
	maxTimeout    = 30 // seconds
	maxAttempts   = 5
	maxResolvConf = 1 << 20 // bytes
)

// ReadResolvConf reads the name servers and the options "timeout:", "attempts:",
// "rotate" and "use-vc" of a file in the form of resolv.conf(5). What the file
// does not say stays zero. A file that is not there or names no server stands for
// the server on this host. Of several lines with options all count. The search
// list is not used, EDNS is always, and other options mean nothing here; a line
// that is none of these says nothing, as resolv.conf(5) has it.
func ReadResolvConf(path string) (Config, error) {
	data, err := readBounded(path, maxResolvConf)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("dns: name servers: %w", err)
	}
	return parseResolvConf(data), nil
}

func parseResolvConf(data []byte) (c Config) {
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			addr, err := netip.ParseAddr(words[1])
			if err == nil && len(c.Servers) < maxServers {
				c.Servers = append(c.Servers, netip.AddrPortFrom(addr, 53).String())
			}
		case "options":
			for _, w := range words[1:] {
				c.option(w)
			}
		}
	}
	if len(c.Servers) == 0 {
		c.Servers = []string{"127.0.0.1:53"}
	}
	return c
}

// option takes one word after "options".
func (c *Config) option(word string) {
	name, value, _ := strings.Cut(word, ":")
	switch name {
	case "timeout":
		c.Timeout = time.Duration(number(value, maxTimeout)) * time.Second
	case "attempts":
		c.Attempts = number(value, maxAttempts)
	case "rotate":
		c.Rotate = true
	case "use-vc":
		c.TCP = true
	}
}

// number reads one that is at least 1, and no more than high.
func number(s string, high int) int {
	n, err := strconv.Atoi(s)
	if errors.Is(err, strconv.ErrRange) && !strings.HasPrefix(s, "-") {
		return high
	}
	return max(1, min(n, high))
}

// readBounded reads a file that is no longer than limit.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is over %d MiB", path, limit>>20)
	}
	return data, err
}
