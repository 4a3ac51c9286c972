package integration

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tags are the names of the drivers.
func tags() []string { return []string{"sendmail", "postfix", "relay"} }

const head = "title: t\nwhy: because\n"

const small = head + `     of this
== access
# a comment of the table
From:spam.example	REJECT

== session one
# a comment
client: 198.51.100.7
S: 220
C: RCPT TO:<u@x>
S[sendmail]: 550-5.7.1 one
S[sendmail]: 550 5.7.1 two
S[postfix]: 554 5.7.1 other
C:
C: .
CLOSED[postfix]:
SINK: 2 messages for 3 recipients
QUARANTINE[sendmail]: 1 message
`

func TestParse(t *testing.T) {
	d, err := Parse("small.txt", strings.NewReader(small), tags())
	if err != nil {
		t.Fatal(err)
	}
	if d.Title != "t" || d.Why != "because of this" {
		t.Errorf("title %q, why %q", d.Title, d.Why)
	}
	if want := "# a comment of the table\nFrom:spam.example\tREJECT\n\n"; d.Policy["access"] != want {
		t.Errorf("access: got %q, want %q", d.Policy["access"], want)
	}
	if len(d.Sessions) != 1 || d.Sessions[0].Name != "one" || d.Sessions[0].Client.String() != "198.51.100.7" {
		t.Fatalf("sessions: %+v", d.Sessions)
	}
	for tag, want := range map[string]string{
		"sendmail": "220 / RCPT TO:<u@x> / 550-5.7.1 one|550 5.7.1 two /  / .",
		"postfix":  "220 / RCPT TO:<u@x> / 554 5.7.1 other /  / . / closed",
	} {
		if got := stepsOf(d.Sessions[0].For(tag)); got != want {
			t.Errorf("%s: got steps %q, want %q", tag, got, want)
		}
	}
}

func TestParseOutcomes(t *testing.T) {
	d, err := Parse("small.txt", strings.NewReader(small), tags())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tag        string
		place      Place
		line       int
		messages   int
		recipients int
	}{
		{"sendmail", Sink, 19, 2, 3},
		{"sendmail", Quarantine, 20, 1, -1},
		{"postfix", Quarantine, 8, 0, -1}, // not mentioned: none
	} {
		got := d.Sessions[0].For(c.tag).Want(c.place)
		if got.Messages != c.messages || got.Recipients != c.recipients || got.Line != c.line {
			t.Errorf("%s %s: got %+v, want %+v", c.tag, c.place, got, c)
		}
	}
}

func stepsOf(s Session) string {
	var list []string
	for _, step := range s.Steps {
		text := strings.Join(step.Lines, "|")
		if step.Kind == Closed {
			text = "closed"
		}
		list = append(list, text)
	}
	return strings.Join(list, " / ")
}

