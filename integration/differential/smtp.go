package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	startLimit = 10 * time.Second // until the daemon listens
	replyLimit = 20 * time.Second // for one reply
	maxReply   = 100              // lines
)

// clientNetworks are those that sessions over SMTP may come from; the worker's
// namespace takes all of them as its own addresses.
func clientNetworks() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
		netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
		netip.MustParsePrefix("2001:db8::/32"),
	}
}

// speaksSMTP says whether sessions under the policy can be held: waiting and
// counting are left to test mode.
func speaksSMTP(p *Policy) bool {
	return !p.has("greet_pause", "ratecontrol", "conncontrol", "compat_check")
}

// heldOverSMTP says whether the session can be held: no TLS, no AUTH, a client
// address that we can have.
func heldOverSMTP(s *Session) bool {
	addr, err := netip.ParseAddr(s.Client.Address)
	if err != nil || s.Auth != nil || s.TLS != nil {
		return false
	}
	for _, n := range clientNetworks() {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// converse holds the sessions with a daemon. A verdict of address parsing, which
// test mode does not see, is taken over; other differences are notes.
func (r *recorder) converse(ctx context.Context, p *Policy) (notes []string, err error) {
	stop, err := r.daemon(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	for i := range p.Sessions {
		s := &p.Sessions[i]
		if !heldOverSMTP(s) || notOverSMTP(s) {
			continue
		}
		heard, err := hold(ctx, s)
		if err != nil {
			return notes, fmt.Errorf("session %d: %w", i, err)
		}
		if note := merge(s, heard); note != "" {
			notes = append(notes, fmt.Sprintf("%s session %d from %s, %s to %s: %s",
				p.ID, i, s.Client.Address, s.MailFrom, strings.Join(s.RcptTo, " "), note))
		}
	}
	return notes, nil
}

// daemon starts sendmail and returns when it listens.
func (r *recorder) daemon(ctx context.Context) (stop func(), err error) {
	if err := os.MkdirAll(r.path(configDir+"mqueue"), 0o700); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, binDir+"sendmail", "-C"+configFile, "-bD")
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: r.root, Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/usr/sbin:/bin:/sbin", "LC_ALL=C"}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() { cancel(); <-ended }
	limit := time.After(startLimit)
	for _, address := range []string{server4, server6} {
		for !listens(address) {
			select {
			case err := <-ended:
				cancel()
				return nil, fmt.Errorf("the daemon ended: %w", err)
			case <-limit:
				stop()
				return nil, fmt.Errorf("the daemon does not listen on %s", address)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return stop, nil
}

// The daemon's addresses, in its own network.
const (
	server4 = "127.0.0.1:25"
	server6 = "[::1]:25"
)

func listens(address string) bool {
	conn, err := net.DialTimeout("tcp", address, startLimit)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// talk is an SMTP connection.
type talk struct {
	conn net.Conn
	in   *bufio.Reader
}

// hold holds one session and says what each stage answered.
func hold(ctx context.Context, s *Session) (Expected, error) {
	e := Expected{Rcpt: []Verdict{}}
	from, server := netip.MustParseAddr(s.Client.Address), server4
	if from.Is6() {
		server = server6
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}, Timeout: replyLimit, Control: anyAddress}
	conn, err := d.DialContext(ctx, "tcp", server)
	if err != nil {
		return e, err
	}
	defer conn.Close()
	t := &talk{conn, bufio.NewReader(conn)}
	if e.Connect, err = t.greeting(s.Helo); err != nil || e.Connect.refuses() {
		return e, err
	}
	if e.Mail, err = t.ask("MAIL FROM:"+s.MailFrom, s.MailFrom); err != nil || e.Mail.refuses() {
		return e, err
	}
	for _, to := range s.RcptTo {
		v, err := t.ask("RCPT TO:"+to, to)
		if err != nil {
			return e, err
		}
		e.Rcpt = append(e.Rcpt, *v)
	}
	_, err = t.ask("QUIT", "")
	return e, err
}

// anyAddress lets a socket have an address that no interface has, only the routes.
func anyAddress(network, _ string, c syscall.RawConn) error {
	if network != "tcp6" {
		return nil
	}
	var bad error
	err := c.Control(func(fd uintptr) {
		bad = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	})
	return errors.Join(err, bad)
}

// greeting is the connection's verdict. Sendmail greets even clients that it
// refuses, and answers EHLO; the next command tells.
func (t *talk) greeting(helo string) (*Verdict, error) {
	v, err := t.read("")
	if err != nil || v.refuses() {
		return v, err
	}
	if v, err = t.ask("EHLO "+helo, ""); err != nil {
		return v, err
	}
	if v.refuses() {
		return v, fmt.Errorf("EHLO %s: %s", helo, v)
	}
	return t.ask("VRFY postmaster", "")
}

// ask sends a command line and reads the reply; address is what the reply's text may begin with.
func (t *talk) ask(line, address string) (*Verdict, error) {
	if err := t.conn.SetWriteDeadline(time.Now().Add(replyLimit)); err != nil {
		return nil, err
	}
	if _, err := t.conn.Write([]byte(line + "\r\n")); err != nil {
		return nil, fmt.Errorf("%s: %w", line, err)
	}
	v, err := t.read(address)
	if err != nil {
		return v, fmt.Errorf("%s: %w", line, err)
	}
	return v, nil
}

func (t *talk) read(address string) (*Verdict, error) {
	if err := t.conn.SetReadDeadline(time.Now().Add(replyLimit)); err != nil {
		return nil, err
	}
	for range maxReply {
		line, err := t.in.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if len(line) < 4 || !digits(line[:3]) {
			return nil, fmt.Errorf("not a reply: %q", line)
		}
		if line[3] == ' ' {
			return replyVerdict(line, address), nil
		}
	}
	return nil, errors.New("a reply of too many lines")
}

// replyVerdict reads a reply's last line. Sendmail puts the address before texts
// of the codes 450, 550 and 553.
func replyVerdict(line, address string) *Verdict {
	code, err := strconv.Atoi(line[:3])
	if err != nil || code < 400 {
		return &Verdict{Action: "accept"}
	}
	v := &Verdict{Action: "reject", Code: code, Text: line[4:]}
	if code < 500 {
		v.Action = "tempfail"
	}
	if first, rest, ok := strings.Cut(v.Text, " "); ok && enhanced(first) {
		v.Enhanced, v.Text = first, rest
	}
	if address != "" && (code == 450 || code == 550 || code == 553) {
		v.Text = strings.TrimPrefix(v.Text, address+"... ")
	}
	return v
}

// merge compares what SMTP showed with what the rule sets said. Discard and
// quarantine do not show.
func merge(s *Session, heard Expected) (note string) {
	e := &s.Expected
	if note := differs("connect", e.Connect, heard.Connect); note != "" || e.Connect.refuses() {
		return note
	}
	if e.Mail.sayNot(heard.Mail) {
		e.Mail, e.Rcpt, s.OverSMTP = heard.Mail, []Verdict{}, true
		e.Mail.Syntax = true
		return ""
	}
	if note := differs("MAIL", e.Mail, heard.Mail); note != "" || e.Mail.refuses() {
		return note
	}
	for i := range e.Rcpt {
		if e.Rcpt[i].sayNot(&heard.Rcpt[i]) {
			e.Rcpt[i], s.OverSMTP = heard.Rcpt[i], true
			e.Rcpt[i].Syntax = true
			continue
		}
		if note := differs("RCPT "+s.RcptTo[i], &e.Rcpt[i], &heard.Rcpt[i]); note != "" {
			return note
		}
	}
	return ""
}

// sayNot says whether SMTP refused an address for its syntax where the rule sets
// did not: characters, brackets and the like are looked at before any rule set.
func (v *Verdict) sayNot(heard *Verdict) bool {
	if v.refuses() && v.Text == heard.Text {
		return false
	}
	switch heard.Text {
	case "User address required", "Hostname required", "Invalid host name", "Invalid route address",
		"Colon illegal in host name part", "Invalid address", "List:; syntax illegal for recipient addresses":
		return heard.Enhanced == "5.1.2" || heard.Enhanced == "5.1.3"
	}
	return heard.Code == 501 || heard.Code == 553 && strings.HasPrefix(heard.Text, "Unbalanced '")
}

// differs compares one verdict of the two ways.
func differs(where string, ruled, heard *Verdict) string {
	silent := func(v *Verdict) bool { return v != nil && !v.refuses() }
	if silent(ruled) && silent(heard) {
		return ""
	}
	if ruled != nil && heard != nil {
		same := *ruled
		if same.Syntax = false; same == *heard {
			return ""
		}
	}
	return fmt.Sprintf("%s: the rule sets say %q, SMTP %q", where, ruled, heard)
}
