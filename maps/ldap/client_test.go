package ldap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tlv writes an element of BER with its length in two bytes.
func tlv(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	return string([]byte{tag, 0x82, byte(len(body) >> 8), byte(len(body))}) + body
}

func message(id byte, op string) string { return tlv(0x30, "\x02\x01"+string([]byte{id}), op) }

// entry is a SearchResultEntry (RFC 4511, 4.5.2) with one attribute.
func entry(attribute string, values ...string) string {
	var set string
	for _, v := range values {
		set += tlv(0x04, v)
	}
	return tlv(0x64, tlv(0x04, "cn=x"), tlv(0x30, tlv(0x30, tlv(0x04, attribute), tlv(0x31, set))))
}

// result is an LDAPResult of an operation with that tag.
func result(tag, code byte, text string) string {
	return tlv(tag, "\x0a\x01"+string([]byte{code}), tlv(0x04), tlv(0x04, text))
}

func done(code byte, text string) string { return result(0x65, code, text) }

// serve plays a server: it reads request after request and sends what answer returns
// for each; an answer that ends in "CLOSE" closes the connection.
func serve(t *testing.T, answer func(conn, id int) string) *Client {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go talk(c, func(id int) string { return answer(n, id) })
		}
	}()
	cfg := good()
	cfg.URL, cfg.Timeout, cfg.Attribute = "ldap://"+l.Addr().String(), 500*time.Millisecond, "value"
	return client(t, cfg)
}

func client(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func talk(c net.Conn, answer func(id int) string) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		n := int(head[1])
		if n == 0x81 {
			b, err := in.ReadByte()
			if err != nil {
				return
			}
			n = int(b)
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(in, body); err != nil || head[0] != 0x30 || n < 3 {
			return
		}
		out, closes := strings.CutSuffix(answer(int(body[2])), "CLOSE")
		if _, err := io.WriteString(c, out); err != nil || closes {
			return
		}
	}
}

func says(ops ...string) func(conn, id int) string {
	return func(_, id int) string {
		var out string
		for _, op := range ops {
			out += message(byte(id), op)
		}
		return out
	}
}

