package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gatepost/internal/dns"
)

const zone = "dnsbl.example"

// startList runs rbldnsd with a list of random addresses and networks.
func startList(dir string, entries int) (server string, stop func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	out, err := exec.Command("bench/dns/rbldnsd.sh", dir).Output()
	if err != nil {
		return "", nil, fmt.Errorf("rbldnsd.sh (run from the top of the repository): %w", err)
	}
	list := filepath.Join(dir, "list")
	if err := writeList(list, entries); err != nil {
		return "", nil, err
	}
	if server, err = freePort(); err != nil {
		return "", nil, err
	}
	args := []string{"-n", "-r/", "-b" + strings.Replace(server, ":", "/", 1)}
	if os.Getuid() == 0 {
		args = append(args, "-unobody")
	}
	cmd := exec.Command(strings.TrimSpace(string(out)), append(args, zone+":ip4set:"+list)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if err := awake(server); err != nil {
		stop()
		return "", nil, err
	}
	return server, stop, nil
}

func writeList(path string, entries int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	random := rand.New(rand.NewPCG(1, 2))
	fmt.Fprintln(w, ":127.0.0.2:listed\n127.0.0.2")
	for i := range entries {
		a := address(random)
		if i%3 == 0 {
			fmt.Fprintf(w, "%d.%d.%d.0/24\n", a[0], a[1], a[2])
		} else {
			fmt.Fprintf(w, "%d.%d.%d.%d\n", a[0], a[1], a[2], a[3])
		}
	}
	return errors.Join(w.Flush(), f.Close())
}

// address is one of 2^30.
func address(r *rand.Rand) [4]byte {
	v := r.Uint32()
	return [4]byte{128 + byte(v>>24)&63, byte(v >> 16), byte(v >> 8), byte(v)}
}

func freePort() (string, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.LocalAddr().String(), nil
}

// awake waits for the list's first answer.
func awake(server string) error {
	var last error
	for range 100 {
		c, err := dns.NewClient(dns.Config{Servers: []string{server}, Timeout: 200 * time.Millisecond, Attempts: 1})
		if err != nil {
			return err
		}
		ans, err := c.Lookup(background, "2.0.0.127."+zone, dns.TypeA)
		if err == nil && !ans.Empty() {
			return nil
		}
		last = err
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("rbldnsd does not answer: %w", last)
}
