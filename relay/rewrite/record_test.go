//go:build integration

package rewrite

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what sendmail answers to "+corpus)

// TestRealSendmail asks the sendmail of the image of the integration tests about each
// address, in its test mode, and compares. With -update its answers become the corpus:
//
//	GATEPOST_SENDMAIL_TAG=... go test -tags integration -run RealSendmail ./relay/rewrite -update
func TestRealSendmail(t *testing.T) {
	tag := os.Getenv("GATEPOST_SENDMAIL_TAG")
	if tag == "" {
		t.Fatal("GATEPOST_SENDMAIL_TAG is not set: see integration/run.sh")
	}
	dir := t.TempDir()
	all := recordedSettings()
	for i, s := range all {
		writeSetting(t, filepath.Join(dir, fmt.Sprint(i)), s)
	}
	script := `cd /w; for i in *; do (cd $i && { [ ! -f generics ] || makemap -t '	' hash generics < generics; } &&
		m4 /usr/share/sendmail/cf/m4/cf.m4 a.mc > a.cf && sendmail -bt -C a.cf < in > out) || exit 1; done`
	cmd := exec.CommandContext(t.Context(), "docker", "run", "--rm", "--network", "none", "--hostname", "gw.lan.example",
		"-v", dir+":/w", "--entrypoint", "sh", "gatepost-test/sendmail:"+tag, "-c", script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var lines bytes.Buffer
	compared := 0
	for i, s := range all {
		readAnswers(t, filepath.Join(dir, fmt.Sprint(i), "out"), s)
		n, wrong := s.compare(t.Context())
		compared += n
		for _, w := range wrong {
			t.Errorf("setting %d (%s %v): %s", i, s.MasqueradeAs, s.Features, w)
		}
		e := json.NewEncoder(&lines)
		e.SetEscapeHTML(false)
		if err := e.Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d answers of sendmail compared", compared)
	if *update {
		if err := os.WriteFile(corpus, lines.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// writeSetting makes the files that sendmail needs: a.mc, generics, and the script in.
func writeSetting(t *testing.T, dir string, s *setting) {
	t.Helper()
	var mc, in strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&mc, format+"dnl\n", args...) }
	line("divert(0)OSTYPE(`linux')")
	line("define(`confDOMAIN_NAME', `%s')", s.HostName)
	line("define(`confDONT_PROBE_INTERFACES', `True')")
	for _, f := range append([]string{"nocanonify"}, s.Features...) {
		name, argument, _ := strings.Cut(f, ",")
		line("FEATURE(`%s', `%s')", name, argument)
	}
	line("LOCAL_DOMAIN(`%s')", strings.Join(s.Local, " "))
	if s.MasqueradeAs != "" {
		line("MASQUERADE_AS(`%s')", s.MasqueradeAs)
	}
	for macro, words := range map[string][]string{
		"MASQUERADE_DOMAIN": s.Domains, "MASQUERADE_EXCEPTION": s.Exceptions,
		"EXPOSED_USER": s.Exposed, "GENERICS_DOMAIN": s.GenericsDomains,
	} {
		if words != nil {
			line("%s(`%s')", macro, strings.Join(words, " "))
		}
	}
	if s.Generics != "" {
		line("FEATURE(`genericstable', `hash generics')")
	}
	line("MAILER(`local')")
	line("MAILER(`smtp')")
	in.WriteString("$=w\n")
	for i, q := range questions() {
		fmt.Fprintf(&in, "/tryflags %s\n", q.flags)
		for j, a := range addresses() {
			if a[0] == '@' { // a route; without brackets it would be the name of a group
				a = "<" + a + ">"
			}
			fmt.Fprintf(&in, ".D{mark}%d %d\n@@@@${mark}\n/try %s %s\n", i, j, q.mailer, a)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"a.mc": mc.String(), "in": in.String()}
	if s.Generics != "" {
		files["generics"] = s.Generics
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// readAnswers reads what test mode wrote. The answer to each /try is its line "Rcode = 0,
// addr = ADDRESS"; they come in the order of the questions.
func readAnswers(t *testing.T, file string, s *setting) {
	t.Helper()
	out, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.Answers = map[string][]string{}
	s.Local = nil
	n := 0
	for l := range strings.Lines(string(out)) {
		l = strings.TrimSuffix(l, "\n")
		for strings.HasPrefix(l, "> ") {
			l = l[2:]
		}
		if answer, ok := strings.CutPrefix(l, "Rcode = 0, addr = "); ok {
			text := addresses()[n%len(addresses())]
			answer = strings.TrimSuffix(strings.TrimPrefix(answer, "<"), ">")
			if n++; answer == text {
				answer = ""
			}
			s.Answers[text] = append(s.Answers[text], answer)
		} else if n == 0 && l != "" && !strings.ContainsAny(l, " @") { // a word of class w
			s.Local = append(s.Local, l)
		}
	}
	if want := len(questions()) * len(addresses()); n != want || len(s.Local) == 0 {
		t.Fatalf("%s: %d answers and %d local names, want %d answers", file, n, len(s.Local), want)
	}
}

// addresses are what sendmail is asked about.
func addresses() []string {
	return strings.Fields(`
		joe Root root JOE bob+detail bob+x+y ann zoe+tag +plus first.last "joe" "quoted.user" "a\"b" "r@oot"
		joe@gw.lan.example joe@lan.example JOE@LAN.Example root@lan.example Root@gw.lan.example root@deep.lan.example
		"joe"@lan.example "bob+q"@lan.example bob+detail@lan.example bob+x+y@gw.lan.example ann@lan.example zoe+tag@other.lan
		full@lan.example joe@deep.lan.example joe@x.y.corp.example joe@corp.example root@corp.example root@x.corp.example
		joe@mycorp.example joe@keep.lan.example joe@a.keep.lan.example joe@keep.corp.example who@other.lan some@generic.example who@sub.generic.example
		joe@pc joe@unknown joe@pc. joe@lan.example. joe@elsewhere.example joe@example.com root@example.com
		joe@localhost joe@localhost.lan.example JOE@LocalHost joe@[127.0.0.1] joe@[192.0.2.1] joe@[IPv6:2001:db8::1]
		joe%remote joe%lan.example joe%remote@lan.example joe%lan.example@lan.example joe%gw.lan.example@gw.lan.example
		host!joe host!joe@lan.example a.b!joe host!mid!joe joe@host.UUCP joe@a.b.UUCP a!b%c
		@relay.example:joe@lan.example @a.example,@b.example:joe@lan.example
		joe+@lan.example joe_x-y@lan.example joe/x@lan.example joe=x@lan.example
		twice@lan.example percent@lan.example list local2 elsewhere`)
}

// recordedSettings are the configurations.
func recordedSettings() []*setting {
	const generics = "joe\tjoe.smith@public.example\nann@lan.example\tann.a\nbob+*\tbob-%1@pub.example\nbob\tbob@pub.example\n" +
		"zoe+*@other.lan\tzoe.%1.%2@pub.example\nfull@lan.example\tx%0.%1%%y%z@pub.example\n@other.lan\t%1@o.example\n" +
		"@generic.example\tpostbox@public.example\ntwice@lan.example\ttwice@gw.lan.example\n" +
		"percent@lan.example\tp%q@r.example\nlist\tlist%remote\nlocal2\tx@localhost\nelsewhere\tb!c\n" +
		"root@gw.lan.example\troot.gw\njoe@gw.lan.example\tgw.joe@public.example\nr@oot\tquoted@public.example\n+plus\tplus@public.example\n"
	local := []string{"lan.example", "other.lan", "pc", "generic.example"}
	domains := []string{"corp.example", "deep.lan.example"}
	exceptions := []string{"keep.lan.example", "keep.corp.example"}
	exposed := []string{"root", "first.last"}
	gd := []string{"lan.example", "other.lan", "generic.example"}
	var all []*setting
	add := func(s setting, features ...string) {
		s.HostName, s.Features = "gw.lan.example", features
		if s.Local == nil {
			s.Local = local
		}
		all = append(all, &s)
	}
	plain := setting{MasqueradeAs: "example.com"}
	rich := setting{MasqueradeAs: "example.com", Domains: domains, Exceptions: exceptions, Exposed: exposed}
	table := setting{Generics: generics, GenericsDomains: gd}
	both := setting{MasqueradeAs: "example.com", Domains: domains, Exceptions: exceptions, Exposed: exposed, Generics: generics, GenericsDomains: gd}
	add(plain)
	add(plain, "masquerade_envelope")
	add(plain, "allmasquerade")
	add(plain, "allmasquerade", "masquerade_envelope", "local_no_masquerade")
	add(plain, "always_add_domain")
	add(plain, "always_add_domain,added.example", "masquerade_envelope")
	add(plain, "always_add_domain", "local_no_masquerade", "masquerade_envelope")
	add(plain, "always_add_domain", "allmasquerade")
	add(plain, "nouucp,reject")
	add(plain, "nopercenthack,reject", "nouucp,nospecial", "masquerade_envelope")
	add(rich)
	add(rich, "masquerade_entire_domain", "masquerade_envelope")
	add(rich, "limited_masquerade", "masquerade_envelope")
	add(rich, "limited_masquerade", "masquerade_entire_domain", "allmasquerade", "always_add_domain")
	add(rich, "local_lmtp", "local_no_masquerade", "masquerade_envelope")
	add(rich, "local_lmtp", "always_add_domain")
	add(table)
	add(table, "masquerade_envelope", "generics_entire_domain", "always_add_domain")
	add(table, "allmasquerade")
	add(both)
	add(both, "masquerade_envelope", "generics_entire_domain", "masquerade_entire_domain")
	add(both, "limited_masquerade", "allmasquerade", "masquerade_envelope")
	add(both, "local_no_masquerade", "always_add_domain", "masquerade_envelope", "nouucp,reject")
	add(setting{Exceptions: exceptions}, "always_add_domain")
	add(setting{MasqueradeAs: "gw.lan.example", Exposed: exposed, GenericsDomains: gd}, "masquerade_envelope")
	return all
}

// TestRealMessage has sendmail send a whole message through a mailer with the rule sets of
// mailer smtp, which writes it to a file.
func TestRealMessage(t *testing.T) {
	tag := os.Getenv("GATEPOST_SENDMAIL_TAG")
	if tag == "" {
		t.Fatal("GATEPOST_SENDMAIL_TAG is not set: see integration/run.sh")
	}
	dir := t.TempDir()
	writeSetting(t, dir, messageSetting())
	message, err := os.ReadFile(messageFile)
	if err != nil {
		t.Fatal(err)
	}
	const options = "define(`SMART_HOST', `out:x')dnl\ndefine(`QUEUE_DIR', `/w/q')dnl\ndefine(`confSERVICE_SWITCH_FILE', `/w/switch')dnl\n"
	const mailer = "MAILER_DEFINITIONS\nMout, P=/bin/sh, F=mDFMuS, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\\n, A=sh -c cat>/w/out $u\n"
	mc, err := os.ReadFile(filepath.Join(dir, "a.mc"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"message": string(message), "a.mc": strings.Replace(string(mc), "MAILER(", options+"MAILER(", 1) + mailer, "switch": "hosts files\naliases files\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script := `cd /w && mkdir q && m4 /usr/share/sendmail/cf/m4/cf.m4 a.mc > a.cf && sendmail -C /w/a.cf -odi -f ann@lan.example x@far.example < message`
	cmd := exec.CommandContext(t.Context(), "docker", "run", "--rm", "--network", "none", "--hostname", "gw.lan.example",
		"-v", dir+":/w", "--entrypoint", "sh", "gatepost-test/sendmail:"+tag, "-c", script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := os.ReadFile(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	from, rest, _ := strings.Cut(string(out), "\n")
	if !strings.HasPrefix(from, "From ann@example.com ") {
		t.Errorf("the envelope's sender: %s", from)
	}
	_, rest, _ = strings.Cut(rest, "\nFrom: ") // behind Received:
	sent := "From: " + rest
	wantSame(t, crlf(t, messageFile), []byte(strings.ReplaceAll(sent, "\n", "\r\n")))
	if *update {
		if err := os.WriteFile(sentFile, []byte(sent), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
