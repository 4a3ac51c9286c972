package deliver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"gatepost/internal/smtp"
	"gatepost/relay/spool"
)

// maxPlaceholder bounds what an address puts into a path: a file name has 255 bytes.
const maxPlaceholder = 128

// Maildir is the transport into maildirs on this machine. Every recipient gets a copy of
// his own.
type Maildir struct {
	path string // with placeholders
	host string // as file names have it
	pid  string

	delivered atomic.Uint64
}

// NewMaildir returns the transport into the maildirs at path, an absolute one, in which %u
// stands for the user (smtp.Mailbox.User), %d for its domain
// and %% for a per cent sign. Both are in lower case. hostName goes into file names.
func NewMaildir(path, hostName string) (*Maildir, error) {
	if !filepath.IsAbs(path) || strings.ContainsRune(path, 0) {
		return nil, fmt.Errorf("%q is no absolute path", path)
	}
	if _, err := expand(path, "user", "domain"); err != nil {
		return nil, err
	}
	host := strings.NewReplacer("/", `\057`, ":", `\072`).Replace(hostName)
	return &Maildir{path: filepath.Clean(path), host: host, pid: strconv.Itoa(os.Getpid())}, nil
}

// String is "maildir:PATH".
func (d *Maildir) String() string { return "maildir:" + d.path }

// Deliver writes m into the maildir of each recipient. A recipient whose name can be no
// part of a path fails; every trouble with files is worth another attempt.
func (d *Maildir) Deliver(ctx context.Context, _ string, m Message, recipients []int) []Result {
	env := m.Envelope()
	results := make([]Result, len(recipients))
	recorder, _ := m.(Recorder)
	for i, r := range recipients {
		results[i] = d.deliver(ctx, m, &env, env.Recipients[r].Address)
		if recorder != nil && i+1 < len(recipients) && results[i].Outcome != Deferred {
			recorder.Settled([]int{r}, []Result{results[i]})
		}
	}
	return results
}

func (d *Maildir) deliver(ctx context.Context, m Message, env *spool.Envelope, to string) Result {
	if ctx.Err() != nil {
		return Result{Status: statusMailbox, Reply: "given up before it was written", Relay: d.String()}
	}
	box := smtp.ParseMailbox(to, smtp.Syntax{NoUUCP: true, NoPercentHack: true})
	dir, err := expand(d.path, box.User(), strings.TrimSuffix(box.Domain, "."))
	if err == nil {
		err = checkHeader(env.Sender, to)
	}
	if err != nil {
		return Result{Outcome: Failed, Status: statusBadMailbox, Reply: Sanitise([]byte(err.Error())), Relay: d.String()}
	}
	name, err := d.write(dir, m, env.Sender, to)
	switch {
	case errors.Is(err, errLoneCRLF):
		return Result{Outcome: Failed, Status: statusBadContent, Reply: err.Error(), Relay: d.String()}
	case errors.Is(err, spool.ErrDamaged):
		return Result{Outcome: Failed, Status: statusBadContent, Reply: spool.ErrDamaged.Error(), Relay: d.String()}
	case err != nil:
		return Result{Status: statusMailbox, Reply: cut("cannot write into the maildir: " + cause(err)), Relay: d.String()}
	}
	return Result{Outcome: Delivered, Status: statusOK, Reply: "stored as " + Sanitise([]byte(name)), Relay: d.String(), Final: true}
}

// expand puts the parts of an address into a path.
func expand(path, local, domain string) (string, error) {
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' {
			out.WriteByte(path[i])
			continue
		}
		if i++; i == len(path) {
			return "", fmt.Errorf("%q ends in a %%; %%u, %%d or %%%% was expected", path)
		}
		part := ""
		switch path[i] {
		case '%':
			out.WriteByte('%')
			continue
		case 'u':
			part = local
		case 'd':
			part = domain
		default:
			return "", fmt.Errorf("%q: %%u, %%d or %%%% was expected", path)
		}
		if err := checkPart(part); err != nil {
			return "", err
		}
		out.WriteString(strings.ToLower(part))
	}
	return out.String(), nil
}

