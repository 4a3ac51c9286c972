package setup

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"gatepost/internal/config"
)

func openSenders(t *testing.T, b config.Binding, realms ...string) (*Senders, error) {
	t.Helper()
	cfg := config.Default()
	cfg.Relay.SenderBinding, cfg.Relay.AuthRealm = b, realms
	return OpenSenders(cfg, "mx.example.com", slog.New(slog.DiscardHandler))
}

func TestSendersSame(t *testing.T) {
	s, err := openSenders(t, config.Binding{Same: true}, "other.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		user, sender string
		want         bool
	}{
		{"joe", "joe@example.com", true},
		{"joe", "Joe@EXAMPLE.com", true},
		{"joe", "joe@mx.example.com", true},
		{"joe", "joe@other.example", true},
		{"joe", "", true},
		{"joe", "ann@example.com", false},
		{"joe", "joe@elsewhere.example", false},
		{"joe", "joe", false},
		{"joe", "@example.com", false},
		{"joe", "joe@", false},
		{"joe@a.example", "joe@a.example", true},
		{"joe@a.example", "joe@example.com", false},
		{"joe", "joe@example.com@elsewhere.example", false},
	} {
		if got := s.Allowed(tc.user, tc.sender); got != tc.want {
			t.Errorf("%s as %q: %v, want %v", tc.user, tc.sender, got, tc.want)
		}
	}
	if none, err := openSenders(t, config.Binding{}); none != nil || err != nil || !none.Allowed("joe", "ann@elsewhere.example") {
		t.Errorf("without a binding: %v, %v", none, err)
	}
}

// TestSendersRealms: joe of the first realm of a sasldb is not the joe of another.
func TestSendersRealms(t *testing.T) {
	cfg := config.Default()
	cfg.Relay.SenderBinding, cfg.Relay.SASLDB = config.Binding{Same: true}, "/etc/sasldb2"
	cfg.Relay.AuthRealm = []string{"first.example", "second.example", "example.com"}
	s, err := OpenSenders(cfg, "mx.example.com", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for sender, want := range map[string]bool{
		"joe@first.example": true, "joe@mx.example.com": true, "joe@second.example": false, "joe@Example.COM": false,
	} {
		if got := s.Allowed("joe", sender); got != want {
			t.Errorf("joe as %q: %v, want %v", sender, got, want)
		}
	}
	if !s.Allowed("joe@second.example", "joe@second.example") {
		t.Error("joe of the second realm may not send as himself")
	}
}

func TestSendersFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "senders")
	put(t, file, []byte("# who may send as whom\njoe: joe@Example.com, @lists.example.com\njoe:\tj@example.com\n\nann@a.example: *\n"), 0o644)
	s, err := openSenders(t, config.Binding{File: file})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		user, sender string
		want         bool
	}{
		{"joe", "joe@example.com", true},
		{"joe", "j@example.com", true},
		{"joe", "any@lists.EXAMPLE.com", true},
		{"joe", "any@sub.lists.example.com", false},
		{"joe", "ann@example.com", false},
		{"Joe", "joe@example.com", false},
		{"ann@a.example", "x@anywhere.example", true},
		{"nobody", "joe@example.com", false},
		{"nobody", "", true},
	} {
		if got := s.Allowed(tc.user, tc.sender); got != tc.want {
			t.Errorf("%s as %q: %v, want %v", tc.user, tc.sender, got, tc.want)
		}
	}
	put(t, file, []byte("nobody: joe@example.com\n"), 0o644)
	for end := time.Now().Add(5 * time.Second); !s.Allowed("nobody", "joe@example.com") || s.Allowed("joe", "joe@example.com"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the edit is not taken over")
		}
	}
}

func TestSendersFaults(t *testing.T) {
	file := filepath.Join(t.TempDir(), "senders")
	for text, want := range map[string]string{
		"joe joe@example.com\n":  `:1: expected a line such as "joe: joe@example.com, @lists.example.com"`,
		"# x\n\njoe: joe\n":      `:3: "joe" is no sender, expected an address, @ and a domain for all of it, or * for any`,
		"joe: a@b.example, c@\n": `:1: "c@" is no sender, expected an address, @ and a domain for all of it, or * for any`,
		"joe:\n":                 `:1: expected addresses after the colon`,
		": a@b.example\n":        `:1: expected a line such as "joe: joe@example.com, @lists.example.com"`,
	} {
		put(t, file, []byte(text), 0o644)
		if _, err := openSenders(t, config.Binding{File: file}); err == nil || err.Error() != file+want {
			t.Errorf("%q: %v, want %s%s", text, err, file, want)
		}
	}
}
