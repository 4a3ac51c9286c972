package main

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"

	"gatepost/internal/control"
)

// queueSite is a relay whose smart host does not answer yet, with mail waiting for it. The
// ids are by recipient.
func queueSite(t *testing.T, recipients ...string) (s *site, ids map[string]string) {
	t.Helper()
	s = newSite(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.smart.addr = ln.Addr().String()
	ln.Close() // its port is that of nobody
	s.write("gatepost.toml", strings.Replace(siteConfig, `retry = ["1s"]`, `retry = ["1h"]`, 1))
	s.start()
	for _, to := range recipients {
		if got := s.sendmail("Subject: for "+to+"\n\n.text\n", "-i", "-f", "me@sender.example", to); got.code != 0 {
			t.Fatalf("sendmail ended with %d: %s", got.code, got.err)
		}
	}
	s.eventually("the smart host is down", func() bool { return len(s.status().Down) == 1 })
	ids = map[string]string{}
	for _, i := range s.items("list") {
		ids[i.Recipients[0].Address] = i.ID
	}
	if len(ids) != len(recipients) {
		t.Fatalf("%d messages are listed, want %d", len(ids), len(recipients))
	}
	return s, ids
}

// awake has the smart host answer.
func (s *site) awake() {
	s.t.Helper()
	ln, err := net.Listen("tcp", s.smart.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.smart.serve(s.t, ln, false)
}

// items is what a command prints with --json.
func (s *site) items(command string, args ...string) (all []control.Item) {
	s.t.Helper()
	for line := range strings.Lines(s.command(command, append([]string{"--json"}, args...)...)) {
		var i control.Item
		if err := json.Unmarshal([]byte(line), &i); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
		all = append(all, i)
	}
	return all
}

// TestQueueLooks has what changes nothing.
func TestQueueLooks(t *testing.T) {
	s, ids := queueSite(t, "a@one.example", "b@two.example", "c@two.example")
	list := s.command("list")
	for _, want := range []string{
		`(?m)^-Queue ID-    --Size-- ---Arrival Time---   -Sender/Recipient------$`,
		`(?m)^` + ids["a@one.example"] + ` +[1-9]\d+ \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d  me@sender.example$`,
		`(?m)^ {44}a@one.example$`,
		`\n-- 1 Kbytes in 3 Requests.\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(list) {
			t.Errorf("the list has no %s; it is\n%s", want, list)
		}
	}
	if got := s.call("", "gatepost", "queue", "--config", s.path("gatepost.toml")); got.out != list {
		t.Errorf("without a command it prints\n%s", got.out)
	}
	if got := s.call("", "mailq", "-C"+s.path("gatepost.toml")); got.out != list {
		t.Errorf("mailq prints\n%s%s", got.out, got.err)
	}
	for args, want := range map[string]int{
		"--recipient two.example": 2, "--recipient *@one.example": 1, "--recipient A@*": 1, "--recipient three.example": 0,
		"--sender sender.example": 3, "--sender <>": 0, "--older 1h": 0, "--newer 1h": 3, "--state held": 0,
		"--next-hop 127.0.0.1": 3, "--next-hop other.example": 0, "--recipient *@two.example --next-hop " + s.smart.addr: 2,
		ids["b@two.example"]: 1, "--recipient one.example " + ids["b@two.example"]: 0,
	} {
		if got := s.items("list", strings.Fields(args)...); len(got) != want {
			t.Errorf("list %s shows %d messages, want %d", args, len(got), want)
		}
	}
	why := s.command("why", ids["a@one.example"])
	for _, want := range []string{
		`^` + ids["a@one.example"] + ` from <me@sender.example>, \d+ bytes, here for \d+s, brought by localhost\n`,
		`(?m)^  <a@one.example>: pending$`, `(?m)^    next hop    \S*127.0.0.1\S*:\d+ \(\S*gatepost.toml:\d+ smart_host \S+\)$`,
		`(?m)^    down        for \d+s, tried again in \d+s \(.*\): .*connection refused`,
	} {
		if !regexp.MustCompile(want).MatchString(why) {
			t.Errorf("why has no %s; it is\n%s", want, why)
		}
	}
	if got := s.command("show", "--header", ids["a@one.example"]); !strings.HasPrefix(got, "Received: from localhost (") || !strings.Contains(got, "\r\nSubject: for a@one.example\r\n") || strings.Contains(got, "text") {
		t.Errorf("show --header prints %q", got)
	}
	if got := s.command("show", "--message", ids["a@one.example"]); !strings.HasSuffix(got, "\r\n\r\n.text\r\n") {
		t.Errorf("show --message prints %q", got)
	}
	if got := s.command("show", ids["a@one.example"]); !strings.Contains(got, "a@one.example") {
		t.Errorf("show prints %q", got)
	}
	for _, args := range [][]string{{"list", "NOSUCH1"}, {"show", "NOSUCH1"}, {"show", "--message", "NOSUCH1"}, {"delete", "NOSUCH1"}} {
		got := s.call("", "gatepost", append([]string{"queue", args[0], "--config", s.path("gatepost.toml")}, args[1:]...)...)
		if got.code != 1 || !strings.Contains(got.out+got.err, "NOSUCH1: no such message in the queue") {
			t.Errorf("%q ended with %d: %s%s", args, got.code, got.out, got.err)
		}
	}
}

// TestQueueCommands has what changes the queue.
func TestQueueCommands(t *testing.T) {
	s, ids := queueSite(t, "a@one.example", "b@two.example", "c@two.example", "d@four.example")
	for _, args := range [][]string{{"delete"}, {"flush"}, {"hold", "--json"}} {
		got := s.call("", "gatepost", append([]string{"queue", args[0], "--config", s.path("gatepost.toml")}, args[1:]...)...)
		if got.code != 2 || !strings.Contains(got.err, "it is not said which messages are meant, expected ids, a filter, or all") {
			t.Errorf("%q ended with %d: %s%s", args, got.code, got.out, got.err)
		}
	}
	if got := s.command("hold", "--reason", "looked at by joe", "--recipient", "two.example"); got != "hold: 2 messages\n" {
		t.Errorf("hold prints %q", got)
	}
	if got := s.command("list", "--state", "held"); !strings.Contains(got, "\n(held: looked at by joe)\n") || !strings.Contains(got, ids["b@two.example"]+"! ") || strings.Contains(got, "one.example") {
		t.Errorf("held are\n%s", got)
	}
	if got := s.command("delete", ids["d@four.example"]); got != "delete: 1 message\n" {
		t.Errorf("delete prints %q", got)
	}
	s.awake()
	if got := s.command("flush", "--all"); got != "flush: 1 message\n" {
		t.Errorf("flush prints %q", got)
	}
	s.eventually("a has its message", func() bool { return len(s.smart.mail("a@one.example")) == 1 })
	got := s.call("", "gatepost", "queue", "flush", "--config", s.path("gatepost.toml"), ids["b@two.example"])
	if got.code != 1 || !strings.Contains(got.out, ids["b@two.example"]+": the message is on hold, expected release") {
		t.Errorf("flush of a held message ended with %d: %s%s", got.code, got.out, got.err)
	}
	if len(s.smart.mail("b@two.example"))+len(s.smart.mail("d@four.example")) > 0 {
		t.Error("what was held or deleted was delivered")
	}
	s.command("requeue", ids["b@two.example"])
	s.command("release", "--state", "held")
	s.eventually("b and c have theirs", func() bool { return len(s.smart.mail("b@two.example"))+len(s.smart.mail("c@two.example")) == 2 })
	s.eventually("the queue is empty", func() bool { return s.command("list") == "Mail queue is empty\n" })
	log := s.stderr.String()
	for _, want := range []string{`msg="queue command" command=delete queue=` + ids["d@four.example"] + ` by="uid `, `command=hold queue=` + ids["b@two.example"]} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %s:\n%s", want, log)
		}
	}
}

