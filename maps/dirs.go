package maps

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// directories has the file system tell of events in the tables' directories: of
// the directory and not the file, since editors put a new file in its place.
// It only makes the watcher quicker; without it, polling does.
type directories struct {
	log    *slog.Logger
	notify *fsnotify.Watcher // nil when notifications are not to be had
	known  map[string]os.FileInfo
	said   map[string]string // last complaint about each directory
}

func newDirectories(log *slog.Logger, tables []*Table, notify func() (*fsnotify.Watcher, error)) *directories {
	d := &directories{log: log, known: map[string]os.FileInfo{}, said: map[string]string{}}
	for _, t := range tables {
		for _, file := range t.spec.files() {
			d.known[filepath.Dir(file)] = nil
		}
	}
	var err error
	if d.notify, err = notify(); err != nil {
		d.notify = nil
		log.Warn("no file notifications, table files are polled", "error", err)
	}
	return d
}

// refresh begins to watch directories that have appeared, or that are others than
// before: a path may lead through a symbolic link that was changed.
func (d *directories) refresh() {
	if d.notify == nil {
		return
	}
	for dir, before := range d.known {
		now, err := os.Stat(dir)
		if err != nil {
			d.known[dir] = nil // the tables' own faults tell of it
			continue
		}
		if before != nil && os.SameFile(before, now) {
			continue
		}
		// What was watched under this name may be elsewhere now, or gone.
		_ = d.notify.Remove(dir)
		if err := d.notify.Add(dir); err != nil {
			d.known[dir] = nil
			d.complain(dir, err)
			continue
		}
		d.known[dir] = now
		delete(d.said, dir)
	}
}

// heard forgets a directory that was removed or renamed; refresh finds its successor.
func (d *directories) heard(event fsnotify.Event) {
	if _, ok := d.known[event.Name]; ok && event.Op&(fsnotify.Remove|fsnotify.Rename) != 0 {
		d.known[event.Name] = nil
	}
}

// complain warns of a fault, once until another one comes.
func (d *directories) complain(dir string, err error) {
	if d.said[dir] != err.Error() {
		d.said[dir] = err.Error()
		d.log.Warn("file notifications fail, table files are polled", "directory", dir, "error", err)
	}
}

func (d *directories) events() (<-chan fsnotify.Event, <-chan error) {
	if d.notify == nil {
		return nil, nil
	}
	return d.notify.Events, d.notify.Errors
}

func (d *directories) close() {
	if d.notify != nil {
		_ = d.notify.Close()
	}
}
