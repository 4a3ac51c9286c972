package session

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"gatepost/policy"
	"gatepost/relay/spool"
)

func TestParseNotify(t *testing.T) {
	for value, want := range map[string]spool.Notify{
		"NEVER": spool.NotifyNever, "never": spool.NotifyNever, "Success": spool.NotifySuccess,
		"DELAY,FAILURE,SUCCESS": spool.NotifySuccess | spool.NotifyFailure | spool.NotifyDelay, "DELAY,DELAY": spool.NotifyDelay,
		"NEVER,SUCCESS": 0, "SUCCESS,NEVER": 0, "": 0, ",": 0, "SUCCESS,": 0, "SUCCESS FAILURE": 0, "ALWAYS": 0,
	} {
		if got, ok := parseNotify(value); ok != (want != 0) || ok && got != want {
			t.Errorf("%q: %d, %v, want %d", value, got, ok, want)
		}
	}
}

func TestParseEnvID(t *testing.T) {
	for value, want := range map[string]bool{
		"QQ314159": true, "a+2Bb+3Dc+20d": true, "+20": true, strings.Repeat("x", 100): true, strings.Repeat("+2B", 100): true,
		strings.Repeat("x", 101): false, strings.Repeat("+2B", 101): false, "a b": false, "a=b": false, "+2": false, "+": false, "+2b": false,
		"+0A": false, "+00": false, "+7F": false, "+C3+A9": false, "\xc3\xa9": false, "a\tb": false, "\x7f": false,
	} {
		if got, ok := parseEnvID(value); ok != want || ok && got != value {
			t.Errorf("%q: %q, %v", value, got, ok)
		}
	}
}

func TestParseORcpt(t *testing.T) {
	for _, tt := range []struct{ value, want, wide string }{
		{"rfc822;u@example.org", "rfc822;u@example.org", ""},
		{"RFC822;a+2Bb@example.org", "RFC822;a+2Bb@example.org", ""},
		{"x400;/C=x", "", ""},
		{"rfc822;" + strings.Repeat("x", 493), "rfc822;" + strings.Repeat("x", 493), ""},
		{"rfc822;" + strings.Repeat("x", 494), "", ""},
		{"rfc822;", "", ""}, {";u", "", ""}, {"u@example.org", "", ""}, {"rfc 822;u", "", ""}, {"rfc(822);u", "", ""},
		{"rfc822;+0D+0Ax", "", ""}, {"rfc822;u\xc3\xa9", "", ""}, {"", "", ""},
		{`utf-8;u\x{E9}@example.org`, `utf-8;u\x{E9}@example.org`, ""},
		{"UTF-8;ué\u20ac@example.org", "", `UTF-8;u\x{E9}\x{20AC}@example.org`},
		{"utf-8;" + strings.Repeat("é", 100), "", ""}, // too long when it is written in ASCII
		{"utf-8;u\xe9", "", ""}, {"utf-8;u\u0085", "", ""}, {`utf-8;\x{D800}`, "", ""}, {`utf-8;\x{0A}`, "", ""}, {`utf-8;\x{110000}`, "", ""},
		{`utf-8;\x{E9`, "", ""}, {`utf-8;\x{}`, "", ""}, {`utf-8;\x{e9}`, "", ""}, {`utf-8;\y`, "", ""}, {"utf-8;a+b", "", ""}, {"utf-8;a=b", "", ""},
	} {
		if tt.wide == "" {
			tt.wide = tt.want
		}
		for wide, want := range map[bool]string{false: tt.want, true: tt.wide} {
			if got, ok := parseORcpt(tt.value, wide); ok != (want != "") || ok && got != want {
				t.Errorf("%q, SMTPUTF8 %v: %q, %v, want %q", tt.value, wide, got, ok, want)
			}
		}
	}
}

func TestMergeNotify(t *testing.T) {
	const never, success, failure, delay = spool.NotifyNever, spool.NotifySuccess, spool.NotifyFailure, spool.NotifyDelay
	for _, tt := range []struct{ a, b, want spool.Notify }{
		{0, 0, 0}, {never, never, never}, {never, 0, 0}, {never, success, success}, {success, delay, success | delay},
		{0, success, success | failure | delay}, {0, failure, failure | delay}, {failure, failure, failure},
	} {
		if ab, ba := tt.a.And(tt.b), tt.b.And(tt.a); ab != tt.want || ba != tt.want {
			t.Errorf("%d and %d: %d and %d, want %d", tt.a, tt.b, ab, ba, tt.want)
		}
	}
}

