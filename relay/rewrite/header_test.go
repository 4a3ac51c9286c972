package rewrite

import (
	"context"
	"errors"
	"strings"
	"testing"

	"gatepost/maps"
)

// site is the configuration of most tests.
func site(features ...string) *Rewriter {
	s := setting{
		HostName: "gw.lan.example", MasqueradeAs: "example.com", Local: []string{"localhost", "gw.lan.example", "lan.example"},
		Exposed: []string{"root"}, Generics: "joe\tjoe.smith@public.example\n", Features: features,
	}
	return s.rewriter()
}

func TestHeader(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"address alone":    {"From: ann@lan.example\r\n", "From: ann@example.com\r\n"},
		"phrase":           {"From: Ann Lee <ann@lan.example>\r\n", "From: Ann Lee <ann@example.com>\r\n"},
		"quoted phrase":    {"From: \"Lee, Ann <x@lan.example>\" <ann@lan.example>\r\n", "From: \"Lee, Ann <x@lan.example>\" <ann@example.com>\r\n"},
		"encoded words":    {"From: =?UTF-8?Q?J=C3=BCrgen?= <ann@lan.example>\r\n", "From: =?UTF-8?Q?J=C3=BCrgen?= <ann@example.com>\r\n"},
		"raw UTF-8":        {"From: J\u00fcrgen <ann@lan.example>\r\n", "From: J\u00fcrgen <ann@example.com>\r\n"},
		"comment after":    {"From: ann@lan.example (Ann (the (first)) \\) Lee)\r\n", "From: ann@example.com (Ann (the (first)) \\) Lee)\r\n"},
		"comments inside":  {"From: ann (a) @ (b) lan (c) . example (d)\r\n", "From: ann@example.com (a)  (b)  (c)   (d)\r\n"},
		"folded":           {"From:\r\n Ann\r\n\t<ann@lan.example>\r\n", "From:\r\n Ann\r\n\t<ann@example.com>\r\n"},
		"unqualified":      {"From: Cron Daemon <ann>\r\n", "From: Cron Daemon <ann@example.com>\r\n"},
		"exposed":          {"From: root (Cron Daemon)\r\n", "From: root@gw.lan.example (Cron Daemon)\r\n"},
		"exposed as it is": {"From: root@lan.example\r\n", "From: root@lan.example\r\n"},
		"generic":          {"From: Joe <joe>\r\n", "From: Joe <joe.smith@public.example>\r\n"},
		"others":           {"From: ann@other.example\r\n", "From: ann@other.example\r\n"},
		"route":            {"From: <@relay.example,@b.example:ann@lan.example>\r\n", "From: <ann@example.com>\r\n"},
		"route of others":  {"From: <@relay.example:ann@other.example>\r\n", "From: <@relay.example:ann@other.example>\r\n"},
		"several":          {"Reply-To: ann@lan.example, Bob <bob@other.example>,,cid@lan.example\r\n", "Reply-To: ann@example.com, Bob <bob@other.example>,,cid@example.com\r\n"},
		"name's case":      {"rEPLY-tO : ann@lan.example\r\n", "rEPLY-tO : ann@example.com\r\n"},
		"recipients":       {"To: ann, bob@lan.example\r\nCc: \"ann\"\r\n", "To: ann@gw.lan.example, bob@lan.example\r\nCc: \"ann\"@gw.lan.example\r\n"},
		"group":            {"To: Us: ann, Bob <bob>;, cid\r\n", "To: Us: ann@gw.lan.example, Bob <bob@gw.lan.example>;, cid@gw.lan.example\r\n"},
		"empty group":      {"To: undisclosed-recipients:;\r\n", "To: undisclosed-recipients:;\r\n"},
		"null":             {"From: <>\r\n", "From: <>\r\n"},
		"nothing":          {"From: \r\nTo:\r\n", "From: \r\nTo:\r\n"},
		"quoted local":     {"From: \"a b\\\"c\"@lan.example\r\n", "From: \"a b\\\"c\"@example.com\r\n"},
		"literal":          {"From: ann@[192.0.2.1]\r\n", "From: ann@[192.0.2.1]\r\n"},
		"all sender fields": {"Sender: a@lan.example\r\nResent-From: a@lan.example\r\nResent-Sender: a@lan.example\r\nResent-Reply-To: a@lan.example\r\nErrors-To: a@lan.example\r\nDisposition-Notification-To: a@lan.example\r\n",
			"Sender: a@example.com\r\nResent-From: a@example.com\r\nResent-Sender: a@example.com\r\nResent-Reply-To: a@example.com\r\nErrors-To: a@example.com\r\nDisposition-Notification-To: a@example.com\r\n"},
		"other fields": {"Return-Path: <a@lan.example>\r\nMessage-ID: <1@lan.example>\r\nReturn-Receipt-To: a@lan.example\r\nSubject: From: a@lan.example\r\n From: a@lan.example\r\n",
			"Return-Path: <a@lan.example>\r\nMessage-ID: <1@lan.example>\r\nReturn-Receipt-To: a@lan.example\r\nSubject: From: a@lan.example\r\n From: a@lan.example\r\n"},
		"two words":         {"From: Ann Lee\r\n", "From: Ann Lee\r\n"},
		"open quote":        {"From: \"Ann <ann@lan.example>\r\n", "From: \"Ann <ann@lan.example>\r\n"},
		"open comment":      {"From: ann@lan.example (Ann\r\n", "From: ann@lan.example (Ann\r\n"},
		"open bracket":      {"From: <ann@lan.example\r\n", "From: <ann@lan.example\r\n"},
		"something behind":  {"From: <ann@lan.example> Ann\r\n", "From: <ann@lan.example> Ann\r\n"},
		"twice in brackets": {"From: <<ann@lan.example>>\r\n", "From: <<ann@lan.example>>\r\n"},
		"no field":          {"what\r\nFrom: ann@lan.example\r\n", "what\r\nFrom: ann@example.com\r\n"},
	} {
		got, err := site().Header(t.Context(), Relay, "", []byte(c.in))
		if string(got) != c.want || err != nil {
			t.Errorf("%s: %q became\n%q (error %v), want\n%q", name, c.in, got, err, c.want)
		}
		again, err := site().Header(t.Context(), Relay, "", got)
		if string(again) != string(got) || err != nil {
			t.Errorf("%s: then %q", name, again)
		}
	}
}

