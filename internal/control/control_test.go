package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatepost/relay/spool"
)

// store is a spool with one message for each recipient.
func store(t *testing.T, recipients ...string) *spool.Spool {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, to := range recipients {
		w, err := s.Create(spool.Envelope{Sender: "me@sender.example", Recipients: []spool.Recipient{{Address: to}}})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "Subject: %s\r\nTo: x\r\n\r\ntext\r\n", to)
		if _, err := w.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// serve serves a queue at a socket.
func serve(t *testing.T, q Queue) (*Client, *Server) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := NewServer(q, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	})
	return NewClient(path), server
}

func ids(t *testing.T, c *Client, r *Request) (found []string) {
	t.Helper()
	if err := c.Run(t.Context(), r, func(l *Line) error {
		if l.Item == nil {
			t.Errorf("%+v: a line %+v", r, l.Result)
			return nil
		}
		found = append(found, l.Item.Recipients[0].Address)
		return nil
	}); err != nil {
		t.Errorf("%+v: %v", r, err)
	}
	return found
}

// TestAnswers puts questions to a real spool over a real socket.
func TestAnswers(t *testing.T) {
	s := store(t, "a@one.example", "b@two.example", "c/d@two.example", "root")
	c, _ := serve(t, Offline(s.Messages()))
	first := s.Messages()[0].ID()
	for _, tc := range []struct {
		filter Filter
		want   string
	}{
		{Filter{}, "a@one.example b@two.example c/d@two.example root"},
		{Filter{Recipient: "two.example"}, "b@two.example c/d@two.example"},
		{Filter{Recipient: "TWO.example"}, "b@two.example c/d@two.example"},
		{Filter{Recipient: "*@two.example"}, "b@two.example c/d@two.example"},
		{Filter{Recipient: "[ab]@*"}, "a@one.example b@two.example"},
		{Filter{Recipient: "root"}, "root"},
		{Filter{Recipient: "*oo*"}, "root"},
		{Filter{Sender: "me@*", Recipient: "a@*"}, "a@one.example"},
		{Filter{Sender: "<>"}, ""},
		{Filter{NextHop: "x"}, ""},
		{Filter{Older: time.Hour}, ""},
		{Filter{Newer: time.Hour, State: Ready}, "a@one.example b@two.example c/d@two.example root"},
		{Filter{State: Held}, ""},
		{Filter{IDs: []string{first}}, "a@one.example"},
		{Filter{IDs: []string{first}, Recipient: "root"}, ""},
	} {
		if got := strings.Join(ids(t, c, &Request{Op: List, Filter: tc.filter}), " "); got != tc.want {
			t.Errorf("%+v fits %q, want %q", tc.filter, got, tc.want)
		}
	}
	var lost *Result
	if err := c.Run(t.Context(), &Request{Op: Why, Filter: Filter{IDs: []string{"no such id"}}}, func(l *Line) error { lost = l.Result; return nil }); err != nil || lost == nil || lost.Error != ErrGone.Error() {
		t.Errorf("an unknown id gives %+v, %v", lost, err)
	}
	var refused []Result
	if err := c.Run(t.Context(), &Request{Op: Delete, Filter: Filter{All: true}}, func(l *Line) error { refused = append(refused, *l.Result); return nil }); err != nil || len(refused) != 4 || refused[0].Error != ErrNotRunning.Error() {
		t.Errorf("delete gives %+v, %v", refused, err)
	}
	for part, want := range map[Part]string{Header: "Subject: a@one.example\r\nTo: x\r\n", Whole: "Subject: a@one.example\r\nTo: x\r\n\r\ntext\r\n"} {
		var out bytes.Buffer
		if err := c.Show(t.Context(), first, part, &out); err != nil || out.String() != want {
			t.Errorf("%s is %q, %v", part, out.String(), err)
		}
	}
	if err := c.Show(t.Context(), "../../x", Whole, io.Discard); !errors.Is(err, ErrGone) {
		t.Errorf("showing what is not there: %v", err)
	}
}