// TestReportsAreStored has what RFC 3461 knows in the envelope, on a listener that forces
// the sender too.
func TestReportsAreStored(t *testing.T) {
	for _, sender := range []string{"", "device@example.com"} {
		f := accepting(t).listen(&Rules{Name: "test", Sender: sender})
		c := f.greeted()
		c.say("MAIL FROM:<a@b> ret=hdrs SMTPUTF8 ENVID=QQ+2B1", "250 ")
		c.say("RCPT TO:<u@local.example> NOTIFY=NEVER ORCPT=rfc822;first@local.example", "250 ")
		c.say("RCPT TO:<v@local.example> ORCPT=utf-8;é@local.example", "250 ")
		c.say("RCPT TO:<u@local.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;second@local.example", "250 ")
		c.say("RCPT TO:<w@local.example>", "250 ")
		c.say("DATA", "354 ")
		c.say(".", "250 ")
		e := f.envelope()
		want := []spool.Recipient{
			{Address: "u@local.example", Notify: spool.NotifySuccess | spool.NotifyDelay, ORcpt: "rfc822;first@local.example"},
			{Address: "v@local.example", ORcpt: `utf-8;\x{E9}@local.example`},
			{Address: "w@local.example"},
		}
		if e.Ret != "HDRS" || e.EnvID != "QQ+2B1" || !reflect.DeepEqual(e.Recipients, want) {
			t.Errorf("sender %q: %+v", sender, e)
		}
		if sender != "" && e.Sender != sender {
			t.Errorf("sender is %q", e.Sender)
		}
		// The next message has nothing of it.
		c.say("MAIL FROM:<a@b>", "250 ")
		c.say("RCPT TO:<u@local.example>", "250 ")
		c.say("DATA", "354 ")
		c.say(".", "250 ")
		if e, err := f.spool.Messages()[1].Envelope(); err != nil || e.Ret+e.EnvID+e.Recipients[0].ORcpt != "" || e.Recipients[0].Notify != 0 {
			t.Errorf("%+v, %v", e, err)
		}
	}
}

// TestLongestORcptsAreStored: as many recipients as the configuration allows, each with all
// that RCPT can have.
func TestLongestORcptsAreStored(t *testing.T) {
	const n = 10_000
	f := accepting(t, limits(func(l *Limits) { l.Recipients, l.RcptMemory = n, 1<<30 }))
	c := f.greeted()
	c.say("MAIL FROM:<a@b> ENVID="+strings.Repeat("+2B", 100), "250 ")
	long := strings.Repeat("x", 230)
	orcpt := strings.Repeat("x", 493)
	for i := range n {
		c.say(fmt.Sprintf("RCPT TO:<u%04d%s@local.example> NOTIFY=SUCCESS ORCPT=rfc822;%s", i, long, orcpt), "250 ")
	}
	if used := f.rcptMemory.Load(); used < n*(230+500) {
		t.Errorf("%d bytes of memory are counted", used)
	}
	c.say("DATA", "354 ")
	c.say(".", "250 ")
	if e := f.envelope(); len(e.Recipients) != n || e.Recipients[n-1].ORcpt != "rfc822;"+orcpt {
		t.Errorf("%d recipients", len(e.Recipients))
	}
}

// FuzzParameters gives words to the parsers of MAIL's and RCPT's parameters.
func FuzzParameters(f *testing.F) {
	for _, s := range []string{
		"RET=FULL ENVID=a+2Bb SIZE=1", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b", `ORCPT=utf-8;\x{E9}é`, "NOTIFY=NEVER NOTIFY=NEVER", "RET ENVID= ORCPT=;", "notify=,",
	} {
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, line string, wide bool) {
		words := strings.Fields(line)
		var p params
		if fault := p.parse(words); fault == nil {
			if again, ok := parseEnvID(p.envID); p.envID != "" && (!ok || again != p.envID) || p.ret != "" && p.ret != "FULL" && p.ret != "HDRS" {
				t.Fatalf("%q gave RET %q, ENVID %q", line, p.ret, p.envID)
			}
		}
		var r rcptParams
		if fault := r.parse(words, wide); fault != nil {
			return
		}
		if again, ok := parseORcpt(r.orcpt, false); r.orcpt != "" && (!ok || again != r.orcpt) {
			t.Fatalf("%q gave ORCPT %q, which is read as %q, %v", line, r.orcpt, again, ok)
		}
		if r.notify&spool.NotifyNever != 0 && r.notify != spool.NotifyNever {
			t.Fatalf("%q gave NOTIFY %d", line, r.notify)
		}
	})
}

// TestReportsWithRefusals: a refused recipient leaves nothing.
func TestReportsWithRefusals(t *testing.T) {
	f := start(t, at(policy.StageRcpt, refusal(550, "5.7.1", "no")))
	c := f.greeted()
	c.say("MAIL FROM:<a@b> RET=FULL", "250 ")
	c.say("RCPT TO:<u@local.example> NOTIFY=SUCCESS ORCPT=rfc822;u", "550 ")
	if n := f.rcptMemory.Load(); n != 0 {
		t.Errorf("%d bytes", n)
	}
}
