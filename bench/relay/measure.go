package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const config = `host_name = "mx.example.com"
dont_probe_interfaces = true

[tables]
access           = "DIR/access"
relay_domains    = "DIR/relay-domains"
local_host_names = "DIR/local-host-names"

[features]
nocanonify                  = true
accept_unresolvable_domains = true

[admin]
listen = "unix:DIR/admin.sock"

[relay]
listen     = ["127.0.0.1:2598"]
spool      = "DIR/spool"
smart_host = "SINK"
`

// measure runs the program with a spool of its own under the work.
func measure(program, sinkAddr string, s *sink, w work, clients int) (r result, err error) {
	dir, err := os.MkdirTemp("", "gatepost-bench")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	for _, table := range []string{"access", "relay-domains", "local-host-names"} {
		if err := os.WriteFile(filepath.Join(dir, table), nil, 0o644); err != nil {
			return r, err
		}
	}
	file := filepath.Join(dir, "gatepost.toml")
	text := strings.NewReplacer("DIR", dir, "SINK", sinkAddr).Replace(config)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return r, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return r, err
	}
	defer log.Close()
	cmd := exec.Command(program, "--config", file)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return r, fmt.Errorf("%w (make build?)", err)
	}
	r, err = underWork(cmd.Process.Pid, filepath.Join(dir, "admin.sock"), s, w, clients)
	if err != nil {
		told, _ := os.ReadFile(log.Name())
		err = fmt.Errorf("%w\n%s", err, told)
	}
	return r, errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
}

func underWork(pid int, admin string, s *sink, w work, clients int) (r result, err error) {
	if err := ready(admin); err != nil {
		return r, err
	}
	before := processorTime(pid)
	if r, err = bring("127.0.0.1:2598", s, w, clients); err != nil {
		return r, err
	}
	n := float64(w.count)
	r.cpu = float64((processorTime(pid) - before).Microseconds()) / 1000 / n
	r.peak = memory(pid)
	metrics, err := get(admin, "/metrics")
	if err != nil {
		return r, err
	}
	for line := range strings.Lines(metrics) {
		if text, ok := strings.CutPrefix(line, "gatepost_relay_spool_syncs_total "); ok {
			syncs, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			if err != nil {
				return r, err
			}
			r.syncs = syncs / n
		}
	}
	return r, nil
}

func ready(admin string) error {
	var last error
	for range 100 {
		if _, last = get(admin, "/ready"); last == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the relay does not get ready: %w", last)
}

func get(admin, path string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", admin)
		},
	}}
	resp, err := client.Get("http://relay" + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

// processorTime is what a process has used: fields 14 and 15 of proc(5)'s stat, in
// hundredths of a second.
func processorTime(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// memory is the anonymous memory of a process in MiB, after the work: the Go
// runtime gives back only slowly.
func memory(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssAnon:" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib / 1024
		}
	}
	return 0
}
