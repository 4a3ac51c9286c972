package setup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"log/syslog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"gatepost/internal/config"
	"gatepost/internal/smtp"
	"gatepost/maps"
	"gatepost/policy"
)

func rejection() *policy.Decision {
	v := policy.Verdict{Action: policy.Reject, Reply: smtp.MustReply(550, "5.7.1", "No\nthanks")}
	return &policy.Decision{Stage: policy.StageRcpt, Verdict: v, Steps: []policy.Step{{
		Rule: "a rule", Verdict: v, Err: errors.New("no answer"),
		Asked: []policy.Answer{{Table: "access", Key: "k", Found: true, Source: maps.Source{File: "/etc/mail/access", Line: 7}}},
	}}}
}

func TestObserveLine(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(config.Log{Level: "info", Format: "json", Output: "stderr"}, "test", &out)
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{log: log.Logger, metrics: newMetrics()}
	f := facts("<you@elsewhere.example>")
	f.Helo.Name = "evil\r\nname \x1b[31m" + strings.Repeat("x", 1000)
	f.Mail.QueueID = "4A2B"
	e.Observe(f, rejection(), 1500*time.Microsecond)
	log.Close(t.Context())
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Fatalf("%d lines, want 1: %q", n, out.String())
	}
	got := map[string]any{}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	want := map[string]any{
		"level": "INFO", "msg": "decision", "stage": "rcpt", "action": "reject", "reply": "550 5.7.1 No / thanks",
		"rule": "a rule", "source": "/etc/mail/access:7", "error": "no answer", "client": "203.0.113.9", "name": "client.example",
		"helo": ("evil\r\nname \x1b[31m" + strings.Repeat("x", 1000))[:maxLogged] + "...",
		"from": "<me@stranger.example>", "to": "<you@elsewhere.example>", "queue": "4A2B", "took": 1.5e6,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("logged (-want +got):\n%s", diff)
	}
}

// TestObserveStages has the facts that belong to a stage and not to an earlier message.
func TestObserveStages(t *testing.T) {
	for _, tc := range []struct {
		stage policy.Stage
		want  []string
		not   []string
	}{
		{policy.StageConnect, []string{"client="}, []string{"helo=", "from=", "to=", "queue="}},
		{policy.StageHelo, []string{"client=", "helo="}, []string{"from=", "to="}},
		{policy.StageMail, []string{"helo=", "from="}, []string{"to="}},
		{policy.StageRcpt, []string{"helo=", "from=", "to="}, []string{"\n\n"}},
	} {
		var out bytes.Buffer
		e := &Engine{log: slog.New(slog.NewTextHandler(&out, nil)), metrics: newMetrics()}
		e.Observe(facts("<you@elsewhere.example>"), &policy.Decision{Stage: tc.stage, Steps: []policy.Step{{Rule: "r"}}}, 0)
		for _, w := range tc.want {
			if !strings.Contains(out.String(), " "+w) {
				t.Errorf("%s: line %q has no %s", tc.stage, out.String(), w)
			}
		}
		for _, n := range tc.not {
			if strings.Contains(out.String(), " "+n) {
				t.Errorf("%s: line %q has %s", tc.stage, out.String(), n)
			}
		}
	}
}

// TestObserveNothingDecided: a stage without rules is not worth a line or a count.
func TestObserveNothingDecided(t *testing.T) {
	var out bytes.Buffer
	e := &Engine{log: slog.New(slog.NewTextHandler(&out, nil)), metrics: newMetrics()}
	e.Observe(facts("<you@elsewhere.example>"), &policy.Decision{Stage: policy.StageHelo, Verdict: policy.Verdict{Action: policy.Accept}}, 0)
	if out.Len() > 0 || len(*e.metrics.known.Load()) > 0 {
		t.Errorf("logged %q and counted %d kinds of decision, want neither", out.String(), len(*e.metrics.known.Load()))
	}
}

func TestTextLogHasNoRawControls(t *testing.T) {
	var out bytes.Buffer
	e := &Engine{log: slog.New(slog.NewTextHandler(&out, nil)), metrics: newMetrics()}
	f := facts("<a\x1b[2J\r\nlevel=ERROR@b>")
	f.Helo.Name = "x\ny\x00\x7f"
	e.Observe(f, rejection(), 0)
	line := strings.TrimSuffix(out.String(), "\n")
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("control characters in the log line %q", line)
	}
}

