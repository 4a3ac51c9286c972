// Package spool is the durable queue storage of gatepost-relay: a message whose Commit
// returned nil is never lost. Messages go into a log of segments, where those that come
// at the same time share one sync; large ones go into files of their own.
// docs/durability.md says what is synced before what, and what is left after a crash.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is the error of what is asked of a closed spool.
var ErrClosed = errors.New("the spool is closed")

// Options of a spool. The zero value is of use.
type Options struct {
	Log       *slog.Logger // nil: slog.Default()
	MinFree   int64        // bytes kept free on the disk; below, Create has ErrFull
	MaxMemory int64        // bytes of message data not yet written, all together; 0: 32 MiB

	d           disk          // nil: the file system
	segmentSize int64         // 0: 16 MiB
	inline      int64         // the largest record in the log; 0: 256 KiB
	segments    int           // a log of more is made smaller; 0: 4
	delay       time.Duration // until states and removals are written; 0: 100 ms
}

const (
	defaultMemory  = 32 << 20
	defaultSegment = 16 << 20
	defaultInline  = 256 << 10
	defaultDelay   = 100 * time.Millisecond
)

func (o *Options) fill(dir string) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.d == nil {
		o.d = dirDisk(dir)
	}
	o.MaxMemory = orElse(o.MaxMemory, defaultMemory)
	o.segmentSize = orElse(o.segmentSize, defaultSegment)
	o.inline = min(orElse(o.inline, defaultInline), o.segmentSize/4)
	o.segments = orElse(o.segments, 4)
	o.delay = orElse(o.delay, defaultDelay)
}

func orElse[T comparable](v, standard T) T {
	if v == *new(T) {
		return standard
	}
	return v
}

// A state with an answer for each recipient must fit into a segment.
func (o *Options) mostRecipients() int {
	return int(min(maxRecipients, o.segmentSize/2/(maxReply+maxStatus+8)))
}

func (o *Options) mostHead() int64 { return min(maxEnvelope, o.segmentSize/2) }

// Spool is an open spool directory. Its methods are safe for concurrent use.
type Spool struct {
	o      Options
	d      disk
	mark   mark
	unlock func() error
	chunks chunks
	space  space

	mu       sync.Mutex
	closed   bool
	waiting  []*Writer    // to be committed to the log
	filing   []*Writer    // sealed files, to get their names
	states   []*Message   // whose pend is to be written
	done     []uint64     // removed, to be written
	syncers  []chan error // of Sync
	unlinks  []uint64     // removed, whose files are to be
	segments []*segment   // oldest first; the last one is current, unless that is nil
	current  *segment
	next     *segment              // made ready
	spares   []uint64              // numbers of files to be used again
	own      [256]list             // messages in files of their own, by folder
	pending  map[*Message]*pending // states that are not yet written
	index    index
	total    Stats
	lastID   uint64
	idLimit  uint64 // lastID stays below

	preparing  sync.Mutex // before mu
	lastNumber uint64     // of the segments made; under preparing

	foldersLock sync.Mutex
	folders     map[string]bool // of mail/, synced

	updating [64]sync.Mutex // one change of a message at a time; before mu
	results  sync.Pool      // of chan error

	// The committer's.
	batch     batch
	ids       []byte
	ends      []end
	pause     time.Duration
	notBefore time.Time
	lastErr   error

	unlinked map[string][]uint64 // the keeper's: folder to ids, not yet synced

	wake, wakeFiler, wakeKeep, stop chan struct{}
	committed, filed, kept          chan struct{}
	syncs, commits                  atomic.Uint64
}

// Stats are counts of a spool.
type Stats struct {
	Messages, Held int    // in the queue; of them with a reason not to be delivered
	Bytes          int64  // of message data in the queue
	Segments       int    // files of the log that hold something needed, or may
	Commits        uint64 // messages committed since Open
	Syncs          uint64 // of files and folders, for them and for what became of them
	Free           int64  // bytes on the disk that may still be used, when last asked
}

// Open opens the spool in dir, which only one process can do at a time, and rebuilds the
// queue's state. A missing directory is made, for its owner only. What a crash has torn
// is dropped, and what is damaged is kept aside; both are logged.
func Open(dir string, o Options) (*Spool, error) {
	o.fill(dir)
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	s := &Spool{
		o: o, d: o.d, unlock: unlock, folders: map[string]bool{}, unlinked: map[string][]uint64{}, pending: map[*Message]*pending{},
		wake: make(chan struct{}, 1), wakeFiler: make(chan struct{}, 1), wakeKeep: make(chan struct{}, 1), stop: make(chan struct{}),
		committed: make(chan struct{}), filed: make(chan struct{}), kept: make(chan struct{}),
	}
	s.chunks.most.Store(o.MaxMemory)
	if err = s.prepareDir(); err == nil {
		err = s.recover()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("spool: %s: %w", dir, err), s.closeFiles())
	}
	s.askRoom(time.Now())
	if err := s.begin(); err != nil {
		// Removals make room; until then nothing is taken.
		s.paused(err)
	}
	go s.commitLoop()
	go s.fileLoop()
	go s.keepLoop()
	return s, nil
}

// Messages are all in the queue, oldest first.
func (s *Spool) Messages() []*Message {
	s.mu.Lock()
	all := make([]*Message, 0, s.total.Messages)
	s.each(func(m *Message) { all = append(all, m) })
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b *Message) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return all
}

// Find gives the message of that queue id, if it is in the queue.
func (s *Spool) Find(id string) (*Message, bool) {
	n, ok := parseID(id)
	if !ok {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.find(n)
	return m, m != nil
}

// Stats are the counts as of now.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	t := s.total
	t.Segments = len(s.segments)
	s.mu.Unlock()
	t.Commits, t.Syncs, t.Free = s.commits.Load(), s.syncs.Load(), s.space.free.Load()
	return t
}

// Close writes down what is to be written and ends all use of the directory. Writers that
// are not committed are lost, and what waits in Commit is answered. Open readers of
// messages stay good.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	close(s.stop)
	<-s.filed
	<-s.committed
	<-s.kept
	var err error
	if s.unwritten() {
		err = fmt.Errorf("spool: what became of %d messages could not be written: %v", len(s.states)+len(s.done), s.lastErr)
	}
	return errors.Join(err, s.closeFiles())
}

func (s *Spool) closeFiles() error {
	s.mu.Lock()
	var errs []error
	all := s.segments
	if s.next != nil {
		all = append(all, s.next)
	}
	for _, g := range all {
		g.retired = true
		if g.readers == 0 {
			errs = append(errs, g.f.close())
		}
	}
	s.mu.Unlock()
	return errors.Join(append(errs, s.unlock())...)
}

// complain logs an error after which nothing else is to be done.
func (s *Spool) complain(what string, err error) {
	if err != nil {
		s.o.Log.Error("spool: "+what, "error", err)
	}
}
