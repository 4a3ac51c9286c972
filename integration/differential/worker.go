package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// job is one policy to record, result what came of it; both go as JSON between
// the program and its workers.
type job struct {
	Index  int
	Policy Policy
	SMTP   bool
}

type result struct {
	Index  int
	Policy Policy
	Notes  []string // test mode and SMTP differ
	Error  string
}

// workerCommand is the program itself as a worker, in new namespaces: file
// systems, network, host name and processes are its own, and end with it.
func workerCommand(ctx context.Context, root string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "worker", root)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	cmd.Stderr = os.Stderr
	return cmd
}

// work is the worker: it reads jobs and writes results until its input ends.
func work(ctx context.Context, root string, in io.Reader, out io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	r := &recorder{root: root, names: &nameServer{}}
	if err := prepareNamespaces(ctx, r); err != nil {
		return err
	}
	if err := r.names.listen("127.0.0.1:53"); err != nil {
		return err
	}
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var j job
		if err := dec.Decode(&j); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("worker: %w", err)
		}
		res := result{Index: j.Index}
		notes, err := r.record(ctx, &j.Policy, j.SMTP)
		res.Policy, res.Notes = j.Policy, notes
		if err != nil {
			res.Error = err.Error()
		}
		if err := enc.Encode(&res); err != nil {
			return fmt.Errorf("worker: %w", err)
		}
	}
}

// prepareNamespaces gives sendmail's root a directory for the policy in memory,
// our own resolver and hosts files, and a loopback network that has all client
// addresses.
func prepareNamespaces(ctx context.Context, r *recorder) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts: %w", err)
	}
	dir := r.path(configDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if err := r.etcFiles(); err != nil {
		return err
	}
	commands := [][]string{{"link", "set", "lo", "up"}}
	for _, n := range clientNetworks() {
		if n.Addr().IsLoopback() {
			continue
		}
		commands = append(commands, []string{"route", "add", "local", n.String(), "dev", "lo"})
	}
	for _, c := range commands {
		if _, err := r.run(ctx, nil, "/sbin/ip", c...); err != nil {
			return err
		}
	}
	return nil
}

// etcFiles mounts our files over those of the root's /etc; the root stays as it is.
func (r *recorder) etcFiles() error {
	for name, text := range map[string]string{
		"hosts":         "127.0.0.1 localhost\n::1 localhost\n",
		"resolv.conf":   "nameserver 127.0.0.1\nsearch .\noptions attempts:1 timeout:5\n",
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"passwd": "root:x:0:0::/:/bin/sh\ndaemon:x:1:1::/:/bin/sh\nmail:x:8:8::/:/bin/sh\n" +
			"smmta:x:100:100::/:/bin/sh\nsmmsp:x:101:101::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
		"group": "root:x:0:\ndaemon:x:1:\nmail:x:8:\nsmmta:x:100:\nsmmsp:x:101:\nnogroup:x:65534:\n",
	} {
		file := filepath.Join(r.path(configDir), name)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
		target := r.path("/etc/" + name)
		if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("%s: %w", target, err)
		}
	}
	return nil
}
