package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve plays a server: each connection is answered with what answer writes, and
// stays open until the client closes it or answer returns false.
func serve(t *testing.T, answer func(c net.Conn) (stay bool)) Config {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if answer(c) {
					io.Copy(io.Discard, c)
				}
			}()
		}
	}()
	return Config{Network: "tcp", Address: l.Addr().String(), Key: "access", Timeout: 300 * time.Millisecond, FetchTimeout: 2 * time.Second}
}

// says is a server that writes its answers at once, whatever is asked.
func says(text string) func(net.Conn) bool {
	return func(c net.Conn) bool {
		io.WriteString(c, text)
		return true
	}
}

const (
	greeting = "+OK\r\n$15\r\nrun_id:4711\r\n\r\n\r\n"
	queued2  = "+OK\r\n+QUEUED\r\n+QUEUED\r\n"
	queued3  = queued2 + "+QUEUED\r\n"
)

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestFetch(t *testing.T) {
	c := client(t, serve(t, says(greeting+queued3+"*3\r\n$1\r\n7\r\n:2\r\n*4\r\n$1\r\na\r\n$2\r\n\r\n\r\n$0\r\n\r\n$0\r\n\r\n")))
	var got []string
	st, err := c.Fetch(context.Background(), func(k, v []byte) error {
		got = append(got, string(k), string(v))
		return nil
	})
	if want := (Stamp{"4711", "7", 2}); err != nil || st != want || strings.Join(got, "|") != "a|\r\n||" {
		t.Errorf("%+v, %v, %q, want %+v", st, err, got, want)
	}
}

func TestStamp(t *testing.T) {
	c := client(t, serve(t, says("+OK\r\n-NOPERM this user has no permissions\r\n"+queued2+"*2\r\n$-1\r\n:5\r\n")))
	if st, err := c.Stamp(context.Background()); err != nil || st != (Stamp{Entries: 5}) {
		t.Errorf("%+v, %v", st, err)
	}
}

// What a server may say in place of a table, and what is reported. None of it is
// an empty table.
func TestFetchFails(t *testing.T) {
	table := greeting + queued3 + "*3\r\n$-1\r\n:1\r\n"
	for _, tc := range []struct{ name, server, say string }{
		{"nothing", "", "no answer"},
		{"junk", "SSH-2.0-OpenSSH_9.2\r\n", "not a reply"},
		{"zeros", strings.Repeat("\x00", 1000), "no answer"},
		{"a line without end", strings.Repeat("x", 1<<20), "more than"},
		{"too many clients", "-ERR max number of clients reached\r\n", "max number of clients"},
		{"password wanted", "-NOAUTH Authentication required.\r\n", "NOAUTH"},
		{"loading", greeting + "+OK\r\n-LOADING Redis is loading the dataset in memory\r\n-LOADING x\r\n-LOADING x\r\n-EXECABORT x\r\n", "LOADING"},
		{"master down", greeting + "+OK\r\n-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n", "MASTERDOWN"},
		{"other type", greeting + queued3 + "*3\r\n$-1\r\n-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", `key "access": the server says: WRONGTYPE`},
		{"version of another type", greeting + queued3 + "*3\r\n-WRONGTYPE Operation\r\n", `key "access:version"`},
		{"EXEC gives nothing", greeting + queued3 + "*-1\r\n", "-1 elements"},
		{"EXEC gives too much", greeting + queued3 + "*9223372036854775807\r\n", "elements"},
		{"length beyond an int", table + "*92233720368547758070\r\n", "a number"},
		{"odd number of strings", table + "*3\r\n", "3 keys and values"},
		{"no array", table + "*-1\r\n", "-1 keys"},
		{"a billion strings announced", table + "*2000000000\r\n$1\r\na\r\n$1\r\nb\r\n", "no answer"},
		{"a huge string announced", table + "*2\r\n$9223372036854775807\r\n", "at most"},
		{"a long value", table + "*2\r\n$1\r\na\r\n$65537\r\n", `entry 1 of 1 ("a"): a string of 65537 bytes`},
		{"a value that is a number", table + "*2\r\n$1\r\na\r\n:1\r\n", `expected '$'`},
		{"a value that is missing", table + "*2\r\n$1\r\na\r\n$-1\r\n", "without key or value"},
		{"arrays in arrays", table + strings.Repeat("*2\r\n", 100000), "not a reply"},
		{"a string without its end", table + "*2\r\n$1\r\nabc\r\n", "without its end"},
		{"negative number of entries", greeting + queued3 + "*3\r\n$-1\r\n:-1\r\n", "entries of -1"},
		{"error with odd bytes", "-BAD \x1b[2J\x07\xff\r\n", "BAD ?[2J??"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := client(t, serve(t, says(tc.server)))
			st, err := c.Fetch(context.Background(), func(k, v []byte) error { return nil })
			if err == nil || st.Entries > 1 || !strings.Contains(err.Error(), tc.say) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%+v, %v, want an error that says %q", st, err, tc.say)
			}
		})
	}
}

