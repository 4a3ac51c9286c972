package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	cfDir      = "/usr/share/sendmail/cf/"
	binDir     = "/usr/libexec/sendmail/"
	configFile = configDir + "sendmail.cf"
	runLimit   = time.Minute // for one run of m4, makemap or test mode
	maxOutput  = 64 << 20    // of one run
)

// recorder runs sendmail in its root. It is made inside the namespaces, where
// host name and name server are ours; see worker.
type recorder struct {
	root  string
	names *nameServer
}

// record fills in what sendmail decides for each session of the policy. With smtp
// the sessions that can be held are held too; what the two ways see differently
// comes back as notes.
func (r *recorder) record(ctx context.Context, p *Policy, smtp bool) (notes []string, err error) {
	if err := r.configure(ctx, p); err != nil {
		return nil, fmt.Errorf("%s: %w", p.ID, err)
	}
	froms, err := r.senders(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.ID, err)
	}
	if err := r.rulesets(ctx, p, froms); err != nil {
		return nil, fmt.Errorf("%s: %w", p.ID, err)
	}
	if smtp && speaksSMTP(p) {
		if notes, err = r.converse(ctx, p); err != nil {
			return nil, fmt.Errorf("%s: by SMTP: %w", p.ID, err)
		}
	}
	return notes, nil
}

