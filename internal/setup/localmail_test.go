package setup

import (
	"strings"
	"testing"
	"time"

	"gatepost/internal/config"
	"gatepost/internal/smtp"
)

func mailbox(text string) smtp.Mailbox { return smtp.ParseMailbox(text, smtp.Syntax{}) }

func TestLocalRecipient(t *testing.T) {
	p := newPlace(t)
	p.write("users", "# who has mail here\njoe\nann@example.com\nsales  # the shop\n")
	taken := config.LocalMail{Kind: config.LocalMaildir, Address: "/x/%u"}
	for _, tc := range []struct {
		mail  config.LocalMail
		users bool
		to    string
		want  string
	}{
		{config.LocalMail{}, false, "joe@example.com", "550 5.1.1 This host takes no mail for local users"},
		{config.LocalMail{}, false, "postmaster@mx.example.com", "550 5.1.1 This host takes no mail for local users"},
		{config.LocalMail{}, false, "joe@elsewhere.example", ""},
		{taken, false, "anybody@example.com", ""},
		{taken, true, "joe@example.com", ""},
		{taken, true, "JOE@Example.com", ""},
		{taken, true, "joe@mx.example.com", ""},
		{taken, true, `"joe"@example.com`, ""},
		{taken, true, "joe+lists@example.com", ""},
		{taken, true, "ann@example.com", ""},
		{taken, true, "ann+x@example.com", ""},
		{taken, true, "sales@example.com", ""},
		{taken, true, "Postmaster@mx.example.com", ""},
		{taken, true, "ann@mx.example.com", "550 5.1.1 User unknown"},
		{taken, true, "nobody@example.com", "550 5.1.1 User unknown"},
		{taken, true, `"ann@example.com"@mx.example.com`, "550 5.1.1 User unknown"},
		{taken, true, "+joe@example.com", "550 5.1.1 User unknown"},
		{taken, true, "nobody@elsewhere.example", ""},
	} {
		p.cfg.Relay.LocalMail, p.cfg.Relay.LocalUsers = tc.mail, config.Table{}
		if tc.users {
			p.cfg.Relay.LocalUsers = textTable(p.path("users"))
		}
		if got := p.open().LocalRecipient(t.Context(), mailbox(tc.to)).String(); got != tc.want {
			t.Errorf("%s with %v, users %v: %q, want %q", tc.to, tc.mail, tc.users, got, tc.want)
		}
	}
}

// TestLocalUsersFollowed: an edit is in force without a reload, and the policy is
// not what it needs.
func TestLocalUsersFollowed(t *testing.T) {
	p := newPlace(t)
	p.write("users", "joe\n")
	p.cfg.Relay.LocalMail = config.LocalMail{Kind: config.LocalSmartHost}
	p.cfg.Relay.LocalUsers = textTable(p.path("users"))
	e := p.open()
	done := make(chan struct{})
	go func() { e.Run(t.Context()); close(done) }()
	t.Cleanup(func() { <-done })
	if got := e.LocalRecipient(t.Context(), mailbox("new@example.com")); got.Code() != 550 {
		t.Fatalf("before the edit: %v", got)
	}
	p.write("users", "joe\nnew\n")
	for end := time.Now().Add(5 * time.Second); !e.LocalRecipient(t.Context(), mailbox("new@example.com")).IsZero(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the edit is not in force; log:\n%s", p.log.String())
		}
	}
	found := false
	for _, s := range e.Status("").Tables {
		found = found || s.Table == "local_users" && s.Entries == 2
	}
	if !found {
		t.Errorf("the status has no table local_users of 2 entries: %+v", e.Status("").Tables)
	}
}

// TestLocalRecipientUnasked: what cannot be looked up is a temporary failure.
func TestLocalRecipientUnasked(t *testing.T) {
	p := newPlace(t)
	p.cfg.Relay.LocalMail = config.LocalMail{Kind: config.LocalSmartHost}
	p.cfg.Relay.LocalUsers = config.Table{Named: true, Maps: []config.Map{{Kind: "socketmap", Path: "unix:" + p.path("none") + ":users"}}}
	e := p.open()
	if got := e.LocalRecipient(t.Context(), mailbox("joe@example.com")).String(); !strings.HasPrefix(got, "451 4.3.0 ") {
		t.Errorf("users that cannot be asked: %q", got)
	}
	if got := e.LocalRecipient(t.Context(), mailbox("joe@elsewhere.example")); !got.IsZero() {
		t.Errorf("another domain: %v", got)
	}
}
