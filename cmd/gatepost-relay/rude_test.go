//go:build integration

package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// rudeWays are smtp-sink's options: what it does to those who bring mail. nil is a server
// that does not answer at all.
var rudeWays = [][]string{
	{}, {"-r", "MAIL"}, {}, {"-r", "RCPT"}, {"-q", "RCPT"}, {}, {"-r", "DATA"}, {"-q", "DATA"}, {"-Q", "MAIL"}, {},
	{"-q", "CONNECT"}, {"-Q", "CONNECT"}, {"-q", "EHLO"}, {"-W", "RCPT:20:4"}, {}, {"-H", "20"}, nil,
}

// rudeHop is Postfix's smtp-sink, which changes its ways again and again: the one before
// is killed, in the middle of whatever it was told.
type rudeHop struct {
	t     *testing.T
	addr  string
	dir   string
	peers string
	kills int
	cmd   *exec.Cmd
}

func newRudeHop(t *testing.T) *rudeHop {
	t.Helper()
	h := &rudeHop{t: t, dir: t.TempDir(), peers: os.Getenv("GATEPOST_PEERS")}
	if h.peers == "" {
		t.Fatal("needs Postfix's smtp-sink: start this test with integration/run.sh")
	}
	for dir := h.dir; dir != os.TempDir(); dir = filepath.Dir(dir) { // it changes its user
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.addr = ln.Addr().String()
	ln.Close()
	t.Cleanup(h.kill)
	return h
}

func (h *rudeHop) become(way []string) {
	h.kill()
	if way == nil {
		return
	}
	args := append([]string{"-4", "-u", "nobody", "-d", filepath.Join(h.dir, "m.")}, way...)
	h.cmd = exec.Command(filepath.Join(h.peers, "usr/sbin/smtp-sink"), append(args, h.addr, "100")...)
	h.cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Join(h.peers, "usr/lib/postfix"))
	if err := h.cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *rudeHop) kill() {
	if h.cmd != nil {
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait()
		h.cmd = nil
		h.kills++
	}
}

// behave is rude until ctx ends, and polite from then on.
func (h *rudeHop) behave(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		h.become(rudeWays[i%len(rudeWays)])
		select {
		case <-time.After(400*time.Millisecond + rand.N(800*time.Millisecond)):
		case <-ctx.Done():
		}
	}
	h.become([]string{})
}

// whole counts the messages that came to their end, by their number.
func (h *rudeHop) whole() (map[int]int, error) {
	files, err := filepath.Glob(filepath.Join(h.dir, "m.*"))
	if err != nil {
		return nil, err
	}
	got := map[int]int{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		_, after, _ := bytes.Cut(text, []byte("X-Rcpt-Args: <u"))
		digits, _, _ := bytes.Cut(after, []byte("@"))
		i, err := strconv.Atoi(string(digits))
		if err == nil && bytes.HasSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte(strings.ReplaceAll(stormText(i), "\r\n", "\n"))) {
			got[i]++
		}
	}
	return got, nil
}

// TestRudeNextHop: 10,000 messages for a next hop that refuses for now, hangs, drops
// connections and dies, by a relay that is killed each second: all arrive, and what comes
// twice was on its way at a kill.
func TestRudeNextHop(t *testing.T) {
	const messages = int64(10_000)
	hop := newRudeHop(t)
	s := newSite(t)
	s.write("gatepost.toml", strings.Replace(siteConfig, "SMART", hop.addr, 1))
	addr, socket := keptSocket(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	rude, calm := context.WithCancel(ctx)
	var behaving sync.WaitGroup
	behaving.Go(func() { hop.behave(rude) })
	t.Cleanup(behaving.Wait)
	t.Cleanup(calm)
	storm := newStorm(ctx, addr, messages)
	// It goes on for as long as the next hop has been rude in each way, some while sending.
	over := make(chan struct{})
	go func() {
		defer close(over)
		<-storm.sent
		select {
		case <-time.After(10 * time.Second):
		case <-ctx.Done():
		}
	}()
	kills := s.killing(socket, over, func() time.Duration { return time.Second })
	calm()
	behaving.Wait()
	if ctx.Err() != nil {
		t.Fatalf("after five minutes clients were at message %d; log:\n%.4000s", storm.next.Load(), s.stderr.String())
	}
	left := 0
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if left = s.status().Messages; left == 0 {
			break
		}
	}
	got, err := hop.whole()
	if err != nil {
		t.Fatal(err)
	}
	lost, twice := 0, 0
	for i := range int(messages) {
		if got[i] == 0 {
			lost++
		}
		twice += max(0, got[i]-1)
	}
	t.Logf("%d messages, %d kills of the relay, %d of the next hop; %d attempts of clients failed, %d copies too many", messages, kills, hop.kills, storm.again.Load(), twice)
	if lost > 0 || left > 0 {
		t.Errorf("%d messages are lost, %d are still in the queue", lost, left)
	}
	if most := deliveriesAtOnce * (kills + hop.kills); twice > most {
		t.Errorf("%d copies too many; at most %d were on their way at the kills", twice, most)
	}
	if kills < 5 || hop.kills < 10 {
		t.Error("too few kills to tell anything")
	}
}