// TestLongLines: many short addresses do not become a line that no server takes.
func TestLongLines(t *testing.T) {
	in := "To: " + strings.Repeat("ann,", 200) + "ann\r\n"
	got, err := site().Header(t.Context(), Relay, "", []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(got), "\r\n") {
		if len(line) > longestLine {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
	if plain := strings.ReplaceAll(string(got), "\r\n ", ""); plain != strings.ReplaceAll(in, "ann", "ann@gw.lan.example") {
		t.Errorf("%q", got)
	}
}

func TestHeaderTooLong(t *testing.T) {
	in := "To: " + strings.Repeat("a,", maxHeader/2-10) + "a\r\n"
	s := setting{HostName: "gw." + strings.Repeat("long-", 20) + ".example", MasqueradeAs: "example.com"}
	if _, err := s.rewriter().Header(t.Context(), Relay, "", []byte(in)); !errors.Is(err, errGrown) {
		t.Errorf("error %v", err)
	}
}

// broken is a map that cannot be asked.
type broken struct{}

func (broken) Lookup(context.Context, string) (maps.Entry, bool, error) {
	return maps.Entry{}, false, errors.New("gone")
}

func TestCannotAsk(t *testing.T) {
	r := New(Config{HostName: "gw.lan.example", MasqueradeAs: "example.com", Local: []maps.Map{broken{}}})
	if out, err := r.Header(t.Context(), Relay, "", []byte("From: a@lan.example\r\n")); err == nil {
		t.Errorf("rewritten to %q by a class that cannot be asked", out)
	}
}

func TestSentBy(t *testing.T) {
	const account = "joe@isp.example"
	for name, c := range map[string]struct{ in, want string }{
		"plain":             {"From: Ann <ann@lan.example>\r\nTo: x@y.example\r\n", "From: Ann <joe@isp.example>\r\nReply-To: Ann <ann@example.com>\r\nTo: x@y.example\r\n"},
		"folded":            {"From: Ann\r\n <ann@lan.example>\r\n", "From: Ann\r\n <joe@isp.example>\r\nReply-To: Ann\r\n <ann@example.com>\r\n"},
		"reply-to kept":     {"From: ann@lan.example\r\nReply-To: bob@other.example\r\n", "From: joe@isp.example\r\nReply-To: bob@other.example\r\n"},
		"account already":   {"From: Joe <JOE@isp.example>\r\n", "From: Joe <JOE@isp.example>\r\n"},
		"sender":            {"Sender: ann@lan.example\r\nFrom: joe@isp.example\r\n", "Sender: joe@isp.example\r\nFrom: joe@isp.example\r\n"},
		"several authors":   {"From: ann@lan.example, bob@lan.example\r\n", "From: joe@isp.example\r\nReply-To: ann@example.com, bob@example.com\r\n"},
		"no author":         {"To: x@y.example\r\n", "To: x@y.example\r\nFrom: joe@isp.example\r\n"},
		"unreadable author": {"From: Ann Lee\r\n", "From: joe@isp.example\r\n"},
		"two fields":        {"From: ann@a.example\r\nFrom: joe@isp.example\r\nTo: x@y.example\r\n", "From: joe@isp.example\r\nReply-To: ann@a.example\r\nTo: x@y.example\r\n"},
		"empty":             {"", "From: joe@isp.example\r\n"},
	} {
		got, err := site().Header(t.Context(), Relay, account, []byte(c.in))
		if string(got) != c.want || err != nil {
			t.Errorf("%s: %q became\n%q (error %v), want\n%q", name, c.in, got, err, c.want)
		}
		if again, _ := site().Header(t.Context(), Relay, account, got); string(again) != string(got) {
			t.Errorf("%s: then %q", name, again)
		}
	}
}

func TestAccounts(t *testing.T) {
	a := Accounts{Hosts: map[string]string{"smtp.isp.example": "joe@isp.example", "2001:db8::1": "six@isp.example", "": "one@isp.example"}}
	for destination, want := range map[string]string{
		"[smtp.isp.example]:587": "joe@isp.example", "SMTP.isp.example": "joe@isp.example", "smtp.isp.example:465": "joe@isp.example",
		"[a.example],[smtp.isp.example]": "joe@isp.example", "[2001:db8::1]:25": "six@isp.example", "": "one@isp.example",
		"isp.example": "", "[other.example]:587": "",
	} {
		if got := a.of(destination); got != want {
			t.Errorf("%q is sent as %q, want %q", destination, got, want)
		}
	}
}
