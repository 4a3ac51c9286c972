package deliver

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

func TestReply(t *testing.T) {
	long := strings.Repeat("x", 600)
	cases := []struct{ in, want string }{
		{"250 ok\r\n", "250 ok"},
		{"250 ok\n", "250 ok"},
		{"250\r\n", "250"},
		{"250 \r\n", "250"},
		{"250 2.1.5 ok\r\n", "250 2.1.5 ok"},
		{"250 2.1.5\r\n", "250 2.1.5"},
		{"550 2.1.5 odd\r\n", "550 2.1.5 odd"},
		{"550-5.1.1 one\r\n550-5.1.1 two\r\n550 three\r\n", "550 5.1.1 one; two; three"},
		{"550-one\r\n550 5.1.1 two\r\n", "550 one; 5.1.1 two"},
		{"550-5.1.1 one\r\n550 5.1.2 two\r\n", "550 5.1.1 one; 5.1.2 two"},
		{"550 a\tb\x00\x7f\r\r\n", `550 a b\x00\x7f\x0d`},
		{"550 " + long + "\r\n", "550 " + long[:MaxReply-7] + "..."},
		{"550-" + long + "\r\n550 y\r\n", "550 " + long[:MaxReply-7] + "..."},
		{"999 no\r\n", "error"}, {"150 no\r\n", "error"}, {"25 no\r\n", "error"}, {"250no\r\n", "error"}, {"\r\n", "error"}, {"250-no", "error"},
		{"250-a\r\n251 b\r\n", "error"},
		{strings.Repeat("250-a\r\n", 101) + "250 b\r\n", "error"},
		{"250 " + strings.Repeat("x", 2048) + "\r\n", "error"},
	}
	for _, c := range cases {
		var r reply
		got := "error"
		if err := r.read(bufio.NewReaderSize(strings.NewReader(c.in), 2*maxReplyLine), nil); err == nil {
			got = r.String()
		}
		if got != c.want {
			t.Errorf("%.80q: got %s, want %s", c.in, got, c.want)
		}
	}
}

// FuzzReply: what a server says is bounded and printable whatever it is, and only whole
// replies are taken off the stream.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{"250 ok\r\n", "250-a\r\n250 b\r\nrest", "550 5.1.1 \xff\x00\r\n", "354\n", "421-4.3.2 x\r\n421 4.3.2\r\n", "250-\r\n250-", "2\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		var r reply
		in := bufio.NewReaderSize(bytes.NewReader(said), 2*maxReplyLine)
		lines := 0
		err := r.read(in, func([]byte) { lines++ })
		if err != nil {
			if text := (&conn{ctx: t.Context()}).lost(stage{name: "it"}, err).text; !fit(text) {
				t.Errorf("%q: the error is %q", said, text)
			}
			return
		}
		if r.code < 200 || r.code > 599 || !fit(r.String()) || !strings.HasPrefix(r.String(), string(said[:3])) {
			t.Errorf("%q was read as %d %q", said, r.code, r.String())
		}
		if p := r.problem(); p.outcome == Failed != (r.code >= 500) || !fit(p.text) {
			t.Errorf("%q means %v %q", said, p.outcome, p.text)
		}
		rest := make([]byte, len(said))
		n, _ := in.Read(rest)
		taken := said[:len(said)-n]
		if n < in.Size() && (bytes.Count(taken, []byte("\n")) != lines || taken[len(taken)-1] != '\n') {
			t.Errorf("%q was taken off %q", taken, said)
		}
	})
}

func fit(text string) bool {
	return text != "" && len(text) <= MaxReply && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}