// TestQueueFlushOne: a destination that is down is tried for the message that is meant.
func TestQueueFlushOne(t *testing.T) {
	s, ids := queueSite(t, "a@one.example", "b@two.example")
	s.awake()
	s.command("flush", ids["b@two.example"])
	s.eventually("b has its message", func() bool { return len(s.smart.mail("b@two.example")) == 1 })
}

// TestQueueOffline: a relay that does not run has a queue too, which can only be looked at.
func TestQueueOffline(t *testing.T) {
	s, ids := queueSite(t, "a@one.example", "b@two.example")
	s.stop()
	down := "the relay does not run: nobody listens at " + s.path("control.sock")
	offline := func(args ...string) called {
		return s.call("", "gatepost", append([]string{"queue", args[0], "--config", s.path("gatepost.toml")}, args[1:]...)...)
	}
	for _, tc := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"list"}, 0, "-- 1 Kbytes in 2 Requests."},
		{[]string{"list", "--recipient", "one.example"}, 0, "in 1 Request."},
		{[]string{"why", ids["a@one.example"]}, 0, "<a@one.example>: pending"},
		{[]string{"show", "--message", ids["a@one.example"]}, 0, "\r\n\r\n.text\r\n"},
		{[]string{"show", "--header", ids["a@one.example"]}, 0, "Subject: for a@one.example\r\n"},
		{[]string{"list", "--next-hop", "x"}, 75, ""},
		{[]string{"flush", "--all"}, 75, ""},
		{[]string{"delete", ids["a@one.example"]}, 75, ""},
	} {
		if got := offline(tc.args...); got.code != tc.code || !strings.Contains(got.out, tc.want) || !strings.Contains(got.err, down) {
			t.Errorf("%q ended with %d: %s%s", tc.args, got.code, got.out, got.err)
		}
	}
	s.write("gatepost.toml", strings.ReplaceAll(s.read("gatepost.toml"), s.path("spool"), s.path("nospool")))
	if got := offline("list"); got.code != 75 || !strings.Contains(got.err, "no such file") {
		t.Errorf("without a spool list ended with %d: %s%s", got.code, got.out, got.err)
	}
}

// TestQueueMany: a queue of some size is listed as it comes.
func TestQueueMany(t *testing.T) {
	const many = 2000
	s, _ := queueSite(t, "first@one.example")
	c := s.from(trusted)
	for i := range many {
		if got := c.message("me@sender.example", fmt.Sprintf("<u%d@many.example>", i)); got[0] != '2' {
			t.Fatalf("message %d is answered %q", i, got)
		}
		if i%500 == 499 {
			c = s.from(trusted)
		}
	}
	if got := s.items("list", "--recipient", "many.example"); len(got) != many {
		t.Errorf("%d messages are listed", len(got))
	}
	if got := s.command("delete", "--recipient", "u1*@many.example"); got != "delete: 1111 messages\n" {
		t.Errorf("delete prints %q", got)
	}
	if got := s.command("delete", "--all"); got != fmt.Sprintf("delete: %d messages\n", many-1111+1) {
		t.Errorf("delete --all prints %q", got)
	}
	if got := s.command("list"); got != "Mail queue is empty\n" {
		t.Errorf("then the list is\n%s", got)
	}
}
