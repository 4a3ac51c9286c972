// Package spool is the durable queue storage of gatepost-relay: a message whose
// Commit returned nil is never lost. docs/durability.md says how.
package spool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"time"
)

// ErrFull is the error of Create, Write and Commit when the disk has no room: 452 4.3.1.
var ErrFull = errors.New("no room in the spool")

// ErrClosed is the error of what is asked of a closed spool.
var ErrClosed = errors.New("the spool is closed")

// Options of a spool. The zero value is of use.
type Options struct {
	Log       *slog.Logger // nil: slog.Default()
	MinFree   int64        // bytes kept free on the disk
	MaxMemory int64        // bytes of message data not yet written, all together; 0: 32 MiB
}

// Spool is an open spool directory.
type Spool struct {
	dir  string
	mu   sync.Mutex
	last uint64
	all  map[uint64]*Message
}

// Message is one in the queue. Its methods are safe for concurrent use.
type Message struct {
	s        *Spool
	id       uint64
	size     int64
	mu       sync.Mutex
	stored   stored
	bodyFrom int64
}

type stored struct {
	Envelope Envelope
	Attempts int
	NextTry  time.Time
}

// Stats are counts of a spool.
type Stats struct {
	Messages, Held int   // in the queue; of them on hold
	Bytes          int64 // of message data in the queue
	Segments       int   // files of the log
	Commits, Syncs uint64
	Free           int64 // bytes on the disk
}

// Open opens the spool in dir and makes it if it is missing.
func Open(dir string, o Options) (*Spool, error) {
	s := &Spool{dir: dir, all: map[uint64]*Message{}, last: uint64(time.Now().UnixMicro())}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.msg"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		head, _, _ := bytes.Cut(data, []byte("\n"))
		m := &Message{s: s, bodyFrom: int64(len(head)) + 1, size: int64(len(data)-len(head)) - 1}
		if err := json.Unmarshal(head, &m.stored); err != nil {
			return nil, fmt.Errorf("spool: %s: %w", name, err)
		}
		if m.id, err = strconv.ParseUint(m.stored.Envelope.ID, 32, 64); err != nil {
			return nil, fmt.Errorf("spool: %s: %w", name, err)
		}
		s.all[m.id] = m
	}
	return s, nil
}

// Messages are all there are, oldest first.
func (s *Spool) Messages() []*Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*Message
	for _, m := range s.all {
		out = append(out, m)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].id < out[j].id })
	return out
}

// Stats counts.
func (s *Spool) Stats() Stats { return Stats{Messages: len(s.Messages())} }

// Close ends it.
func (s *Spool) Close() error { return nil }

// Writer takes one message.
type Writer struct {
	m    *Message
	body bytes.Buffer
}

// Create begins a message.
func (s *Spool) Create(e Envelope) (*Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	e.ID = strconv.FormatUint(s.last, 32)
	if e.Arrived.IsZero() {
		e.Arrived = time.Now()
	}
	return &Writer{m: &Message{s: s, id: s.last, stored: stored{Envelope: e}}}, nil
}

// ID is the queue id.
func (w *Writer) ID() string { return w.m.ID() }

// Write takes the message, canonical CRLF, header first.
func (w *Writer) Write(p []byte) (int, error) { return w.body.Write(p) }

// Commit makes it durable.
func (w *Writer) Commit(ctx context.Context) (*Message, error) {
	w.m.size = int64(w.body.Len())
	if err := w.m.save(w.body.Bytes()); err != nil {
		return nil, err
	}
	w.m.s.mu.Lock()
	w.m.s.all[w.m.id] = w.m
	w.m.s.mu.Unlock()
	return w.m, nil
}

// Abort gives it up.
func (w *Writer) Abort() {}

func (m *Message) path() string { return filepath.Join(m.s.dir, m.ID()+".msg") }

func (m *Message) save(body []byte) error {
	head, err := json.Marshal(m.stored)
	if err != nil {
		return err
	}
	m.bodyFrom = int64(len(head)) + 1
	f, err := os.OpenFile(m.path()+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(append(head, '\n'), body...))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(m.path()+".tmp", m.path()); err != nil {
		return err
	}
	d, err := os.Open(m.s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ID is the queue id.
func (m *Message) ID() string { return strconv.FormatUint(m.id, 32) }

// Envelope is a copy, with the recipients' states as of now. It is read from the disk.
func (m *Message) Envelope() (Envelope, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.stored.Envelope
	e.Recipients = append([]Recipient(nil), e.Recipients...)
	return e, nil
}

// Size is the message's, in bytes.
func (m *Message) Size() int64 { return m.size }

// Arrived is when it came.
func (m *Message) Arrived() time.Time { return m.stored.Envelope.Arrived }

// Held reports whether it has a reason not to be delivered.
func (m *Message) Held() bool { m.mu.Lock(); defer m.mu.Unlock(); return m.stored.Envelope.Hold != "" }

// Attempts is how often it was tried.
func (m *Message) Attempts() int { m.mu.Lock(); defer m.mu.Unlock(); return m.stored.Attempts }

// NextTry is when it is due.
func (m *Message) NextTry() time.Time { m.mu.Lock(); defer m.mu.Unlock(); return m.stored.NextTry }

type section struct {
	*io.SectionReader
	f *os.File
}

func (s section) Close() error { return s.f.Close() }

// Open reads the message's bytes.
func (m *Message) Open() (io.ReadSeekCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := os.Open(m.path())
	if err != nil {
		return nil, err
	}
	return section{io.NewSectionReader(f, m.bodyFrom, m.size), f}, nil
}

// Update writes down what has become of it.
func (m *Message) Update(u Update) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, err := os.ReadFile(m.path())
	if err != nil {
		return err
	}
	body := data[m.bodyFrom:]
	m.stored.Envelope.Recipients = append([]Recipient(nil), m.stored.Envelope.Recipients...)
	for _, c := range u.Recipients {
		r := &m.stored.Envelope.Recipients[c.Index]
		r.State, r.Reply = c.State, c.Reply
	}
	if u.Attempts != nil {
		m.stored.Attempts = *u.Attempts
	}
	if u.NextTry != nil {
		m.stored.NextTry = *u.NextTry
	}
	if u.Hold != nil {
		m.stored.Envelope.Hold = *u.Hold
	}
	return m.save(body)
}

// Remove takes it out of the queue.
func (m *Message) Remove() error {
	m.s.mu.Lock()
	delete(m.s.all, m.id)
	m.s.mu.Unlock()
	return os.Remove(m.path())
}