func TestServerCloses(t *testing.T) {
	whole := greeting + queued3 + "*3\r\n$1\r\n7\r\n:1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
	var at atomic.Int64
	cfg := serve(t, func(c net.Conn) bool {
		io.WriteString(c, whole[:at.Load()])
		return false
	})
	c := client(t, cfg)
	for n := range len(whole) {
		at.Store(int64(n))
		if st, err := c.Fetch(context.Background(), func(k, v []byte) error { return nil }); err == nil {
			t.Errorf("closed after %d bytes: %+v, no error", n, st)
		}
	}
}

func TestEmptyTable(t *testing.T) {
	empty := greeting + queued3 + "*3\r\n$-1\r\n:0\r\n*0\r\n"
	bulk := func(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
	for _, tc := range []struct {
		name, server string
		required     bool
		say          string
	}{
		{"of a master", empty + bulk("# Replication\r\nrole:master\r\n"), false, ""},
		{"INFO refused", empty + "-NOPERM x\r\n", false, ""},
		{"of a replica", empty + bulk("role:slave\r\nmaster_link_status:up\r\n"), false, ""},
		{"of a replica without data", empty + bulk("role:slave\r\nmaster_link_status:down\r\n"), false, "replica"},
		{"required", empty, true, "does not exist"},
	} {
		cfg := serve(t, says(tc.server))
		cfg.Required = tc.required
		_, err := client(t, cfg).Fetch(context.Background(), func(k, v []byte) error { return nil })
		if (tc.say == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.say) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.say)
		}
	}
}

func TestLimitOfBytes(t *testing.T) {
	cfg := serve(t, func(c net.Conn) bool {
		io.WriteString(c, greeting+queued3+"*3\r\n$-1\r\n:1000000\r\n*2000000\r\n")
		for {
			if _, err := io.WriteString(c, "$4\r\nsome\r\n$4\r\nmore\r\n"); err != nil {
				return false
			}
		}
	})
	cfg.MaxBytes = 20000
	var got int
	_, err := client(t, cfg).Fetch(context.Background(), func(k, v []byte) error { got++; return nil })
	if err == nil || !strings.Contains(err.Error(), "longer than the limit") || got > 1000 {
		t.Errorf("%v after %d entries", err, got)
	}
}

