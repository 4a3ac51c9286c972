package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"gatepost/relay/spool"
)

// backlog is a queue that a relay finds at its start.
type backlog struct {
	live, dead int           // destinations; nothing answers at the dead ones, nobody refuses either
	messages   int           // for each destination
	later      time.Duration // until they are due
}

const backlogConfig = `host_name = "mx.example.com"
dont_probe_interfaces = true

[admin]
listen = "unix:DIR/admin.sock"

[dns]
servers = ["127.0.0.1:5399"]

[relay]
listen = ["127.0.0.1:2598"]
spool  = "DIR/spool"
`

// ownNetwork runs this program again where it has all addresses of 198.18.0.0/16 for
// itself, and where those of 198.19.0.0/16 are silent. It needs root.
func ownNetwork() error {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), "GATEPOST_BENCH_NETWORK=own")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	return cmd.Run()
}

func setNetwork() error {
	for line := range strings.Lines("link set lo up\nroute add local 198.18.0.0/16 dev lo\nlink add void type veth peer name end\nlink set void arp off up\nlink set end arp off up\naddr add 198.19.255.254/16 dev void") {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.TrimSpace(line), err, out)
		}
	}
	return nil
}

// measureBacklogs prints what the queue's figures are about: how much dead destinations
// hold up the others, how long a start takes, and what a message takes in memory.
func measureBacklogs(program string) error {
	if os.Getenv("GATEPOST_BENCH_NETWORK") == "" {
		return ownNetwork()
	}
	if err := setNetwork(); err != nil {
		return err
	}
	names := &dns.Server{Addr: "127.0.0.1:5399", Net: "udp", Handler: dns.HandlerFunc(answerNames)}
	go names.ListenAndServe()
	s, err := listenSink("0.0.0.0:25")
	if err != nil {
		return err
	}
	defer s.close()
	var rates []float64
	for _, b := range []backlog{{live: 450, messages: 100}, {live: 450, dead: 50, messages: 100}} {
		took, err := b.drain(program, s)
		if err != nil {
			return err
		}
		rates = append(rates, float64(b.live*b.messages)/took.Seconds())
		fmt.Printf("%d messages to %d destinations, of which %d dead: the live ones %.1f s, %.0f messages/s\n",
			(b.live+b.dead)*b.messages, b.live+b.dead, b.dead, took.Seconds(), rates[len(rates)-1])
	}
	fmt.Printf("with the dead ones: %.2f of the rate without\n", rates[1]/rates[0])
	return measureStarts(program)
}

// measureStarts starts with many messages that are not due yet.
func measureStarts(program string) error {
	var base float64
	for _, n := range []int{0, 100_000} {
		b := backlog{live: 500, messages: n / 500, later: time.Hour}
		var took time.Duration
		var mib float64
		err := b.started(program, func(pid int, _ string, start time.Time) error {
			took = time.Since(start)
			time.Sleep(3 * time.Second) // the runtime gives back what reading took
			mib = memory(pid)
			return nil
		})
		if err != nil {
			return err
		}
		fmt.Printf("start with %d queued: ready after %.2f s, %.1f MiB of memory\n", n, took.Seconds(), mib)
		if n == 0 {
			base = mib
			continue
		}
		fmt.Printf("%.0f bytes a message beyond that\n", (mib-base)*(1<<20)/float64(n))
	}
	return nil
}

// drain is how long a relay takes from its start until the live destinations have all.
func (b backlog) drain(program string, s *sink) (took time.Duration, err error) {
	want := s.taken.Load() + int64(b.live*b.messages)
	err = b.started(program, func(pid int, _ string, start time.Time) error {
		for ; s.taken.Load() < want; time.Sleep(time.Millisecond) {
			if time.Since(start) > 10*time.Minute {
				return fmt.Errorf("%d messages are missing after ten minutes", want-s.taken.Load())
			}
		}
		took = time.Since(start)
		fmt.Printf("  %.1f MiB of memory then\n", memory(pid))
		return nil
	})
	return took, err
}

// started starts a relay on the backlog, and do when it is ready.
func (b backlog) started(program string, do func(pid int, admin string, start time.Time) error) error {
	dir, err := os.MkdirTemp("", "gatepost-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := b.fill(filepath.Join(dir, "spool")); err != nil {
		return err
	}
	file := filepath.Join(dir, "gatepost.toml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(backlogConfig, "DIR", dir)), 0o644); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, "--config", file)
	cmd.Stderr = log
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w (make build?)", err)
	}
	admin := filepath.Join(dir, "admin.sock")
	if err = ready(admin); err == nil {
		err = do(cmd.Process.Pid, admin, start)
	}
	if err != nil {
		told, _ := os.ReadFile(log.Name())
		err = fmt.Errorf("%w\n%.4000s", err, told)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return err
}

// fill puts the messages into a spool, one for each destination in turn.
func (b backlog) fill(dir string) error {
	s, err := spool.Open(dir, spool.Options{})
	if err != nil {
		return err
	}
	text := message(4 << 10)
	text = text[:len(text)-3]
	var next atomic.Int64
	total, next0 := int64((b.live+b.dead)*b.messages), time.Now().Add(b.later)
	errs := make(chan error, 20)
	var all sync.WaitGroup
	for range cap(errs) {
		all.Go(func() {
			for i := next.Add(1) - 1; i < total; i = next.Add(1) - 1 {
				if err := put(s, int(i)%(b.live+b.dead), b.live, text, b.later > 0, next0); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(errs)
	return errors.Join(<-errs, s.Close())
}

func put(s *spool.Spool, destination, live int, text []byte, later bool, due time.Time) error {
	kind := "live"
	if destination >= live {
		kind = "dead"
	}
	w, err := s.Create(spool.Envelope{Sender: "s@client.example",
		Recipients: []spool.Recipient{{Address: fmt.Sprintf("r@d%d.%s.example", destination, kind)}}})
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	m, err := w.Commit(context.Background())
	if err != nil || !later {
		return err
	}
	attempts := 1
	return m.Update(spool.Update{NextTry: &due, Attempts: &attempts})
}

// answerNames has a mail exchanger for each destination, and its address.
func answerNames(w dns.ResponseWriter, q *dns.Msg) {
	r := new(dns.Msg)
	r.SetReply(q)
	name, header := q.Question[0].Name, dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 3600}
	switch {
	case q.Question[0].Qtype == dns.TypeMX && !strings.HasPrefix(name, "mx."):
		r.Answer = []dns.RR{&dns.MX{Hdr: header, Preference: 10, Mx: "mx." + name}}
	case q.Question[0].Qtype == dns.TypeA && strings.HasPrefix(name, "mx."):
		digits, rest, _ := strings.Cut(strings.TrimPrefix(name, "mx.d"), ".")
		n, _ := strconv.Atoi(digits)
		net2 := byte(18)
		if strings.HasPrefix(rest, "dead") {
			net2 = 19
		}
		addr := netip.AddrFrom4([4]byte{198, net2, byte(n / 200), byte(1 + n%200)})
		r.Answer = []dns.RR{&dns.A{Hdr: header, A: net.IP(addr.AsSlice())}}
	}
	_ = w.WriteMsg(r)
}
