package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxFile bounds the size of a configuration file, in bytes.
const maxFile = 256 << 10

// maxMessage bounds what a message repeats of the file, in bytes.
const maxMessage = 500

// Error is one thing that is wrong with a configuration file.
type Error struct {
	File    string
	Line    int // from 1; 0 when it concerns the file as a whole
	Message string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
}

// Load reads the file. The error joins (errors.Join) one *Error for every fault
// that was found, in the order of the lines. A file that cannot be opened gives
// the error of the operating system, so that errors.Is(err, fs.ErrNotExist) works.
func Load(path string) (*Config, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return Parse(path, data)
}

// openRegular opens a file without waiting, as a named pipe would make it.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Parse is Load for the bytes of the file at path.
func Parse(path string, data []byte) (*Config, error) {
	if len(data) > maxFile {
		return nil, &Error{File: path, Message: fmt.Sprintf("the file is too large, expected at most %d bytes", maxFile)}
	}
	doc, err := parseDocument(path, data)
	if err != nil {
		return nil, err
	}
	c := Default()
	c.File = path
	r := &reader{doc: doc, dir: filepath.Dir(path)}
	r.table(c, value{r: r, v: doc.values}, topKeys())
	r.checkWhole(c)
	if len(r.faults) > 0 {
		return nil, r.err()
	}
	return c, nil
}

// reader walks the document and collects what is wrong with it.
type reader struct {
	doc    *document
	dir    string // relative paths start here
	faults []*Error
}

func (r *reader) fault(path, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "..."
	}
	r.faults = append(r.faults, &Error{File: r.doc.name, Line: r.doc.line(path), Message: message})
}

func (r *reader) err() error {
	slices.SortStableFunc(r.faults, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Message, b.Message))
	})
	all := make([]error, len(r.faults))
	for i, f := range r.faults {
		all[i] = f
	}
	return errors.Join(all...)
}

// table reads each key of v by the row of keys that has its name.
func (r *reader) table(c *Config, v value, keys []key) {
	m, ok := v.v.(map[string]any)
	if !ok {
		v.wrong("expected a table, [%s]", v.path)
		return
	}
	for name, x := range m {
		child := value{r: r, path: join(v.path, name), v: x}
		i := slices.IndexFunc(keys, func(k key) bool { return k.name == name })
		if i < 0 {
			r.fault(child.path, "unknown key %s%s", child.path, suggest(v.path, name))
			continue
		}
		if keys[i].read == nil {
			r.fault(child.path, "%s is not supported by this version", child.path)
			continue
		}
		keys[i].read(c, child)
	}
}

// checkWhole checks what no single key can tell.
func (r *reader) checkWhole(c *Config) {
	f := &c.Features
	for name, control := range map[string]Control{"ratecontrol": f.RateControl, "conncontrol": f.ConnControl} {
		if control.NoDelay && f.DelayChecks == "" {
			r.fault("features."+name, "features.%s has the argument nodelay, which needs delay_checks", name)
		}
	}
	if c.UnixWare() && f.PromiscuousRelay {
		r.fault("features.promiscuous_relay", "features.promiscuous_relay relays for everybody but features.check_rcpt is \"unixware\", expected one of the two")
	}
	if c.Tables.VirtualHosts.Named && !c.UnixWare() {
		r.fault("tables.virtual_hosts", "tables.virtual_hosts means nothing without check_rcpt = \"unixware\" under [features]; sendmail's own place for such names is tables.local_host_names")
	}
	if !f.AccessDB {
		r.checkWithoutAccess(c)
	}
	r.checkDirectories(c)
	r.checkLists(c)
	r.checkRelay(c)
	r.checkSecure(c)
	r.checkSockets(c)
	r.checkMasquerade(c)
	r.checkQueue(c)
	r.checkListeners(c)
}

// checkWithoutAccess finds what makes no sense without the access table.
func (r *reader) checkWithoutAccess(c *Config) {
	f := &c.Features
	if c.Tables.Access.Named {
		r.fault("features.access_db", "features.access_db is false but tables.access names a file, expected one of the two")
	}
	for _, dep := range []struct {
		name string
		on   bool
	}{
		{"blocklist_recipients", f.BlocklistRecipients},
		{"relay_mail_from", f.RelayMailFrom},
		{"lookupdotdomain", f.AccessLookupDotDomain},
		{"ratecontrol", f.RateControl.On},
		{"conncontrol", f.ConnControl.On},
		{"compat_check", f.CompatCheck},
		{"delay_checks", f.DelayChecks == "friend" || f.DelayChecks == "hater"},
		{"greet_pause", f.GreetPause && f.GreetPauseTime == 0},
	} {
		if dep.on {
			r.fault("features."+dep.name, "features.%s needs the access table, expected access_db not to be false", dep.name)
		}
	}
}