// A server that sends a byte now and then keeps no one beyond the limit for the whole call.
func TestDripFeed(t *testing.T) {
	cfg := serve(t, func(c net.Conn) bool {
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				return false
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	start := time.Now()
	_, err := client(t, cfg).Stamp(context.Background())
	if took := time.Since(start); err == nil || took > 2*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}

func TestContextEndsCalls(t *testing.T) {
	cfg := serve(t, func(net.Conn) bool { return true })
	cfg.Timeout, cfg.FetchTimeout = time.Minute, time.Minute
	c := client(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := c.Fetch(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch: %v", err)
	}
	if err := c.Follow(ctx, func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("Follow: %v", err)
	}
}

func TestYieldErrorEndsFetch(t *testing.T) {
	c := client(t, serve(t, says(greeting+queued3+"*3\r\n$-1\r\n:2\r\n*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n")))
	enough, calls := errors.New("enough"), 0
	_, err := c.Fetch(context.Background(), func(k, v []byte) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// poll answers the greeting, and then so many calls of Stamp.
func poll(c net.Conn, calls int) {
	in := bufio.NewReader(c)
	await := func(last string) bool {
		for {
			line, err := in.ReadString('\n')
			if err != nil || line == last+"\r\n" {
				return err == nil
			}
		}
	}
	if !await("server") {
		return
	}
	io.WriteString(c, greeting)
	for range calls {
		if !await("EXEC") {
			return
		}
		io.WriteString(c, queued2+"*2\r\n$1\r\n1\r\n:1\r\n")
	}
}

// A connection that the server has closed since the last call is no failure.
func TestClosedSinceLastCall(t *testing.T) {
	var conns atomic.Int64
	c := client(t, serve(t, func(conn net.Conn) bool {
		conns.Add(1)
		poll(conn, 2)
		return false
	}))
	for i := range 10 {
		if st, err := c.Stamp(context.Background()); err != nil || st.Entries != 1 {
			t.Fatalf("call %d: %+v, %v", i, st, err)
		}
	}
	if n := conns.Load(); n != 5 {
		t.Errorf("%d connections for 10 calls, want 5", n)
	}
}

func TestFollowNoticesDeadPeer(t *testing.T) {
	subscribed := "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
	for _, tc := range []struct {
		name, server string
		changes      int64
		say          string
	}{
		{"silent", greeting + subscribed, 1, "no answer"},
		{"silent after an event", greeting + subscribed + "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$4\r\nhset\r\n", 2, "no answer"},
		{"never subscribes", greeting, 0, "no answer"},
		{"refuses", greeting + "-NOPERM no channel\r\n", 0, "NOPERM"},
		{"junk", greeting + subscribed + "*3\r\n$7\r\nmessage\r\n:3\r\n", 1, "not a reply"},
		{"huge message", greeting + subscribed + "*2147483647\r\n", 1, "parts"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var changes atomic.Int64
			c := client(t, serve(t, says(tc.server)))
			start := time.Now()
			err := c.Follow(context.Background(), func() { changes.Add(1) })
			if err == nil || !strings.Contains(err.Error(), tc.say) || changes.Load() != tc.changes || time.Since(start) > 3*time.Second {
				t.Errorf("%v, %d changes after %v; want %q, %d", err, changes.Load(), time.Since(start), tc.say, tc.changes)
			}
		})
	}
}

func TestNoServer(t *testing.T) {
	c := client(t, Config{Network: "tcp", Address: "127.0.0.1:1", Key: "access", User: "u", Password: "s3cr3t"})
	_, err := c.Stamp(context.Background())
	if err == nil || !strings.Contains(err.Error(), "redis://u@127.0.0.1:1/0/access") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("%v", err)
	}
}

// FuzzReplies: whatever a server sends, a call ends, reads no more than its limit
// and gives a table only if all of it is there.
func FuzzReplies(f *testing.F) {
	f.Add([]byte(queued3 + "*3\r\n$1\r\n7\r\n:1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"))
	f.Add([]byte(queued3 + "*3\r\n$-1\r\n-WRONGTYPE x\r\n"))
	f.Add([]byte("-LOADING x\r\n"))
	cfg := Config{Key: "access", MaxBytes: 4096}.withDefaults()
	f.Fuzz(func(t *testing.T, in []byte) {
		cn := &conn{Conn: sink{}, replies: newReplies(strings.NewReader(string(in)))}
		var entries, bytes int64
		st, err := cn.transaction(cfg, func(k, v []byte) error {
			entries++
			bytes += int64(len(k) + len(v))
			return nil
		})
		if bytes > cfg.MaxBytes || bytes > int64(len(in)) {
			t.Errorf("%d bytes of table", bytes)
		}
		if err == nil && entries > int64(len(in)) {
			t.Errorf("%+v, %d entries of %d bytes", st, entries, len(in))
		}
		cn.replies = newReplies(strings.NewReader(string(in)))
		cn.replies.left = 4 * maxString
		for err = nil; err == nil; {
			err = cn.event(func() {})
		}
		cn.replies = newReplies(strings.NewReader(string(in)))
		cn.events()
	})
}

// sink is a connection that takes everything.
type sink struct{ net.Conn }

func (sink) Write(p []byte) (int, error) { return len(p), nil }