func TestParseErrors(t *testing.T) {
	session := head + "== session s\nclient: 198.51.100.7\nS: 220\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":                 {"", "f:0: no session"},
		"no title":              {"why: x\n== session s\n", `f:2: section "session s" comes before title: and why: are there`},
		"no session":            {head, "f:2: no session"},
		"junk in the head":      {"hello\n", `f:1: "hello": expected one "title:"`},
		"two titles":            {"title: a\ntitle: b\n", `f:2: "title: b": expected one "title:"`},
		"unknown section":       {head + "== acess\n", `f:3: unknown section "acess"`},
		"section twice":         {head + "== access\n== access\n", `f:4: section "access" stands twice`},
		"policy after session":  {session + "== access\n", `f:6: section "access" after a session`},
		"session twice":         {session + "== session s\n", `f:6: session "s" stands at line 3 already`},
		"no client":             {head + "== session s\nS: 220\n", `f:4: session "s" has no client: line`},
		"bad client":            {head + "== session s\nclient: host\n", `f:4: client: "host" is no IP address`},
		"two clients":           {session + "client: 198.51.100.8\n", "f:6: a session has one client: line"},
		"no greeting":           {head + "== session s\nclient: ::1\nC: EHLO x\n", `must begin with the greeting for sendmail`},
		"no greeting for one":   {head + "== session s\nclient: ::1\nS[sendmail]: 220\nC: EHLO x\n", `must begin with the greeting for postfix`},
		"unknown word":          {session + "D: x\n", `f:6: "D: x": expected client:, C:`},
		"no colon":              {session + "hello\n", `f:6: "hello": expected client:, C:`},
		"unknown tag":           {session + "S[exim]: 250\n", `f:6: unknown tag "exim"`},
		"open tag":              {session + "S[postfix: 250\n", `f:6: expected ] before the colon`},
		"text of a 250":         {session + "S: 250 ok\n", `f:6: "250 ok": of this reply only the code is compared, write "250"`},
		"refusal without text":  {session + "S: 550\n", `f:6: "550": of a refusal the text is compared too`},
		"bad code":              {session + "S: 6xx x\n", `f:6: "6xx x": expected a reply code`},
		"reply breaks off":      {session + "S: 550-5.7.1 a\nC: QUIT\n", `f:7: the reply before this line goes on (its last line has "550-5.7.1 a")`},
		"reply changes its tag": {session + "S[sendmail]: 550-5.7.1 a\nS[postfix]: 550 5.7.1 b\n", `f:7: the reply before this line goes on`},
		"reply never ends":      {session + "S: 550-5.7.1 a\n", `f:6: the last reply of session "s" goes on`},
		"bad outcome":           {session + "SINK: some\n", `f:6: SINK: "some": expected "N messages"`},
		"two outcomes":          {session + "SINK: 1 message\nSINK[postfix]: 2 messages\n", `session "s" says SINK twice for postfix`},
		"held recipients":       {session + "QUARANTINE: 1 message for 1 recipient\n", `f:6: recipients are counted only at SINK`},
		"too long a line":       {session + "C: " + strings.Repeat("x", bufio.MaxScanTokenSize) + "\n", `f:6: bufio.Scanner: token too long`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("f", strings.NewReader(c.text), tags())
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("Parse(%q): got error %v, want %q", c.text, err, c.want)
			}
		})
	}
}

