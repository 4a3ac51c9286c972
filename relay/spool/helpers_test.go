package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// small options bring segments to an end soon.
func small() Options {
	return Options{Log: slog.New(slog.DiscardHandler), segmentSize: 64 << 10, inline: 12 << 10, delay: 2 * time.Millisecond, segments: 2}
}

func open(t testing.TB, dir string, o Options) *Spool {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func reopen(t testing.TB, s *Spool, dir string, o Options) *Spool {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, dir, o)
}

// envelope is one that has everything; some of them what RFC 3461 has to be told.
func envelope(n int) Envelope {
	e := plainEnvelope(n)
	if n%2 == 1 {
		e.Ret, e.EnvID = rets[n%3], fmt.Sprintf("id+2B%d", n)
		e.Recipients[0].Notify, e.Recipients[0].ORcpt = NotifySuccess|NotifyDelay, "rfc822;a+20b@example.net"
	}
	if n%4 == 0 {
		e.Recipients[1].Notify = NotifyNever
	}
	return e
}

// plainEnvelope is one as format 1 of the spool had it.
func plainEnvelope(n int) Envelope {
	return Envelope{
		Arrived: time.Unix(1_700_000_000+int64(n), 5), Sender: fmt.Sprintf("s%d@example.com", n), EightBit: n%2 == 0, UTF8: n%3 == 0,
		Recipients: []Recipient{{Address: `"a b"@example.net`}, {Address: fmt.Sprintf("r%d@example.net", n)}},
		Client:     Client{Addr: netip.MustParseAddr("2001:db8::1"), Name: "client.example.com", Helo: "helo", Auth: "user"},
	}
}

// text is a message of n bytes that no other has.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	p := make([]byte, 0, n+8)
	for len(p) < n {
		p = binary.LittleEndian.AppendUint64(p, r.Uint64())
	}
	return p[:n]
}

func put(s *Spool, e Envelope, body []byte) (*Message, error) {
	w, err := s.Create(e)
	if err != nil {
		return nil, err
	}
	for p := range slices.Chunk(body, 5000) {
		if _, err := w.Write(p); err != nil {
			w.Abort()
			return nil, err
		}
	}
	return w.Commit(context.Background())
}

func mustPut(t testing.TB, s *Spool, e Envelope, body []byte) *Message {
	t.Helper()
	m, err := put(s, e, body)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func bodyOf(m *Message) ([]byte, error) {
	r, err := m.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// check holds a message to what it should be.
func check(t testing.TB, m *Message, e Envelope, body []byte) {
	t.Helper()
	got, err := m.Envelope()
	if err != nil {
		t.Fatal(err)
	}
	e.ID = m.ID()
	if e.Since.IsZero() {
		e.Since = e.Arrived
	}
	if d := cmp.Diff(e, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("%s: envelope (-want +got):\n%s", m.ID(), d)
	}
	data, err := bodyOf(m)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, body) || m.Size() != int64(len(body)) {
		t.Errorf("%s: %d bytes (Size %d) are not the %d written", m.ID(), len(data), m.Size(), len(body))
	}
	if !m.Arrived().Equal(e.Arrived) || m.Held() != (e.Hold != "") {
		t.Errorf("%s: arrived %v, held %v", m.ID(), m.Arrived(), m.Held())
	}
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// syncWriter is for logs that are read while they are written.
type syncWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (w *syncWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

// heap is the memory in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// paperDir is a directory for the tests that crash on paper only: in memory if there is
// such a place, since they make and remove some hundred thousand files.
func paperDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "spool-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
