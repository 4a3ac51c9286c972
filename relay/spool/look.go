package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// View is a queue as it was found in a directory by Look.
type View struct {
	s *Spool

	// Trouble has a line for each thing that could not be read, a hundred at most: what is
	// missing in the view, and will be at the next start.
	Trouble []string
}

// Seen is a message of a View. Its methods are those of Message.
type Seen struct{ m *Message }

// errSeenGone is the error of what a relay that runs has done away with since.
var errSeenGone = fmt.Errorf("%w, or moved within it, after it was looked at", ErrRemoved)

// lookAgain is how often Look reads a queue at most, since a relay that runs may have put
// its files in another order meanwhile.
const lookAgain = 5

// Look reads the queue of dir, as Open would have it, without the lock and without changing
// anything: for when no relay runs, or one was killed. Of a queue whose relay does run it
// shows what was on the disk, which may be 100 ms late, and may miss what moves just then. The error is
// that of a directory that cannot be read, or is no spool. The View must be closed.
func Look(dir string) (*View, error) {
	var before []string
	for n := 1; ; n++ {
		v, err := look(lookDisk{dirDisk(dir)})
		if err != nil {
			if n == lookAgain || !errors.Is(err, errMoved) {
				return nil, fmt.Errorf("spool: %s: %w", dir, err)
			}
			continue
		}
		// What is half written now is no trouble the next time.
		same := len(v.Trouble) == 0 || n > 1 && slices.Equal(v.Trouble, before)
		if n == lookAgain || same && v.settled() {
			return v, nil
		}
		before = v.Trouble
		v.s.complain("closing what was looked at", v.Close())
	}
}

var errMoved = errors.New("its files are in motion")

func look(d disk) (*View, error) {
	trouble := &troubles{}
	s := &Spool{o: Options{Log: slog.New(trouble)}, d: d, folders: map[string]bool{}, unlock: func() error { return nil }}
	var err error
	if s.mark, _, err = s.format(); err != nil {
		return nil, err
	}
	r := newRecovery(s)
	if err := r.readLog(); err != nil {
		r.close()
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", errMoved, err)
		}
		return nil, err
	}
	for _, g := range r.segments {
		r.judge(g)
		r.apply(g)
		s.segments = append(s.segments, g.segment)
	}
	all, err := r.listOwn()
	if err != nil {
		r.close()
		return nil, err
	}
	r.loadAll(all)
	for i := range all {
		o := &all[i]
		switch {
		case o.bad == nil:
			r.adopt(o.m)
		case !errors.Is(o.bad, fs.ErrNotExist) && r.messages[o.id] == nil:
			s.o.Log.Error("the file of a message cannot be read, or is damaged", "file", o.name, "error", o.bad)
		}
	}
	for _, m := range r.messages {
		s.count(m, 1)
	}
	return &View{s: s, Trouble: trouble.lines}, nil
}

// close closes what readLog has opened.
func (r *recovery) close() {
	for _, g := range r.segments {
		r.s.complain("closing a segment", g.f.close())
	}
}

// settled reports whether the log has the segments still that were read.
func (v *View) settled() bool {
	names, err := v.s.d.names(logDir)
	if err != nil {
		return true
	}
	there := map[string]bool{}
	for _, name := range names {
		there[logDir+"/"+name] = true
	}
	for _, g := range v.s.segments {
		if !there[segmentName(g.number)] {
			return false
		}
	}
	return true
}

// Close ends the use of the directory. Open readers of messages stay good.
func (v *View) Close() error {
	v.s.mu.Lock()
	closed := v.s.closed
	v.s.closed = true
	v.s.mu.Unlock()
	if closed {
		return nil
	}
	return v.s.closeFiles()
}

// Messages are all in the queue, in the order of their arrival.
func (v *View) Messages() []Seen {
	all := v.s.Messages()
	seen := make([]Seen, len(all))
	for i, m := range all {
		seen[i].m = m
	}
	return seen
}

// Find gives the message of that queue id.
func (v *View) Find(id string) (Seen, bool) {
	m, ok := v.s.Find(id)
	return Seen{m}, ok
}

// ID is the queue id.
func (m Seen) ID() string { return m.m.ID() }

// Size is the number of bytes of the message.
func (m Seen) Size() int64 { return m.m.Size() }

// Arrived is when it came.
func (m Seen) Arrived() time.Time { return m.m.Arrived() }

// Since is when its lifetime begins.
func (m Seen) Since() time.Time { return m.m.Since() }

// Attempts is how often it was tried.
func (m Seen) Attempts() int { return m.m.Attempts() }

// NextTry is when it is due; the zero time: at once.
func (m Seen) NextTry() time.Time { return m.m.NextTry() }

// Held reports whether there is a reason not to deliver it.
func (m Seen) Held() bool { return m.m.Held() }

// Envelope is that of Message; the error is ErrRemoved if a relay has removed or moved the
// message meanwhile.
func (m Seen) Envelope() (Envelope, error) {
	e, err := m.m.Envelope()
	return e, m.explain(err)
}

// Open is that of Message, with the error of Envelope.
func (m Seen) Open() (io.ReadSeekCloser, error) {
	r, err := m.m.Open()
	if err != nil {
		return nil, m.explain(err)
	}
	return r, nil
}

// explain tells what is damaged from what is no longer there.
func (m Seen) explain(err error) error {
	if err == nil || errors.Is(err, ErrClosed) {
		return err
	}
	name := mailName(m.m.id)
	if g := m.m.at().segment; g != nil {
		name = segmentName(g.number)
	}
	f, gone := m.m.s.d.open(name)
	if gone == nil {
		gone = f.close()
	}
	if errors.Is(gone, fs.ErrNotExist) {
		return fmt.Errorf("spool: %s: %w", m.ID(), errSeenGone)
	}
	return err
}

// lookDisk is a directory in which nothing is changed.
type lookDisk struct{ dirDisk }

// lookFile is a file of it.
type lookFile struct{ file }

var errLook = errors.New("this directory is only looked at")

// open waits for nobody, and follows no link.
func (d lookDisk) open(name string) (file, error) {
	f, err := openFile(d.at(name), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	return lookFile{f}, nil
}

// names gives those of a directory, and waits for nothing else of that name.
func (d lookDisk) names(dir string) ([]string, error) {
	f, err := os.OpenFile(d.at(dir), os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	return names, errors.Join(err, f.Close())
}

func (lookDisk) create(string) (file, error) { return nil, errLook }
func (lookDisk) rename(_, _ string) error    { return errLook }
func (lookDisk) unlink(string) error         { return errLook }
func (lookDisk) mkdir(string) error          { return errLook }
func (lookDisk) syncDir(string) error        { return nil }

func (lookFile) writeAt([][]byte, int64) error { return errLook }
func (lookFile) sync() error                   { return nil }

// troubles gathers what is logged as an error, a line for each.
type troubles struct {
	mu    sync.Mutex
	lines []string
}

const mostTroubles = 100

func (t *troubles) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (t *troubles) WithAttrs([]slog.Attr) slog.Handler           { return t }
func (t *troubles) WithGroup(string) slog.Handler                { return t }

func (t *troubles) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(strings.TrimPrefix(r.Message, "spool: "))
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, ", %s %v", a.Key, a.Value)
		return true
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) < mostTroubles {
		t.lines = append(t.lines, b.String())
	}
	return nil
}
