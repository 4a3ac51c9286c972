package deliver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func maildir(t *testing.T, path string) *Maildir {
	t.Helper()
	d, err := NewMaildir(path, "mx/1.example:com")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestMaildir: two messages for each of two, as other programs expect them.
func TestMaildir(t *testing.T) {
	base := filepath.Join(t.TempDir(), "mail")
	d := maildir(t, base+"/%d/%u/Maildir")
	m := message("Bob@Example.NET", `"Carol"@example.net`)
	m.body = strings.Repeat("From: x\r\n\r\n.\r\n", chunk/5)
	for range 2 {
		for _, r := range d.Deliver(context.Background(), "", m, []int{0, 1}) {
			if r.Outcome != Delivered || !strings.HasPrefix(r.Reply, "stored as ") || r.Down {
				t.Fatalf("%+v", r)
			}
		}
	}
	name := regexp.MustCompile(`^\d{10,}\.M\d{1,6}P\d+Q\d+\.mx\\0571\.example\\072com$`)
	for user, header := range map[string]string{"bob": "Bob@Example.NET", "carol": `"Carol"@example.net`} {
		box := filepath.Join(base, "example.net", user, "Maildir")
		files, _ := filepath.Glob(box + "/new/*")
		if len(files) != 2 {
			t.Fatalf("%s has %v", user, files)
		}
		want := "Return-Path: <alice@example.com>\nDelivered-To: " + header + "\n" + strings.ReplaceAll(m.body, "\r\n", "\n")
		for _, file := range files {
			if got, err := os.ReadFile(file); err != nil || string(got) != want {
				t.Errorf("%s begins with %.200q, want %.200q (%v)", file, got, want, err)
			}
			if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 || !name.MatchString(filepath.Base(file)) {
				t.Errorf("%s has mode %v (%v)", file, info.Mode(), err)
			}
		}
		for _, sub := range []string{"", "/tmp", "/new", "/cur"} {
			if info, err := os.Stat(box + sub); err != nil || info.Mode() != 0o700|os.ModeDir {
				t.Errorf("%s: %v, %v", box+sub, info, err)
			}
		}
		if left, _ := os.ReadDir(box + "/tmp"); len(left) > 0 {
			t.Errorf("tmp has %v", left)
		}
	}
}

// TestMaildirHostile: no address leads out of the place of the maildirs, nor into that of
// another.
func TestMaildirHostile(t *testing.T) {
	for _, address := range []string{
		"", "@example.net", `""@example.net`, ".@example.net", "..@example.net", "../x@example.net", `"../x"@example.net`, `"\.\./x"@example.net`,
		"/etc@example.net", "a/b@example.net", "a\x00b@example.net", "a\nb@example.net", `"a b"@example.net`, "a\x1bb@example.net", "\xff@example.net",
		strings.Repeat("x", maxPlaceholder+1) + "@example.net", ".hidden@example.net", "bob@..", "bob@../..", "bob@a/b", "bob@", "bob", "a\u2028b@example.net",
	} {
		base := t.TempDir()
		d := maildir(t, filepath.Join(base, "mail/%d/%u"))
		m := message(address)
		got := d.Deliver(context.Background(), "", m, []int{0})
		if got[0].Outcome != Failed || got[0].Status != statusBadMailbox || !fit(got[0].Reply) {
			t.Errorf("%q: %+v", address, got[0])
		}
		if made, _ := os.ReadDir(base); len(made) > 0 {
			t.Errorf("%q has made %v", address, made)
		}
	}
}

// FuzzExpand: what comes out has as many parts as the path that goes in.
func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"bob", "..", ".", "a/b", "%u", "\x00", "İ", "a\\b"} {
		f.Add(seed, "example.net")
	}
	f.Fuzz(func(t *testing.T, local, domain string) {
		got, err := expand("/var/mail/%d/%u/x%%", local, domain)
		if err != nil {
			return
		}
		parts := strings.Split(got, "/")
		if filepath.Clean(got) != got || len(parts) != 6 || len(parts[4]) > 255 || parts[5] != "x%" || strings.ContainsAny(got, "\x00\r\n") {
			t.Errorf("%q at %q lives at %q", local, domain, got)
		}
	})
}

// TestMaildirTrouble: what is wrong with files is worth another attempt, and leaves
// nothing behind.
func TestMaildirTrouble(t *testing.T) {
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "bob"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d := maildir(t, base+"/%u")
	if got := deliver(d, "", message("bob@example.net")); got != "Deferred 4.2.0 cannot write into the maildir: not a directory" {
		t.Error(got)
	}
	m := message("carol@example.net")
	m.body = "a\nb\r\n"
	if got := deliver(d, "", m); got != "Failed 5.6.0 "+errLoneCRLF.Error() {
		t.Error(got)
	}
	if left, _ := filepath.Glob(base + "/carol/*/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if got := d.Deliver(ctx, "", m, []int{0}); got[0].Outcome != Deferred {
		t.Errorf("%+v", got)
	}
}

// TestMaildirSettled: what was stored is told before the next one is.
func TestMaildirSettled(t *testing.T) {
	m := &recorded{memory: message("bob@example.net", "carol@example.net", "../x@example.net", "dave@example.net")}
	got := maildir(t, t.TempDir()+"/%u").Deliver(t.Context(), "", m, []int{1, 2, 3})
	if want := "[1 Sent 2 Failed]"; fmt.Sprint(m.settled) != want || got[2].Outcome != Delivered {
		t.Errorf("settled %v, want %s; %+v", m.settled, want, got)
	}
}

func TestNewMaildirErrors(t *testing.T) {
	for path, want := range map[string]string{
		"mail/%u":      `"mail/%u" is no absolute path`,
		"/var/mail/%n": `"/var/mail/%n": %u, %d or %% was expected`,
		"/var/mail/%":  `"/var/mail/%" ends in a %; %u, %d or %% was expected`,
	} {
		if _, err := NewMaildir(path, "mx"); fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}
