package submit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		args string
		want Options
	}{
		{"a@b", Options{Mode: Deliver, Recipients: []string{"a@b"}}},
		{"-t -i", Options{Mode: Deliver, FromHeader: true, IgnoreDots: true}},
		{"-ti", Options{Mode: Deliver, FromHeader: true, IgnoreDots: true}},
		{"-tif a@b c", Options{Mode: Deliver, FromHeader: true, IgnoreDots: true, Sender: "a@b", HasSender: true, Recipients: []string{"c"}}},
		{"-FCronDaemon -i -odi -oem -oi -t -f root", Options{Mode: Deliver, FullName: "CronDaemon", IgnoreDots: true, FromHeader: true, Sender: "root", HasSender: true}},
		{"-f <> x", Options{Mode: Deliver, Sender: "<>", HasSender: true, Recipients: []string{"x"}}},
		{"-r a@b -- -t", Options{Mode: Deliver, Sender: "a@b", HasSender: true, Recipients: []string{"-t"}}},
		{"x -f a@b y", Options{Mode: Deliver, Sender: "a@b", HasSender: true, Recipients: []string{"x", "y"}}},
		{"x -- -f y", Options{Mode: Deliver, Recipients: []string{"x", "-f", "y"}}},
		{"-bs", Options{Mode: SMTP}}, {"-bp -v", Options{Mode: List}}, {"-bi", Options{Mode: Aliases}}, {"-I", Options{Mode: Aliases}},
		{"-q", Options{Mode: Flush}}, {"-qf", Options{Mode: Flush}}, {"-qRexample.org", Options{Mode: Flush, FlushRecipient: "example.org"}},
		{"-qSjoe", Options{Mode: Flush, FlushSender: "joe"}}, {"-qI4000001", Options{Mode: Flush, FlushID: "4000001"}},
		{"-N success,delay -R hdrs -V id -B 8bitmime x", Options{Mode: Deliver, Notify: "SUCCESS,DELAY", Return: "HDRS", EnvID: "id", Body: "8BITMIME", Recipients: []string{"x"}}},
		{"-Nnever x", Options{Mode: Deliver, Notify: "NEVER", Recipients: []string{"x"}}},
		{"-G -U -n -m -s -v -d -d0.1 -h 5 -Am -L tag -p smtp:h -D f -X log -M x x", Options{Mode: Deliver, Recipients: []string{"x"}}},
		{"-O IgnoreDots=true -ODeliveryMode=b -oeq x", Options{Mode: Deliver, IgnoreDots: true, Quiet: true, Recipients: []string{"x"}}},
		{"-C /f -oi -em x", Options{Mode: Deliver, Config: "/f", IgnoreDots: true, Recipients: []string{"x"}}},
	} {
		got, err := Parse(strings.Fields(tc.args))
		if err != nil {
			t.Errorf("%s: %v", tc.args, err)
			continue
		}
		if diff := cmp.Diff(tc.want, *got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.args, diff)
		}
	}
	for args, want := range map[string]string{
		"-Y": "unknown option -Y", "-f": "option -f has no argument", "-bd": "-bd is not for this program", "-bx": "unknown mode -bx",
		"-q30m": "-q30m is not for this program", "-N often": "-N often: expected", "-N never,delay": "expected never", "-R all": "-R all: expected",
		"-B 9BIT": "-B 9BIT: expected", "x -Y": "unknown option -Y", "-V " + strings.Repeat("x", 101): "at most 100",
	} {
		if _, err := Parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"a@b":                                 "a@b",
		"a@b, c@d":                            "a@b c@d",
		"root joe":                            "root joe",
		"a @ b c@ d":                          "a@b c@d",
		"Joe <a@b>,, (x) c@d (y, z)":          "a@b c@d",
		`"Doe, J. <x@y>" <a@b>`:               "a@b",
		`"a b"@c, d\e@f`:                      `"a b"@c d\e@f`,
		`"q\"uote"@x, y`:                      `"q\"uote"@x y`,
		"friends: a@b, Joe <c@d>;, e@f":       "a@b c@d e@f",
		"undisclosed-recipients:;":            "",
		"<a@b> trailing":                      "a@b",
		"<@x,@y:a@b>":                         "@x,@y:a@b",
		"a@[192.0.2.1], b@[IPv6:2001:db8::1]": "a@[192.0.2.1] b@[IPv6:2001:db8::1]",
		"(a (nested, b) c) d@e":               "d@e",
		"=?utf-8?q?J=C3=B6rg?= <a@b>":         "a@b",
		"jörg@bücher.example, x":              "jörg@bücher.example x",
	} {
		got, err := addresses(text)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q has %q, %v, want %q", text, got, err, want)
		}
	}
	for _, bad := range []string{`"a@b`, "<a@b", "(x", "a@[1", `"x\`} {
		if _, err := addresses(bad); !errors.Is(err, errUnbalanced) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestPath(t *testing.T) {
	for _, good := range []string{"", "a@b", `"a b"@c`, `"a\"b>"@c`, "jörg@x"} {
		if err := path(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"a b@c", "a>b@c", "a@b\r\nDATA", "a@b\x00", `"a@b`, "\"a\\\nb\"@c", strings.Repeat("a", 1001), `"a\"`} {
		if err := path(bad); err == nil {
			t.Errorf("%q passes", bad)
		}
	}
}