// TestDone: a message is not deleted, or held, for the recipient who has it already.
func TestDone(t *testing.T) {
	s := store(t, "a@one.example")
	w, err := s.Create(spool.Envelope{Recipients: []spool.Recipient{{Address: "got@it.example", State: spool.Delivered}, {Address: "waits@it.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		op        Op
		recipient string
		want      int
	}{{Delete, "got@it.example", 0}, {Hold, "got@*", 0}, {Delete, "waits@it.example", 1}, {Delete, "it.example", 1}, {List, "got@it.example", 1}, {Why, "got@*", 1}} {
		n := 0
		err := Run(t.Context(), Offline(s.Messages()), &Request{Op: tc.op, Filter: Filter{Recipient: tc.recipient}}, func(*Line) error { n++; return nil })
		if err != nil || n != tc.want {
			t.Errorf("%s for %s is about %d messages, %v, want %d", tc.op, tc.recipient, n, err, tc.want)
		}
	}
}

// TestLongAnswers: what a next hop has answered for each of very many recipients does not
// keep the queue from being listed.
func TestLongAnswers(t *testing.T) {
	s := store(t, "first@one.example")
	env := spool.Envelope{Recipients: make([]spool.Recipient, 10_000)}
	for i := range env.Recipients {
		env.Recipients[i] = spool.Recipient{Address: fmt.Sprintf("u%d@two.example", i), Reply: strings.Repeat("<", 256) + strings.Repeat(`"`, 256)}
	}
	w, err := s.Create(env)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, _ := serve(t, Offline(s.Messages()))
	n := 0
	if err := c.Run(t.Context(), &Request{Op: List}, func(l *Line) error { n += len(l.Item.Recipients); return nil }); err != nil || n != 10_001 {
		t.Errorf("%d recipients are listed, %v", n, err)
	}
}

func TestBadRequests(t *testing.T) {
	c, _ := serve(t, Offline(store(t).Messages()))
	for _, tc := range []struct {
		request Request
		want    string
	}{
		{Request{Op: "eat"}, `unknown operation "eat"`},
		{Request{Op: Delete}, "it is not said which messages are meant"},
		{Request{Op: List, Filter: Filter{State: "lost"}}, `unknown state "lost"`},
		{Request{Op: List, Filter: Filter{Older: -1}}, "an age is negative"},
		{Request{Op: List, Filter: Filter{Recipient: "[a@x"}}, "is no pattern"},
		{Request{Op: List, Filter: Filter{Sender: strings.Repeat("*", 1001)}}, "is no pattern"},
		{Request{Op: Hold, Reason: strings.Repeat("x", 501), Filter: Filter{All: true}}, "the reason has 501 bytes"},
		{Request{Op: List, Filter: Filter{IDs: make([]string, maxIDs+1)}}, "50001 ids"},
		{Request{Op: List, Filter: Filter{IDs: []string{strings.Repeat("x", maxRequest)}}}, "too large"},
	} {
		if err := c.Run(t.Context(), &tc.request, func(*Line) error { return nil }); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%.60s is answered %v, want %s", tc.want, err, tc.want)
		}
	}
	answer, err := c.http.Post("http://relay/queue", "", strings.NewReader(`{"op":"list","filtre":{}}`))
	if err != nil || answer.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown word is answered %v, %v", answer, err)
	}
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	run := func(name string) error {
		return NewClient(filepath.Join(dir, name)).Run(t.Context(), &Request{Op: List}, func(*Line) error { return nil })
	}
	if err := run("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a socket: %v", err)
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "left")})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
	if err := run("left"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("at a socket that is left over: %v", err)
	}
}

// TestCut: an answer that breaks off is not taken for a short queue.
func TestCut(t *testing.T) {
	for answer, want := range map[string]error{
		"{\"result\":{\"id\":\"1\"}}\n":                        ErrCut,
		"{\"result\":{\"id\":\"1\"}}\n{\"end\":{\"count\":2}}": ErrCut,
		"{\"result\":{\"id\":\"1\"}}\n{\"end\":{\"count\":1}}": nil,
		"": ErrCut,
	} {
		path := filepath.Join(t.TempDir(), "s")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, answer) })}
		go server.Serve(ln)
		if err := NewClient(path).Run(t.Context(), &Request{Op: List}, func(*Line) error { return nil }); !errors.Is(err, want) {
			t.Errorf("%q is %v, want %v", answer, err, want)
		}
		server.Close()
	}
}

