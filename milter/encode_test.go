package milter

import (
	"encoding/binary"
	"strings"
	"testing"

	"gatepost/internal/smtp"
)

func mustReply(t *testing.T, code int, enhanced, text string) smtp.Reply {
	t.Helper()
	e, ok := smtp.ParseEnhancedCode(enhanced)
	if !ok && enhanced != "" {
		t.Fatalf("bad enhanced code %q", enhanced)
	}
	r, err := smtp.NewReply(code, e, text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEncodeReply(t *testing.T) {
	tests := []struct {
		name           string
		code           int
		enhanced, text string
		want           string
	}{
		{"plain", 550, "5.7.1", "Relaying denied", "550 5.7.1 Relaying denied"},
		{"two lines: both codes on each", 550, "5.7.1", "one\ntwo", "550-5.7.1 one\r\n550 5.7.1 two"},
		{"three lines", 451, "4.7.1", "a\nb\nc", "451-4.7.1 a\r\n451-4.7.1 b\r\n451 4.7.1 c"},
		{"percent", 550, "5.7.1", "100% of 50%%", "550 5.7.1 100%% of 50%%%%"},
		{"percent at the end of a line", 550, "5.7.1", "100%\nx%", "550-5.7.1 100%%\r\n550 5.7.1 x%%"},
		{"classes differ", 452, "5.7.1", "Full", "452 4.7.1 Full"},
		{"class 2", 550, "2.0.0", "Odd", "550 5.0.0 Odd"},
		{"no enhanced code", 550, "", "Go away", "550 Go away"},
		{"no enhanced code, two lines", 550, "", "Go\naway", "550-Go\r\n550 away"},
		{"no enhanced code, text begins with a digit", 550, "", "192.0.2.1 is listed", "550 5.0.0 192.0.2.1 is listed"},
		{"no enhanced code, second line begins with a digit", 450, "", "listed\n5 times", "450-4.0.0 listed\r\n450 4.0.0 5 times"},
		{"enhanced code in the text", 550, "", "5.1.1 No such user", "550 5.1.1 No such user"},
		{"enhanced code of another class in the text", 450, "", "5.1.1 No such user", "450 4.1.1 No such user"},
		{"enhanced code and nothing else in the text", 550, "", "5.1.1", "550 5.1.1 Command rejected"},
		{"no text", 550, "5.7.1", "", "550 5.7.1 Command rejected"},
		{"blank text", 450, "4.7.1", " \n", "450 4.7.1 Please try again later"},
		{"empty line within", 550, "5.7.1", "a\n\nb", "550-5.7.1 a\r\n550-5.7.1 \r\n550 5.7.1 b"},
		{"newline at the end", 550, "5.7.1", "a\n", "550 5.7.1 a"},
		{"421", 421, "4.7.0", "Bye", "421 4.7.0 Bye"},
		{"not ASCII", 550, "5.7.1", "zurückgewiesen", "550 5.7.1 zurückgewiesen"},
		{"looks like an address in front", 550, "5.7.1", "<a@b>... No", "550 5.7.1 <a@b>... No"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			frame := encodeReply(mustReply(t, tt.code, tt.enhanced, tt.text))
			if n := binary.BigEndian.Uint32(frame); int(n) != len(frame)-4 {
				t.Errorf("length says %d, frame has %d", n, len(frame)-4)
			}
			if got := string(frame[4:]); got != "y"+tt.want+"\x00" {
				t.Errorf("%d %s %q: got %q, want %q", tt.code, tt.enhanced, tt.text, got, "y"+tt.want+"\x00")
			}
		})
	}
}

// At some lengths the library's own formatting loses the end of an enhanced code
// or splits a doubled percent sign; ours must not at any.
func TestEncodeReplyAtAnyLength(t *testing.T) {
	for n := 1; n <= smtp.MaxReplyLine-1; n++ {
		a := strings.Repeat("a", n)
		got := string(encodeReply(mustReply(t, 550, "5.7.1", a+"%\nb"))[4:])
		if want := "y550-5.7.1 " + a + "%%\r\n550 5.7.1 b\x00"; got != want {
			t.Fatalf("%d letters: got %q", n, got)
		}
	}
	most := strings.TrimSuffix(strings.Repeat(strings.Repeat("%", smtp.MaxReplyLine)+"\n", smtp.MaxReplyLines), "\n")
	if got := len(encodeReply(mustReply(t, 550, "5.100.100", most))); got > headSize+maxFrame {
		t.Errorf("the largest reply makes a frame of %d bytes, MTAs take %d", got, headSize+maxFrame)
	}
}

func TestTransaction(t *testing.T) {
	for _, tt := range []struct {
		code           int
		enhanced, want string
	}{
		{421, "4.7.0", "451 4.7.0 Text"},
		{450, "4.7.1", "450 4.7.1 Text"},
		{550, "5.7.1", "550 5.7.1 Text"},
	} {
		if got := transaction(mustReply(t, tt.code, tt.enhanced, "Text")).String(); got != tt.want {
			t.Errorf("transaction(%d) = %q, want %q", tt.code, got, tt.want)
		}
	}
	if got := transaction(smtp.Reply{}); !got.IsZero() {
		t.Errorf("transaction of no reply = %q", got)
	}
}

func TestReplyCacheIsBounded(t *testing.T) {
	var c replyCache
	for i := range 10 * maxCachedReplies {
		r := mustReply(t, 550, "5.7.1", "No "+strings.Repeat("x", i%900)+string(rune('a'+i%26)))
		if got, want := string(c.frame(r)), string(encodeReply(r)); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	if len(c.frames) > maxCachedReplies {
		t.Errorf("%d replies kept, at most %d wanted", len(c.frames), maxCachedReplies)
	}
	c.frame(mustReply(t, 550, "5.7.1", strings.Repeat("x\n", 31)))
	for r, f := range c.frames {
		if len(f) > maxCachedReply {
			t.Errorf("kept a reply of %d bytes: %s", len(f), r)
		}
	}
}
