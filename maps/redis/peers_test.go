//go:build integration

package redis

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatepost/internal/servers"
	"gatepost/maps/internal/credentials/credentialstest"
)

type server struct {
	*servers.Redis
	t *testing.T
}

func start(t *testing.T, args ...string) server {
	t.Helper()
	return server{servers.StartRedis(t, args...), t}
}

func (s server) client(format string, args ...any) *Client {
	s.t.Helper()
	cfg, err := ParseURL(fmt.Sprintf(format, args...))
	if err != nil {
		s.t.Fatal(err)
	}
	return client(s.t, cfg)
}

func (s server) tcp() *Client { return s.client("%s", s.URL("access")) }

func fetch(t *testing.T, c *Client) (map[string]string, Stamp) {
	t.Helper()
	table := map[string]string{}
	st, err := c.Fetch(context.Background(), func(k, v []byte) error {
		table[string(k)] = string(v)
		return nil
	})
	if err != nil {
		t.Fatalf("Fetch: %v", err)
	}
	if int64(len(table)) != st.Entries {
		t.Fatalf("%d entries, stamp %+v", len(table), st)
	}
	return table, st
}

func fails(t *testing.T, c *Client, say string) {
	t.Helper()
	_, err := c.Fetch(context.Background(), func(k, v []byte) error { return nil })
	if err == nil || !strings.Contains(err.Error(), say) {
		t.Errorf("Fetch: %v, want an error that says %q", err, say)
	}
	if _, err = c.Stamp(context.Background()); err == nil || !strings.Contains(err.Error(), say) {
		t.Errorf("Stamp: %v, want an error that says %q", err, say)
	}
}

func TestRealTable(t *testing.T) {
	s := start(t)
	s.CLI(`HSET access From:spam.example REJECT "two words" "550 \"no\"" "" "" "a\x00b\r\n" "\xff\xfe"`)
	for _, c := range []*Client{s.tcp(), s.client("redis+unix://%s?db=3&key=access", s.Socket())} {
		got, st := fetch(t, c)
		if st.Version != "" || len(st.Server) != 40 || len(got) != 4 || got["From:spam.example"] != "REJECT" ||
			got["two words"] != `550 "no"` || got["a\x00b\r\n"] != "\xff\xfe" {
			t.Errorf("%q, %+v", got, st)
		}
		again, err := c.Stamp(context.Background())
		if err != nil || again != st {
			t.Errorf("Stamp() = %+v, %v, want %+v", again, err, st)
		}
	}
	if got, st := fetch(t, s.client("redis://127.0.0.1:%d/0/access", s.Port)); len(got) != 0 || st.Entries != 0 {
		t.Errorf("another database: %q, %+v", got, st)
	}
	fails(t, s.client("redis://127.0.0.1:%d/99/access", s.Port), "database 99")
	if _, err := s.client("redis://127.0.0.1:%d/0/access?required=yes", s.Port).Fetch(context.Background(), nil); err == nil {
		t.Error("a required table does not exist: no error")
	}
}

func TestRealErrors(t *testing.T) {
	s := start(t)
	s.CLI("SET access text", "HSET table a b", "HSET table:version a b")
	fails(t, s.tcp(), "WRONGTYPE")
	fails(t, s.client("redis://127.0.0.1:%d/3/table", s.Port), `"table:version": the server says: WRONGTYPE`)
	s.CLI("DEL access", "HSET access k "+strings.Repeat("x", maxString+1))
	if _, err := s.tcp().Fetch(context.Background(), func(k, v []byte) error { return nil }); err == nil || !strings.Contains(err.Error(), `("k")`) {
		t.Errorf("a long value: %v", err)
	}
}

func TestRealManyEntries(t *testing.T) {
	s := start(t)
	var commands []string
	for i := range 10000 {
		commands = append(commands, fmt.Sprintf("HSET access host%d.example %d", i, i))
	}
	s.CLI(commands...)
	got, st := fetch(t, s.tcp())
	if st.Entries != 10000 || got["host0.example"] != "0" || got["host9999.example"] != "9999" {
		t.Errorf("%d entries, %+v", len(got), st)
	}
}