// TestDialogueFiles finds faults of the files without containers.
func TestDialogueFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/dialogues/*.txt")
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d dialogue files, error %v", len(files), err)
	}
	titles := map[string]string{}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(file, f, tags())
		f.Close()
		if err != nil {
			t.Error(err)
			continue
		}
		if other, twice := titles[d.Title]; twice {
			t.Errorf("%s has the title of %s: %q", file, other, d.Title)
		}
		titles[d.Title] = file
	}
}

func FuzzParse(f *testing.F) {
	f.Add(small)
	f.Add(head + "== session s\nclient: ::1\nS: 220\n")
	f.Add("== access\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := Parse("f", strings.NewReader(text), tags())
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("Parse(%q): error without place: %v", text, err)
			}
			return
		}
		for _, s := range d.Sessions {
			for _, step := range s.Steps {
				if step.Kind == Expect && len(step.Lines) == 0 || step.Line == 0 {
					t.Errorf("Parse(%q): empty step %+v", text, step)
				}
			}
		}
	})
}

func TestMatches(t *testing.T) {
	for name, c := range map[string]struct {
		want, got []string
		match     bool
	}{
		"code of a success":             {[]string{"250"}, []string{"250 2.0.0 Ok: queued as 4X"}, true},
		"last line of a success":        {[]string{"250"}, []string{"250-mx", "250 HELP"}, true},
		"another success":               {[]string{"250"}, []string{"251 ok"}, false},
		"refused instead":               {[]string{"250"}, []string{"550 5.7.1 no"}, false},
		"accepted instead":              {[]string{"550 5.7.1 no"}, []string{"250 2.1.5 Ok"}, false},
		"refusal":                       {[]string{"550 5.7.1 no"}, []string{"550 5.7.1 no"}, true},
		"refusal with address":          {[]string{"550 5.7.1 no"}, []string{"550 5.7.1 <u@x>... no"}, true},
		"address with blank and >":      {[]string{"550 5.7.1 no"}, []string{`550 5.7.1 <"a> b"@x>... no`}, true},
		"other text":                    {[]string{"550 5.7.1 no"}, []string{"550 5.7.1 yes"}, false},
		"other enhanced code":           {[]string{"550 5.7.1 no"}, []string{"550 5.2.1 no"}, false},
		"address not at its place":      {[]string{"550 5.7.1 no"}, []string{"550 5.7.1 so <u@x>... no"}, false},
		"dots in a text are kept":       {[]string{"550 5.7.1 so... no"}, []string{"550 5.7.1 so... no"}, true},
		"all lines of a refusal":        {[]string{"550-5.7.1 a", "550 5.7.1 b"}, []string{"550-5.7.1 a", "550 5.7.1 b"}, true},
		"a line missing":                {[]string{"550-5.7.1 a", "550 5.7.1 b"}, []string{"550 5.7.1 b"}, false},
		"nothing":                       {[]string{"250"}, nil, false},
		"address on each line":          {[]string{"550-5.7.1 a", "550 5.7.1 b"}, []string{"550-5.7.1 <u@x>... a", "550 5.7.1 <u@x>... b"}, true},
		"temporary instead of for good": {[]string{"550 5.7.1 no"}, []string{"450 4.7.1 no"}, false},
	} {
		if got := Matches(c.want, c.got); got != c.match {
			t.Errorf("%s: Matches(%q, %q) = %v, want %v", name, c.want, c.got, got, c.match)
		}
	}
}

// serve plays a server that reads what the client says and answers by script.
func serve(t *testing.T, answers map[string]string, greeting string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close(); server.Close() })
	go func() {
		defer server.Close()
		if _, err := server.Write([]byte(greeting)); err != nil {
			return
		}
		lines := bufio.NewScanner(server)
		for lines.Scan() {
			answer, ok := answers[lines.Text()]
			if !ok {
				continue
			}
			if answer == "" {
				return
			}
			if _, err := server.Write([]byte(answer)); err != nil {
				return
			}
		}
	}()
	return client
}

func TestConverse(t *testing.T) {
	answers := map[string]string{
		"EHLO x":               "250-mx\r\n250 SIZE\r\n",
		"DATA":                 "354 go on\r\n",
		TokenHeader + ": 00ff": "",
		"BAD":                  "550 5.7.1 no\r\n",
		"QUIT":                 "",
	}
	for name, c := range map[string]struct{ script, wantErr, wantSaid string }{
		"all as expected": {"S: 220\nC: EHLO x\nS: 250\nC: BAD\nS: 550 5.7.1 no\nC: QUIT\nCLOSED:\n", "", "S: 250-mx\nS: 250 SIZE\nC: BAD\n"},
		"other reply":     {"S: 220\nC: BAD\nS: 250\n", `line 7: want reply ["250"], got ["550 5.7.1 no"]`, "S: 550 5.7.1 no"},
		"other greeting":  {"S: 554 no\n", `line 5: want reply ["554 no"], got ["220 mx"]`, "S: 220 mx"},
		"closed too soon": {"S: 220\nC: QUIT\nS: 221\n", `line 7: want reply ["221"], got [] and then: `, "C: QUIT"},
		"not closed":      {"S: 220\nC: BAD\nCLOSED:\n", `line 7: want the connection closed, got reply ["550 5.7.1 no"]`, ""},
		"token in front":  {"S: 220\nC: DATA\nS: 354\nC: hello\nCLOSED:\n", "", "C: hello"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Parse("f", strings.NewReader(head+"== session s\nclient: ::1\n"+c.script), tags())
			if err != nil {
				t.Fatal(err)
			}
			said, err := Converse(serve(t, answers, "220 mx\r\n"), d.Sessions[0].For("postfix"), "00ff")
			if got := errText(err); !strings.HasPrefix(got, c.wantErr) || c.wantErr == "" && err != nil {
				t.Errorf("got error %q, want %q", got, c.wantErr)
			}
			if !strings.Contains(said, c.wantSaid) {
				t.Errorf("got transcript %q, want %q in it", said, c.wantSaid)
			}
		})
	}
}

func TestConverseBounds(t *testing.T) {
	for name, greeting := range map[string]string{
		"long line":  "220 " + strings.Repeat("x", 2*maxReplyLine) + "\r\n",
		"many lines": strings.Repeat("220-x\r\n", 2*maxReplyLines),
	} {
		d, err := Parse("f", strings.NewReader(head+"== session s\nclient: ::1\nS: 220\n"), tags())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Converse(serve(t, nil, greeting), d.Sessions[0].For("postfix"), "00ff"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