// checkPart refuses what could lead out of the place that it stands at, or is no sensible
// name of a folder.
func checkPart(part string) error {
	switch {
	case part == "":
		return errors.New("a part of the address that names the maildir is empty")
	case len(part) > maxPlaceholder:
		return fmt.Errorf("a part of the address that names the maildir has more than %d bytes", maxPlaceholder)
	case part[0] == '.' || strings.Contains(part, "/") || !utf8.ValidString(part) || strings.ContainsFunc(part, unprintable):
		return errors.New("the address can name no maildir")
	}
	return nil
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }

// checkHeader refuses what would make another line of a header field of ours.
func checkHeader(paths ...string) error {
	for _, path := range paths {
		if strings.ContainsAny(path, "\r\n\x00") {
			return errors.New("the address has a line break")
		}
	}
	return nil
}

// write is the way of maildir(5): into tmp, to the disk, and then into new. When it
// returns without an error the message is there whatever happens.
func (d *Maildir) write(dir string, m Message, sender, to string) (name string, err error) {
	for _, sub := range []string{"tmp", "cur", "new"} {
		if err := makeDir(filepath.Join(dir, sub)); err != nil {
			return "", err
		}
	}
	now := time.Now()
	name = fmt.Sprintf("%d.M%dP%sQ%d.%s", now.Unix(), now.Nanosecond()/1000, d.pid, d.delivered.Add(1), d.host)
	tmp := filepath.Join(dir, "tmp", name)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	err = copyTo(f, m, "Return-Path: <"+sender+">\nDelivered-To: "+to+"\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, filepath.Join(dir, "new", name))
	}
	if err != nil {
		os.Remove(tmp)
		return "", err
	}
	return name, syncDir(filepath.Join(dir, "new"))
}

// copyTo writes the message with the line ends of UNIX.
func copyTo(f *os.File, m Message, header string) error {
	body, err := m.Open()
	if err != nil {
		return err
	}
	defer body.Close()
	b := bufferPool.Get().(*buffers)
	defer bufferPool.Put(b)
	b.wire = append(b.wire[:0], header...)
	var lines unixLines
	for {
		n, readErr := io.ReadFull(body, b.src[:])
		end := errors.Is(readErr, io.EOF) || errors.Is(readErr, io.ErrUnexpectedEOF)
		if readErr != nil && !end {
			return readErr
		}
		if b.wire, err = lines.append(b.wire, b.src[:n], end); err != nil {
			return err
		}
		if _, err = f.Write(b.wire); err != nil || end {
			return err
		}
		b.wire = b.wire[:0]
	}
}

// unixLines makes LF of CRLF. It takes the message in pieces.
type unixLines struct {
	cr bool // the piece before ended in one
}

func (l *unixLines) append(dst, src []byte, end bool) ([]byte, error) {
	for len(src) > 0 {
		if l.cr && src[0] != '\n' {
			return dst, errLoneCRLF
		}
		n := bytes.IndexByte(src, '\r')
		line := src
		if n >= 0 {
			line = src[:n]
		}
		if at := bytes.IndexByte(line, '\n'); at > 0 || at == 0 && !l.cr || bytes.Count(line, []byte{'\n'}) > 1 {
			return dst, errLoneCRLF
		}
		dst = append(dst, line...)
		src = src[len(line):]
		if l.cr = n >= 0; l.cr {
			src = src[1:]
		}
	}
	if end && l.cr {
		return dst, errLoneCRLF
	}
	return dst, nil
}

// makeDir makes a folder, and those above it, so that they outlive a crash.
func makeDir(dir string) error {
	switch info, err := os.Stat(dir); {
	case err == nil && info.IsDir():
		return nil
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