func TestLookup(t *testing.T) {
	many := make([]string, maxMatches)
	for i := range many {
		many[i] = entry("other")
	}
	for _, tc := range []struct {
		name   string
		server []string
		single bool
		value  string
		found  bool
		say    string
	}{
		{"found", []string{entry("value", "REJECT"), done(0, "")}, false, "REJECT", true, ""},
		{"first of its values", []string{entry("value", "a", "b"), done(0, "")}, true, "a", true, ""},
		{"name in other letters", []string{entry("VALUE", "a"), done(0, "")}, false, "a", true, ""},
		{"empty value", []string{entry("value", ""), done(0, "")}, false, "", true, ""},
		{"any bytes", []string{entry("value", "a\x00\xff\n"), done(0, "")}, false, "a\x00\xff\n", true, ""},
		{"no entry", []string{done(0, "")}, false, "", false, ""},
		{"no attribute", []string{entry("other", "x"), done(0, "")}, false, "", false, ""},
		{"no value", []string{entry("value"), done(0, "")}, false, "", false, ""},
		{"first entry with the attribute", []string{entry("other", "x"), entry("value", "a"), entry("value", "b"), done(0, "")}, false, "a", true, ""},
		{"single, one has the attribute", []string{entry("other", "x"), entry("value", "a"), done(0, "")}, true, "a", true, ""},
		{"single, several", []string{entry("value", "a"), entry("value", "b"), done(0, "")}, true, "", false, ""},
		{"too many, value known", []string{entry("value", "a"), done(4, "")}, false, "a", true, ""},
		{"too many, single", []string{entry("value", "a"), done(4, "")}, true, "", false, "(4)"},
		{"too many, two known, single", []string{entry("value", "a"), entry("value", "b"), done(4, "")}, true, "", false, ""},
		{"too many, none with the attribute", append(many, done(4, "")), false, "", false, "(4)"},
		{"base does not exist", []string{done(32, "")}, false, "", false, "No Such Object (32)"},
		{"time limit", []string{entry("value", "a"), done(3, "")}, false, "", false, "(3)"},
		{"busy", []string{done(51, "come\nback")}, false, "", false, "Busy (51): come?back"},
		{"unavailable", []string{done(52, "")}, false, "", false, "(52)"},
		{"no access", []string{done(50, "")}, false, "", false, "(50)"},
		{"referral", []string{done(10, "")}, false, "", false, "(10)"},
		{"referred to another server", []string{tlv(0x73, tlv(0x04, "ldap://other/")), done(0, "")}, false, "", false, "referrals are not followed"},
		{"value in spite of a reference", []string{tlv(0x73, tlv(0x04, "ldap://other/")), entry("value", "a"), done(0, "")}, false, "a", true, ""},
		{"code without texts", []string{tlv(0x65, "\x0a\x01\x00")}, false, "", false, "malformed"},
		{"nothing in it", []string{tlv(0x65)}, false, "", false, ""},
		{"entry without parts", []string{tlv(0x64), done(0, "")}, false, "", false, ""},
		{"value is a number", []string{tlv(0x64, tlv(0x04, "cn=x"), tlv(0x30, tlv(0x30, tlv(0x04, "value"), tlv(0x31, "\x02\x01\x05")))), done(0, "")}, false, "", false, "malformed"},
		{"never done", []string{entry("value", "a")}, false, "", false, "no answer in time"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := serve(t, says(tc.server...))
			c.cfg.SingleMatch = tc.single
			value, found, err := c.Lookup(context.Background(), "key")
			fails := tc.say != "" || tc.name == "nothing in it" || tc.name == "entry without parts"
			if value != tc.value || found != tc.found || (err != nil) != fails {
				t.Fatalf("%q, %v, %v, want %q, %v and an error: %v", value, found, err, tc.value, tc.found, fails)
			}
			if fails && (!strings.Contains(err.Error(), tc.say) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%v, want an error that says %q", err, tc.say)
			}
		})
	}
}

// What does not even look like LDAP. None of it may be an absent key.
func TestLookupFails(t *testing.T) {
	long := entry("value", strings.Repeat("x", 60000))
	deep := strings.Repeat("\x30\x80", 30000)
	for _, tc := range []struct{ name, server, say string }{
		{"silence", "", "no answer in time"},
		{"junk", "HTTP/1.1 400 Bad Request\r\n\r\n", ""},
		{"closes", "CLOSE", ""},
		{"closes within an answer", message(1, entry("value", "a"))[:20] + "CLOSE", "unexpected EOF"},
		{"length of 2^63", "\x30\x88\x7f\xff\xff\xff\xff\xff\xff\xff", "length"},
		{"length of 1 GiB", "\x30\x84\x40\x00\x00\x00\x04\x84\x3f\xff\xff\xf0" + strings.Repeat("x", 100000), "longer than 64 KiB"},
		{"nested without end", deep, "nesting"},
		{"many entries", strings.Repeat(message(1, long), 3), "longer than 64 KiB"},
		{"another message's answer", message(99, done(0, "")), "no answer in time"},
		{"zeros", strings.Repeat("\x00", 100000), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, func(int, int) string { return tc.server })
			_, found, err := c.Lookup(context.Background(), "key")
			if found || err == nil || !strings.Contains(err.Error(), tc.say) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, %v, want an error that says %q", found, err, tc.say)
			}
		})
	}
}