// configure makes the policy the one that sendmail in this root has.
func (r *recorder) configure(ctx context.Context, p *Policy) error {
	for name, text := range tables(p) {
		if err := os.WriteFile(r.path(configDir+name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	r.names.facts.Store(newFacts(p.DNS))
	if err := unix.Sethostname([]byte(p.HostName)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	cf, err := r.run(ctx, nil, "/usr/bin/m4", "-D_CF_DIR_="+cfDir, cfDir+"m4/cf.m4", configDir+"sendmail.mc")
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.path(configFile), cf, 0o644); err != nil {
		return err
	}
	return r.makeAccess(ctx, p)
}

// makeAccess runs makemap, which ends badly after lines it does not take, but
// writes the map.
func (r *recorder) makeAccess(ctx context.Context, p *Policy) error {
	db := r.path(configDir + "access.db")
	if err := os.Remove(db); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if !p.has("access_db") {
		return nil
	}
	_, err := r.run(ctx, []byte(p.Access), binDir+"makemap", "-C", configFile, "hash", configDir+"access")
	if _, missing := os.Stat(db); missing != nil {
		return errors.Join(missing, err)
	}
	return nil
}

func (r *recorder) path(inRoot string) string { return filepath.Join(r.root, inRoot) }

// run runs a program in the root and returns its standard output. What it was
// doing when ctx or runLimit ends it is lost.
func (r *recorder) run(ctx context.Context, stdin []byte, name string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: r.root, Pdeathsig: syscall.SIGKILL}
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/usr/sbin:/bin:/sbin", "LC_ALL=C"}
	cmd.Stdin = bytes.NewReader(stdin)
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if out.Len() > maxOutput {
		return nil, fmt.Errorf("%s: %d bytes of output", name, out.Len())
	}
	if err != nil {
		return out.Bytes(), fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(bad.String()))
	}
	return out.Bytes(), nil
}

// ask puts a script to test mode. Its exit status means nothing: it is that of the
// last rule set.
func (r *recorder) ask(ctx context.Context, s *script) ([][]string, error) {
	out, err := r.run(ctx, []byte(s.text.String()), binDir+"sendmail", "-C"+configFile, "-bt")
	answers := s.answers(string(out))
	for i, a := range answers {
		if a == nil {
			return nil, fmt.Errorf("no answer to call %d, %s: %w: %s", i, s.calls[i], errors.Join(err, ctx.Err()), tail(out))
		}
	}
	return answers, nil
}

func tail(out []byte) string {
	const enough = 2000
	if len(out) > enough {
		out = out[len(out)-enough:]
	}
	return string(out)
}

// senders makes the macro f of each session: the sender after the rule sets for
// senders, blanks replaced by option BlankSub.
func (r *recorder) senders(ctx context.Context, p *Policy) ([]string, error) {
	var s script
	for i := range p.Sessions {
		s.call("canonify,1,final", p.Sessions[i].MailFrom)
	}
	answers, err := r.ask(ctx, &s)
	if err != nil {
		return nil, fmt.Errorf("senders: %w", err)
	}
	list := make([]string, len(answers))
	for i, tokens := range answers {
		list[i] = joinWith(tokens, ".")
	}
	return list, nil
}

// sessionCalls are the numbers of the calls made for a session; connect, mail and
// pause are -1 where sendmail calls nothing.
type sessionCalls struct {
	connect, mail, pause int
	parseMail            int
	parse, rcpt, compat  []int // one for each recipient
}

func (r *recorder) rulesets(ctx context.Context, p *Policy, froms []string) error {
	var s script
	calls := make([]sessionCalls, len(p.Sessions))
	for i := range p.Sessions {
		calls[i] = sessionScript(&s, p, &p.Sessions[i], froms[i])
	}
	answers, err := r.ask(ctx, &s)
	if err != nil {
		return err
	}
	for i := range p.Sessions {
		session := &p.Sessions[i]
		if session.Expected, err = calls[i].expected(answers); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
	}
	return nil
}

// sessionScript adds a session's macros and calls, all of them: which verdicts
// count is known only with the answers.
func sessionScript(s *script, p *Policy, session *Session, from string) sessionCalls {
	client := &session.Client
	auth, tls := session.Auth, session.TLS
	if auth == nil {
		auth = &Auth{}
	}
	if tls == nil {
		tls = &TLS{Verify: "NONE"}
	}
	for _, d := range [][2]string{
		{"{client_addr}", client.Addr}, {"{client_name}", client.Name}, {"{client_ptr}", client.Ptr},
		{"{client_resolve}", client.Resolve}, {"s", ""}, {"f", from},
		{"{auth_type}", auth.Type}, {"{auth_authen}", auth.Authen},
		{"{verify}", tls.Verify}, {"{cert_subject}", tls.Subject}, {"{cert_issuer}", tls.Issuer},
		{"{client_rate}", strconv.Itoa(session.Rate)}, {"{client_connections}", strconv.Itoa(session.Connections)},
	} {
		s.define(d[0], d[1])
	}
	c := sessionCalls{connect: -1, mail: -1, pause: -1, parseMail: s.call(parseRulesets, session.MailFrom)}
	if p.has("greet_pause") {
		c.pause = s.call(callPause, "x")
	}
	if checksAtOnce(p) {
		c.connect = s.call(callRelay, "x")
	}
	s.define("s", session.Helo) // HELO comes after the checks of the connection
	if !p.has("delay_checks") {
		c.mail = s.call("check_mail", session.MailFrom)
	}
	for _, to := range session.RcptTo {
		c.parse = append(c.parse, s.call(parseRulesets, to))
		c.rcpt = append(c.rcpt, s.call("check_rcpt", to))
		if p.has("compat_check") {
			s.define("{try_sender}", session.MailFrom)
			s.define("{try_recipient}", to)
			c.compat = append(c.compat, s.call(callCompat, "x"))
		}
	}
	return c
}

// parseRulesets are those that every address goes through before a check_... sees
// it; an error there is one of syntax.
const parseRulesets = "canonify,parse"

// answered reads the answers of test mode. Call -1 accepts.
type answered [][]string

func (a answered) at(call int) Verdict {
	if call < 0 {
		return Verdict{Action: "accept"}
	}
	return verdict(a[call])
}

// address is the verdict on an address, parsed by one call and checked by another.
func (a answered) address(parse, check int) Verdict {
	if v := a.at(parse); v.refuses() {
		v.Syntax = true
		return v
	}
	return a.at(check)
}

func (c *sessionCalls) expected(answers answered) (Expected, error) {
	connect := answers.at(c.connect)
	e := Expected{Connect: &connect, Rcpt: []Verdict{}}
	if c.pause >= 0 {
		ms := 0
		if tokens := answers[c.pause]; len(tokens) > 1 && tokens[0] == "$#" {
			var err error
			if ms, err = strconv.Atoi(tokens[1]); err != nil {
				return e, fmt.Errorf("greet_pause: %w", err)
			}
		}
		e.GreetPause = &ms
	}
	for _, call := range c.compat {
		e.Compat = append(e.Compat, answers.at(call))
	}
	if connect.refuses() {
		return e, nil
	}
	mail := answers.address(c.parseMail, c.mail)
	if e.Mail = &mail; mail.refuses() {
		return e, nil
	}
	for i := range c.rcpt {
		e.Rcpt = append(e.Rcpt, answers.address(c.parse[i], c.rcpt[i]))
	}
	return e, nil
}