func TestRealChangeIsPolled(t *testing.T) {
	s := start(t)
	c := s.tcp()
	seen := map[Stamp]string{}
	for _, change := range []string{
		"PING", "HSET access a 1", "HSET access b 2", "INCR access:version",
		"MULTI\nHSET access b 3\nINCR access:version\nEXEC", "DEL access",
	} {
		s.CLI(strings.Split(change, "\n")...)
		polled, err := c.Stamp(context.Background())
		if err != nil || seen[polled] != "" {
			t.Errorf("after %q: stamp %+v, %v, as after %q", change, polled, err, seen[polled])
		}
		seen[polled] = change
		if _, st := fetch(t, c); st != polled {
			t.Errorf("after %q: fetched %+v, polled %+v", change, st, polled)
		}
	}
}

func TestRealChangeIsNotified(t *testing.T) {
	s := start(t)
	c := s.tcp()
	if on, err := c.Events(context.Background()); on != EventsOff || err != nil {
		t.Errorf("Events() = %v, %v, want off", on, err)
	}
	s.CLI("CONFIG SET notify-keyspace-events Kgh$")
	if on, err := c.Events(context.Background()); on != EventsOn || err != nil {
		t.Errorf("Events() = %v, %v, want on", on, err)
	}
	changed := make(chan struct{}, 100)
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { done <- c.Follow(ctx, func() { changed <- struct{}{} }) }()
	wait := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case err := <-done:
			t.Fatalf("%s: Follow: %v", what, err)
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: not heard of", what)
		}
	}
	wait("subscription")
	for _, change := range []string{"HSET access a 1", "HDEL access a", "INCR access:version", "HSET staged b 2\nRENAME staged access", "DEL access"} {
		s.CLI(strings.Split(change, "\n")...)
		wait(change)
	}
	time.Sleep(100 * time.Millisecond)
	for len(changed) > 0 {
		<-changed
	}
	s.CLI("HSET other a 1")
	time.Sleep(100 * time.Millisecond)
	if len(changed) != 0 {
		t.Error("heard of another key")
	}
	s.Kill()
	select {
	case err := <-done:
		if !strings.Contains(err.Error(), "closed the connection") {
			t.Errorf("Follow: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("Follow does not notice that the server is gone")
	}
}

// A server that is stopped keeps its connections and answers nothing.
func TestRealServerHangs(t *testing.T) {
	s := start(t, "--notify-keyspace-events", "KA")
	cfg, err := ParseURL(fmt.Sprintf("redis://127.0.0.1:%d/3/access", s.Port))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Timeout = time.Second
	c := client(t, cfg)
	fetch(t, c)
	var pings atomic.Int64
	done, ready := make(chan error, 1), make(chan struct{})
	go func() {
		done <- c.Follow(context.Background(), func() {
			if pings.Add(1) == 1 {
				close(ready)
			}
		})
	}()
	<-ready
	time.Sleep(2500 * time.Millisecond)
	select {
	case err := <-done:
		t.Fatalf("Follow ends on an idle server: %v", err)
	default:
	}
	s.Pause()
	begin := time.Now()
	if _, err := c.Stamp(context.Background()); err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("Stamp: %v", err)
	}
	if err := <-done; !strings.Contains(err.Error(), "no answer in time") || time.Since(begin) > 3*time.Second {
		t.Errorf("Follow: %v after %v", err, time.Since(begin))
	}
}

func TestRealRestart(t *testing.T) {
	s := start(t, "--appendonly", "yes", "--appendfsync", "always")
	c := s.tcp()
	s.CLI("HSET access a 1", "SET access:version 7")
	_, before := fetch(t, c)
	s.Kill()
	fails(t, c, "connection refused")
	s.Run()
	s.Ready()
	got, after := fetch(t, c)
	if got["a"] != "1" || after.Version != "7" || after.Server == before.Server {
		t.Errorf("after the restart: %q, %+v, before %+v", got, after, before)
	}
	s.Kill()
	s.Run()
	s.Ready()
	if st, err := c.Stamp(context.Background()); err != nil || st.Entries != 1 {
		t.Errorf("after a restart between two calls: %+v, %v", st, err)
	}
}