// canonical is a whole message as it would be sent, but what is added: header|text.
func canonical(input string, dots bool, size int) (string, error) {
	head, body, err := parts(input, dots, size)
	return head + "|" + body, err
}

func parts(input string, dots bool, size int) (head, rest string, err error) {
	in := bufio.NewReaderSize(strings.NewReader(input), size)
	h, first, over, err := readHeader(in, dots)
	if err != nil {
		return "", "", err
	}
	body := &text{}
	defer body.close()
	if _, err := body.Write(first); err != nil {
		return "", "", err
	}
	if !over {
		if err := readText(body, in, dots); err != nil {
			return "", "", err
		}
	}
	r, err := body.reader()
	if err != nil {
		return "", "", err
	}
	sent, err := io.ReadAll(r)
	var b strings.Builder
	for _, f := range h.fields {
		b.Write(f.text)
	}
	if int64(len(sent)) != body.size {
		err = fmt.Errorf("the size is %d, want %d", body.size, len(sent))
	}
	return b.String(), string(sent), err
}

func TestRead(t *testing.T) {
	for _, tc := range []struct {
		in   string
		dots bool
		want string
	}{
		{"", true, "|"},
		{"A: b\n\nc\n", true, "A: b\r\n|c\r\n"},
		{"A: b\r\n\r\nc\r\n", true, "A: b\r\n|c\r\n"},
		{"A: b\n c\n\td\nE: f\n\ng", true, "A: b\r\n c\r\n\td\r\nE: f\r\n|g\r\n"},
		{"A: b\n \nC: d\n\ne\n", true, "A: b\r\nC: d\r\n|e\r\n"},
		{"From joe Thu Nov 26\nA: b\n\nc\n", true, "A: b\r\n|c\r\n"},
		{"A: b\nno field\nc\n", true, "A: b\r\n|no field\r\nc\r\n"},
		{"hello\n", true, "|hello\r\n"},
		{" hello\n", true, "| hello\r\n"},
		{"A: b", true, "A: b\r\n|"},
		{"A: b\n\n.\nc\n", true, "A: b\r\n|"},
		{"A: b\n\n.", true, "A: b\r\n|"},
		{"A: b\n.\nc\n", true, "A: b\r\n|"},
		{"A: b\n\n.\r\nc\n", true, "A: b\r\n|"},
		{"A: b\n\n.\nc\n", false, "A: b\r\n|.\r\nc\r\n"},
		{"A: b\n\n..\n.c\n", true, "A: b\r\n|..\r\n.c\r\n"},
		{"A: b\n\nc\rd\r\re\r\r\n", true, "A: b\r\n|c\rd\r\re\r\r\n"},
		{"A: b\n\n" + strings.Repeat("x", 5000) + "\r\n\r\n", true, "A: b\r\n|" + strings.Repeat("x", 5000) + "\r\n\r\n"},
		{"A: b\n\n" + strings.Repeat("\r", 100) + "\n", true, "A: b\r\n|" + strings.Repeat("\r", 100) + "\n"},
	} {
		for _, size := range []int{16, 17, 4096} {
			if got, err := canonical(tc.in, tc.dots, size); err != nil || got != tc.want {
				t.Errorf("%.100q by %d is %.200q, %v, want %.200q", tc.in, size, got, err, tc.want)
			}
		}
	}
	if got, err := canonical("A: b\rBcc: c\n\rd\x00\r\r\n\r\r\nx\x00y\n", true, 4096); err != nil || got != "A: b Bcc: c\r\n d\r\n|xy\r\n" {
		t.Errorf("CR and NUL: %q, %v", got, err)
	}
	if got, err := canonical("A: b\r\r\nC\x00: d\r\r\n\r\r\nx\n", true, 4096); err != nil || got != "A: b\r\nC: d\r\n|x\r\n" {
		t.Errorf("CR CR LF: %q, %v", got, err)
	}
	line := strings.Repeat("x", longestLine)
	if got, err := canonical("\n"+line+"\n"+line+"y\r\n"+line+line+line, true, 4096); err != nil || got != "|"+line+"\r\n"+line+"\r\ny\r\n"+strings.Repeat(line+"\r\n", 3) {
		t.Errorf("long lines have %d bytes, %v", len(got), err)
	}
	began := time.Now()
	if _, err := canonical("A: b\n"+strings.Repeat(" c\n", 200_000)+"\n", true, 4096); err != nil || time.Since(began) > 5*time.Second {
		t.Errorf("a field of many lines took %v, %v", time.Since(began), err)
	}
	if _, err := canonical(strings.Repeat("A: "+strings.Repeat("x", 1000)+"\n", 1100), true, 4096); !errors.Is(err, errLongHeader) {
		t.Errorf("a header without end: %v", err)
	}
	large := "A: b\r\n|" + strings.Repeat(strings.Repeat("y", 78)+"\r\n", 10_000)
	if got, err := canonical(strings.ReplaceAll(strings.Replace(large, "|", "\r\n", 1), "\r", ""), true, 4096); err != nil || got != large {
		t.Errorf("a text that goes to a file has %d bytes, %v", len(got), err)
	}
}