func TestLevel(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(config.Log{Level: "warn", Format: "text", Output: "stderr"}, "test", &out)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("hidden")
	log.SetLevel("debug")
	log.Debug("seen")
	log.Close(t.Context())
	if got := out.String(); strings.Contains(got, "hidden") || !strings.Contains(got, "seen") {
		t.Errorf("log %q, want only the line after the change of level", got)
	}
}

// scrape is what a monitoring system sees.
func scrape(t *testing.T, e *Engine) string {
	t.Helper()
	w := httptest.NewRecorder()
	e.MetricsHandler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Errorf("metrics answered %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	e := newPlace(t).open()
	d := rejection()
	d.Steps[0].Rule = "odd \"rule\"\n\\"
	e.Observe(facts("<a@b>"), d, 20*time.Microsecond)
	e.Observe(facts("<a@b>"), d, time.Minute)
	own := prometheus.NewGauge(prometheus.GaugeOpts{Name: "x_g", Help: "G."})
	own.Set(1.5)
	if err := e.Register(own); err != nil {
		t.Fatal(err)
	}
	out := scrape(t, e)
	for _, want := range []string{
		`gatepost_decisions_total{action="reject",rule="odd \"rule\"\n\\",stage="rcpt"} 2`,
		`gatepost_decision_seconds_bucket{stage="rcpt",le="1e-05"} 0`,
		`gatepost_decision_seconds_bucket{stage="rcpt",le="3e-05"} 1`,
		`gatepost_decision_seconds_bucket{stage="rcpt",le="10"} 1`,
		`gatepost_decision_seconds_bucket{stage="rcpt",le="+Inf"} 2`,
		`gatepost_decision_seconds_sum{stage="rcpt"} 60.00002`,
		`gatepost_table_entries{kind="text",path="` + e.Config().Tables.Access.Maps[0].Path + `",table="access"} 1`,
		`x_g 1.5`,
	} {
		if !strings.Contains(out, "\n"+want+"\n") {
			t.Errorf("metrics have no line %s:\n%s", want, out)
		}
	}
}

// TestSyslog has a syslog daemon's socket, and one that nobody reads.
func TestSyslog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w, err := syslog.Dial("unixgram", path, syslog.LOG_MAIL|syslog.LOG_INFO, "gatepost-milter")
	if err != nil {
		t.Fatal(err)
	}
	l := &Logger{level: new(slog.LevelVar)}
	l.toSyslog("text", w)
	l.With("k", "v").Warn("two\nlines")
	l.Info("plain")
	want := []*regexp.Regexp{
		regexp.MustCompile(`^<20>.* gatepost-milter\[\d+\]: msg="two\\nlines" k=v\n$`),
		regexp.MustCompile(`^<22>.* gatepost-milter\[\d+\]: msg=plain\n$`),
	}
	b := make([]byte, 1000)
	for _, re := range want {
		if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if !re.Match(b[:n]) {
			t.Errorf("syslog got %q, want %s", b[:n], re)
		}
	}
	l.Close(t.Context())
}

// stuck is a syslog daemon that takes nothing until released.
type stuck struct{ release chan struct{} }

func (s stuck) wait(string) error         { <-s.release; return nil }
func (s stuck) Debug(line string) error   { return s.wait(line) }
func (s stuck) Info(line string) error    { return s.wait(line) }
func (s stuck) Warning(line string) error { return s.wait(line) }
func (s stuck) Err(line string) error     { return io.ErrClosedPipe }

func TestSyslogStuck(t *testing.T) {
	s := stuck{make(chan struct{})}
	l := &Logger{level: new(slog.LevelVar)}
	l.toSyslog("json", s)
	for range syslogQueueLen + 100 {
		l.Info("x")
	}
	if got := l.Dropped(); got < 99 || got > 100 {
		t.Errorf("%d lines dropped, want 99 or 100 beyond the queue", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	l.Close(ctx) // must not wait for the stuck daemon
	close(s.release)
	l.Close(t.Context())
	before := l.Dropped()
	if before > 100 {
		t.Errorf("%d lines dropped after release, want the queue written", before)
	}
}

func BenchmarkObserve(b *testing.B) {
	for _, bc := range []struct{ name, level string }{{"logged", "info"}, {"silent", "error"}} {
		b.Run(bc.name, func(b *testing.B) {
			log, err := NewLogger(config.Log{Level: bc.level, Format: "text"}, "test", io.Discard)
			if err != nil {
				b.Fatal(err)
			}
			e := &Engine{log: log.Logger, metrics: newMetrics()}
			f, d := facts("<you@elsewhere.example>"), rejection()
			b.ReportAllocs()
			for b.Loop() {
				e.Observe(f, d, time.Microsecond)
			}
		})
	}
}