func TestRealAuthentication(t *testing.T) {
	s := start(t, "--requirepass", "main secret")
	s.CLIWith([]string{"--no-auth-warning", "-a", "main secret"},
		"ACL SETUSER gatepost on >s3cr3t ~access ~access:version resetchannels &__keyspace@3__:access* "+
			"+select +multi +exec +get +hlen +hgetall +subscribe +ping",
		"CONFIG SET notify-keyspace-events KA", "HSET access a 1")
	fails(t, s.tcp(), "NOAUTH")
	fails(t, s.client("redis://:wrong@127.0.0.1:%d/3/access", s.Port), "authentication: the server says: WRONGPASS")
	fails(t, s.client("redis://gatepost:wrong@127.0.0.1:%d/3/access", s.Port), "WRONGPASS")
	fails(t, s.client("redis://gatepost:s3cr3t@127.0.0.1:%d/3/other", s.Port), "NOPERM")

	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("main secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := fetch(t, s.client("redis://127.0.0.1:%d/3/access?password_file=%s", s.Port, file)); got["a"] != "1" {
		t.Errorf("password from a file: %q", got)
	}
	c := s.client("redis://gatepost:s3cr3t@127.0.0.1:%d/3/access", s.Port)
	if got, st := fetch(t, c); got["a"] != "1" || st.Server != "" {
		t.Errorf("a user without INFO: %q, %+v", got, st)
	}
	if on, err := c.Events(context.Background()); on != EventsUnknown || err != nil {
		t.Errorf("Events() = %v, %v, want unknown", on, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.Follow(ctx, cancel); ctx.Err() != context.Canceled {
		t.Errorf("Follow of a user with these rights alone: %v", err)
	}
}

func TestRealTLS(t *testing.T) {
	made := credentialstest.Make(t)
	s := start(t)
	port := servers.FreePort(t)
	s.CLI("HSET access a 1", "CONFIG SET tls-cert-file "+made.CertFile+" tls-key-file "+made.KeyFile+
		" tls-ca-cert-file "+made.CAFile+fmt.Sprintf(" tls-port %d", port))
	files := "ca_file=" + made.CAFile + "&cert_file=" + made.CertFile + "&key_file=" + made.KeyFile
	c := s.client("rediss://localhost:%d/3/access?%s", port, files)
	if got, _ := fetch(t, c); got["a"] != "1" {
		t.Errorf("over TLS: %q", got)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.Follow(ctx, cancel); ctx.Err() != context.Canceled {
		t.Errorf("Follow over TLS: %v", err)
	}
	fails(t, s.client("rediss://localhost:%d/3/access", port), "unknown authority")
	fails(t, s.client("rediss://127.0.0.2:%d/3/access?%s", port, files), "")
	if _, err := s.client("rediss://localhost:%d/3/access?ca_file=%s", port, made.CAFile).Stamp(context.Background()); err == nil {
		t.Error("no certificate shown to a server that wants one: no error")
	}
	fails(t, s.client("redis://localhost:%d/3/access", port), "")
}

// What a server says while it reads its data, and a replica that has none, must
// not be taken for a table.
func TestRealLoadingAndReplica(t *testing.T) {
	s := start(t, "--enable-debug-command", "yes", "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
	var commands []string
	for i := range 3000 {
		commands = append(commands, fmt.Sprintf("SET filler%d %d", i, i))
	}
	s.CLI(append(commands, "HSET access a 1", "SAVE")...)
	s.Kill()
	s.Run()
	fails(t, s.tcp(), "LOADING")
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := s.tcp().Stamp(context.Background()); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("does not finish loading")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if got, _ := fetch(t, s.tcp()); got["a"] != "1" {
		t.Errorf("after loading: %q", got)
	}

	replica := start(t, "--replicaof", "127.0.0.1 1")
	_, err := replica.tcp().Fetch(context.Background(), func(k, v []byte) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "replica") {
		t.Errorf("a replica that never reached its master: %v", err)
	}
	replica.CLI("CONFIG SET replica-serve-stale-data no")
	fails(t, replica.tcp(), "MASTERDOWN")
}

// Between the server and us everything is cut at each byte in turn.
func TestRealConnectionCut(t *testing.T) {
	s := start(t)
	s.CLI("HSET access a 1 b 2")
	var limit atomic.Int64
	cfg := serve(t, func(c net.Conn) bool {
		up, err := net.Dial("unix", s.Socket())
		if err != nil {
			return false
		}
		defer up.Close()
		go io.Copy(up, c)
		io.CopyN(c, up, limit.Load())
		return false
	})
	cfg.DB = 3
	c := client(t, cfg)
	for n := int64(0); ; n += 7 {
		limit.Store(n)
		got := 0
		st, err := c.Fetch(context.Background(), func(k, v []byte) error { got++; return nil })
		if err == nil {
			if got != 2 || st.Entries != 2 {
				t.Errorf("cut after %d bytes: %d entries, %+v", n, got, st)
			}
			return
		}
		if n > 10000 {
			t.Fatal("never succeeds")
		}
	}
}