func TestSender(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "<>": "", " <> ": "", "joe": "joe@h", "<joe@x>": "joe@x", "Joe <joe@x>": "joe@x", "joe@x (Joe)": "joe@x",
		`"a b"@x`: `"a b"@x`, "host!joe": "host!joe@h", "a, b": "error", "<a": "error",
	} {
		got, err := single(in)
		if got = qualify(got, "h"); err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
	for _, tc := range [][3]string{
		{"", "joe@x", "<joe@x>"}, {"Joe", `"a b"@x`, `"Joe" <"a b"@x>`}, {"J\u00f6\r\nBcc: x", "a@b", "=?utf-8?b?SsO2ICBCY2M6IHg=?= <a@b>"},
	} {
		if got := author(tc[0], tc[1]); got != tc[2] {
			t.Errorf("%q and %q are %q, want %q", tc[0], tc[1], got, tc[2])
		}
	}
}

func TestStuff(t *testing.T) {
	for in, want := range map[string]string{
		"":                  "" + ".\r\n",
		"a\r\n":             "a\r\n.\r\n",
		".\r\n":             "..\r\n.\r\n",
		"a\r\n.b\r\n..\r\n": "a\r\n..b\r\n...\r\n.\r\n",
	} {
		var out bytes.Buffer
		w := bufio.NewWriter(&out)
		if err := stuff(w, strings.NewReader(in)); err != nil || out.String() != want {
			t.Errorf("%q is sent as %q, %v, want %q", in, out.String(), err, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	for text, want := range map[string]int{
		"550 5.1.1 x": ExNoUser, "550 5.1.2 x": ExNoHost, "553 5.1.3 x": ExDataErr, "550 5.7.1 x": ExUnavailable, "552 5.3.4 x": ExDataErr,
		"554 5.6.0 x": ExDataErr, "501 x": ExDataErr, "451 4.3.0 x": ExTempFail, "421 x": ExTempFail, "550 x": ExUnavailable, "554 5.5.1.1.1 x": ExUnavailable,
	} {
		var r reply
		if _, err := fmt.Sscanf(text, "%d", &r.code); err != nil {
			t.Fatal(err)
		}
		r.text = text[4:]
		if got := r.exit(); got != want {
			t.Errorf("%s ends with %d, want %d", text, got, want)
		}
	}
}

func FuzzAddresses(f *testing.F) {
	for _, s := range []string{"a@b, c", `"Doe, J." <a@b>`, "g: a, b;", "(x (y)) <@a:b@c>", "a @ b", `"\"`, "[", "a\rb@c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := addresses(s)
		if err != nil {
			return
		}
		for _, a := range list {
			if len(a) == 0 || len(a) > len(s) {
				t.Errorf("%q has the address %q", s, a)
			}
			if path(a) == nil && strings.ContainsAny(a, "\r\n\x00") {
				t.Errorf("%q passes for a path", a)
			}
		}
	})
}

// FuzzRead: whatever comes, each line that goes out ends in CRLF, no field holds another,
// and nothing depends on how the input is cut.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"A: b\n\nc\n", "From x\nA: b\r\n c\n\n.\n", "\r\r\n.\r\n", "A:\n \n\t\nB: c", "x\r\n.\n"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, dots bool) {
		head, body, err := parts(s, dots, 4096)
		if err != nil {
			return
		}
		if h, b, err := parts(s, dots, 16); err != nil || h != head || b != body {
			t.Errorf("%q is %q, %q in small pieces, %v, and %q, %q in large ones", s, h, b, err, head, body)
		}
		if strings.Contains(strings.ReplaceAll(body, "\r\n", ""), "\n") || body != "" && !strings.HasSuffix(body, "\r\n") {
			t.Errorf("%q has the text %q", s, body)
		}
		h, _, _, err := readHeader(bufio.NewReader(strings.NewReader(s)), dots)
		if err != nil {
			return
		}
		done := h.finish(map[string]string{"From": "a@b", "Date": "now", "Message-ID": "<x@y>"})
		if i := strings.Index(done, "\r\n\r\n"); i != len(done)-4 || strings.Contains(strings.ReplaceAll(done, "\r\n", ""), "\n") {
			t.Errorf("%q has the header %q", s, done)
		}
	})
}