// The limit is for one answer, not for the life of a connection.
func TestLimitIsOfOneAnswer(t *testing.T) {
	var conns atomic.Int64
	c := serve(t, func(conn, id int) string {
		conns.Store(int64(conn))
		return message(byte(id), entry("value", strings.Repeat("x", 50000))) + message(byte(id), done(0, ""))
	})
	for range 10 {
		if value, found, err := c.Lookup(context.Background(), "key"); len(value) != 50000 || !found || err != nil {
			t.Fatalf("%d bytes, %v, %v", len(value), found, err)
		}
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

// A connection that was closed while nobody used it costs another one, not a failure.
func TestClosedConnectionIsReplaced(t *testing.T) {
	for _, last := range []string{message(1, entry("value", "a")) + message(1, done(0, "")) + "CLOSE", "late"} {
		c := serve(t, func(conn, id int) string {
			switch {
			case id == 1 && last != "late":
				return last
			case id == 2:
				return "CLOSE"
			}
			return message(byte(id), entry("value", "a")) + message(byte(id), done(0, ""))
		})
		for i := range 5 {
			if value, _, err := c.Lookup(context.Background(), "key"); value != "a" || err != nil {
				t.Errorf("lookup %d: %q, %v", i, value, err)
			}
		}
	}
}

func TestRetriesOnce(t *testing.T) {
	var requests atomic.Int64
	c := serve(t, func(conn, id int) string {
		if requests.Add(1) > 1 {
			return "CLOSE"
		}
		return message(byte(id), done(0, ""))
	})
	if _, _, err := c.Lookup(context.Background(), "key"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Lookup(context.Background(), "key"); err == nil || requests.Load() != 3 {
		t.Errorf("%v after %d requests, want an error after 3", err, requests.Load())
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	var most atomic.Int64
	release := make(chan struct{})
	c := serve(t, func(conn, id int) string {
		most.Store(max(most.Load(), int64(conn)))
		<-release
		return message(byte(id), done(0, ""))
	})
	c.cfg.Timeout = 10 * time.Second
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, _, err := c.Lookup(context.Background(), "key"); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(100 * time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := c.Lookup(ctx, "key"); err == nil || !strings.Contains(err.Error(), "busy") {
		t.Errorf("all connections in use: %v", err)
	}
	close(release)
	all.Wait()
	if n := most.Load(); n > int64(c.cfg.MaxConns) {
		t.Errorf("%d connections, at most %d wanted", n, c.cfg.MaxConns)
	}
}

func TestContextEndsLookup(t *testing.T) {
	c := serve(t, func(int, int) string { return "" })
	c.cfg.Timeout = time.Minute
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, _, err := c.Lookup(ctx, "key"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestStartTLSRefused(t *testing.T) {
	for name, answer := range map[string]string{
		"refused": message(1, result(0x78, 2, "unsupported extended operation")),
		"junk":    message(1, result(0x78, 0, "")) + strings.Repeat("x", 100),
		"silence": "",
		"closes":  "CLOSE",
	} {
		c := serve(t, func(int, int) string { return answer })
		c.cfg.StartTLS = true
		start := time.Now()
		_, found, err := c.Lookup(context.Background(), "key")
		if found || err == nil || time.Since(start) > 3*time.Second {
			t.Errorf("%s: %v, %v after %v", name, found, err, time.Since(start))
		}
	}
}

// FuzzAnswer: whatever a server answers, a lookup ends, and finds only what stands in it.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(message(1, entry("value", "a")) + message(1, done(0, ""))))
	f.Add([]byte(message(1, tlv(0x73, tlv(0x04, "ldap://other/"))) + message(1, done(10, "x"))))
	f.Add([]byte(message(0, result(0x78, 52, "going down"))))
	cfg := good()
	cfg.Attribute, cfg.Timeout = "value", time.Second
	s, err := parse(cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		ours, theirs := net.Pipe()
		go talk(theirs, func(int) string { return string(answer) + "CLOSE" })
		c := &Client{cfg: s}
		cn := &conn{guard: &guard{Conn: ours}}
		if err := cn.start(context.Background(), s); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		value, found, err := c.search(ctx, cn, "key")
		c.Close()
		if ctx.Err() != nil {
			t.Errorf("does not end: %v", err)
		}
		if found && (err != nil || !bytes.Contains(answer, []byte(value))) {
			t.Errorf("%q, %v", value, err)
		}
	})
}