// TestLimitedConnections: those that are too many wait, and no more.
func TestLimitedConnections(t *testing.T) {
	c, _ := serve(t, Offline(store(t, "a@b.example").Messages()))
	var idle []net.Conn
	for range maxConns - 1 {
		nc, err := net.Dial("unix", c.path)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, nc)
	}
	if got := ids(t, c, &Request{Op: List}); len(got) != 1 {
		t.Errorf("with one place left the list is %v", got)
	}
	last, err := net.Dial("unix", c.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := c.Run(ctx, &Request{Op: List}, func(*Line) error { return nil }); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with no place left it is answered %v", err)
	}
	last.Close()
	for _, nc := range idle {
		nc.Close()
	}
	if got := ids(t, c, &Request{Op: List}); len(got) != 1 {
		t.Errorf("with all places free the list is %v", got)
	}
}

// TestDamaged: a message whose envelope cannot be read is listed, and fits no pattern.
func TestDamaged(t *testing.T) {
	q := Offline([]damaged{{}})
	for pattern, want := range map[string]int{"": 1, "*": 0} {
		n := 0
		if err := Run(t.Context(), q, &Request{Op: List, Filter: Filter{Recipient: pattern}}, func(l *Line) error {
			if l.Item.State != Held || l.Item.Fault == "" {
				t.Errorf("it is shown as %+v", l.Item)
			}
			n++
			return nil
		}); err != nil || n != want {
			t.Errorf("%q fits %d, %v", pattern, n, err)
		}
	}
}

type damaged struct{}

func (damaged) ID() string                        { return "1" }
func (damaged) Arrived() time.Time                { return time.Now() }
func (damaged) Size() int64                       { return 1 }
func (damaged) Attempts() int                     { return 0 }
func (damaged) NextTry() time.Time                { return time.Time{} }
func (damaged) Held() bool                        { return true }
func (damaged) Envelope() (spool.Envelope, error) { return spool.Envelope{}, spool.ErrDamaged }
func (damaged) Open() (io.ReadSeekCloser, error)  { return nil, spool.ErrDamaged }

func TestNextHops(t *testing.T) {
	for _, tc := range []struct {
		pattern, hop string
		want         bool
	}{
		{"[smtp.isp.example]:587", "[smtp.isp.example]:587", true}, {"smtp.isp.example:587", "[smtp.isp.example]:587", true},
		{"SMTP.isp.example", "[smtp.isp.example]:587", true}, {"*.isp.example", "[smtp.isp.example]:587", true},
		{"isp.example", "[smtp.isp.example]:587", false}, {"smtp.isp.example:25", "[smtp.isp.example]:587", false},
		{"example.org", "example.org", true}, {"b.example", "a.example,[b.example]:26", true}, {"a.example,[b.example]:26", "a.example,[b.example]:26", true},
		{"192.0.2.1", "smtp:192.0.2.1:25", true}, {"192.0.2.1:25", "lmtp:192.0.2.1:25", true}, {"unix:/run/lmtp", "unix:/run/lmtp", true},
		{"*", "maildir:/var/mail/%u", true}, {"2001:db8::1", "[2001:db8::1]:25", true},
	} {
		if got := (&Filter{NextHop: tc.pattern}).hopMatches(tc.hop); got != tc.want {
			t.Errorf("%s means %s: %t", tc.pattern, tc.hop, got)
		}
	}
}

func FuzzFits(f *testing.F) {
	for _, s := range [][2]string{{"*@x", "a@x"}, {"x", "a@x"}, {"<>", ""}, {"[", "["}, {"a/b@*", "a/b@c"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, address string) {
		Fits(pattern, address)
		(&Filter{NextHop: pattern}).hopMatches(address)
		if address != "" && strings.Contains(address, "@") && !Fits(address, address) {
			t.Errorf("%q does not fit itself", address)
		}
	})
}
