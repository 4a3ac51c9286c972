package main

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// recordedScript is what the recorded output below answers.
func recordedScript() *script {
	s := &script{}
	s.define("{client_addr}", "198.51.100.7")
	for _, c := range [][2]string{
		{"canonify,1,final", "<A@friend.org>"}, {callRelay, "x"}, {"check_mail", `<"a b"@friend.org>`},
		{"check_nothing", "<a@b>"}, {"Basic_check_relay", "x"}, {"check_rcpt", "<>"},
	} {
		s.call(c[0], c[1])
	}
	return s
}

func TestScriptText(t *testing.T) {
	got := recordedScript().text.String()
	for _, want := range []string{
		".D{client_addr}198.51.100.7\n",
		".D{mark}@@@@mark:1\n${mark}\ntry_relay x\n",
		"canonify,1,final <A@friend.org>\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("script has no %q:\n%s", want, got)
		}
	}
}

func TestAnswers(t *testing.T) {
	output, err := os.ReadFile("testdata/testmode.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"A", "@", "friend", ".", "org"},
		{"$#", "error", "$@", "5", ".", "7", ".", "1", "$:", `"550 Access denied"`},
		{"$#", "error", "$:", "550", "no", `"two  words"`},
		nil, // no such rule set
		{"OK"},
		{"$#", "error", "$@", "nouser", "$:", `"553 User address required"`},
	}
	got := recordedScript().answers(string(output))
	for i := range want {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("answer %d: %q, want %q", i, got[i], want[i])
		}
	}
}

func TestSplitAndJoinTokens(t *testing.T) {
	for _, c := range []struct{ name, printed, joined string }{
		{"words", " a b c", "a b c"},
		{"delimiters", " no , spam : see http : / / x", "no,spam:see http://x"},
		{"quoted", ` "550 a  b" . "c"`, `"550 a  b"."c"`},
		{"quoted between words", ` a "b c" d`, `a"b c"d`},
		{"escaped quote", ` "a\"b" @ x`, `"a\"b"@x`},
		{"quote without end", ` a "b c`, `a"b c`},
		{"nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := joinTokens(splitTokens(c.printed)); got != c.joined {
				t.Errorf("%q joined is %q, want %q", c.printed, got, c.joined)
			}
		})
	}
	if got := joinWith([]string{"two", "words", "@", "x"}, "."); got != "two.words@x" {
		t.Errorf("joined by a dot: %q, want two.words@x", got)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name, returned string
		want           Verdict
	}{
		{"nothing said", " OK", Verdict{Action: "accept"}},
		{"empty", "", Verdict{Action: "accept"}},
		{"stop", " $# RELAY", Verdict{Action: "accept"}},
		{"discard", " $# discard $: discard", Verdict{Action: "discard"}},
		{"quarantine", ` $# error $@ quarantine $: bad place`, Verdict{Action: "quarantine", Text: "bad place"}},
		{"code and enhanced code apart", ` $# error $@ 5 . 7 . 1 $: "550 Access denied"`, Verdict{"reject", 550, "5.7.1", "Access denied", false}},
		{"enhanced code in the text", ` $# error $@ 5 . 7 . 1 $: "550 5.1.8 x"`, Verdict{"reject", 550, "5.1.8", "x", false}},
		{"no enhanced code", " $# error $: 451 later", Verdict{"tempfail", 451, "4.0.0", "later", false}},
		{"a name for a code", ` $# error $@ nouser $: "553 x"`, Verdict{"reject", 553, "5.0.0", "x", false}},
		{"a code that is none", ` $# error $@ 6 . 1 . 1 $: 550 x`, Verdict{"reject", 550, "5.0.0", "x", false}},
		{"no code", " $# error $@ 5 . 7 . 1 $: go away", Verdict{"reject", 553, "5.3.0", "go away", false}},
		{"code alone", " $# error $: 550", Verdict{"reject", 553, "5.3.0", "550", false}},
		{"dash", " $# error $: 550-5 . 7 . 1 x", Verdict{"reject", 553, "5.3.0", "550-5.7.1 x", false}},
		{"classes differ", " $# error $@ 4 . 7 . 1 $: 550 x", Verdict{"reject", 550, "4.7.1", "x", false}},
		{"quotes and a macro", ` $# error $@ 5 . 7 . 1 $: "550 Rejected: " 10 . 0 . 0 . 1 " listed"`, Verdict{"reject", 550, "5.7.1", "Rejected: 10.0.0.1 listed", false}},
		{"escaped quote", ` $# error $: "550 a\"b"`, Verdict{"reject", 550, "5.0.0", `a"b`, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := verdict(splitTokens(c.returned)); got != c.want {
				t.Errorf("%s is %+v, want %+v", c.returned, got, c.want)
			}
		})
	}
}

func TestEnhanced(t *testing.T) {
	for s, want := range map[string]bool{
		"5.7.1": true, "2.0.0": true, "4.100.999": true, "3.1.1": false, "5.7": false, "5.7.1.1": false,
		"5..1": false, "5.1000.1": false, "55.1.1": false, "5.a.1": false, "": false,
	} {
		if got := enhanced(s); got != want {
			t.Errorf("enhanced(%q) = %v, want %v", s, got, want)
		}
	}
}

func FuzzAnswers(f *testing.F) {
	if output, err := os.ReadFile("testdata/testmode.txt"); err == nil {
		f.Add(string(output))
	}
	f.Add("> @@@@mark:99\ncheck_mail returns: $#\n")
	f.Add("@@@@mark:2\ncheck_mail       returns: $# error $@ $: \"\\")
	f.Fuzz(func(t *testing.T, output string) {
		s := recordedScript()
		answers := s.answers(output)
		if len(answers) != len(s.calls) {
			t.Fatalf("%d answers to %d calls", len(answers), len(s.calls))
		}
		for _, tokens := range answers {
			v := verdict(tokens)
			if !slices.Contains([]string{"accept", "discard", "quarantine", "reject", "tempfail"}, v.Action) {
				t.Errorf("%q is %+v", tokens, v)
			}
			if v.refuses() != (v.Code != 0 || v.Enhanced != "") {
				t.Errorf("%q: code without refusal, or the other way: %+v", tokens, v)
			}
		}
	})
}
