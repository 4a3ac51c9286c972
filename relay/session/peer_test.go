package session

import (
	"errors"
	"strings"
	"testing"

	client "github.com/emersion/go-smtp"
)

// TestGoSMTP has a client of others as the peer.
func TestGoSMTP(t *testing.T) {
	f := accepting(t)
	c, err := client.Dial(f.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Hello("client.example"); err != nil {
		t.Fatal(err)
	}
	for _, ext := range []string{"PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "CHUNKING", "LIMITS", "DSN"} {
		if ok, _ := c.Extension(ext); !ok {
			t.Errorf("%s is not announced", ext)
		}
	}
	if size, ok := c.MaxMessageSize(); !ok || size != DefaultMessageSize {
		t.Errorf("size %d, %v", size, ok)
	}
	text := "Subject: x\r\n\r\n.\r\n..dots\r\n" + strings.Repeat("a line of text\r\n", 10_000)
	for range 3 {
		if err := c.SendMail("a@sender.example", []string{"u@local.example", "v@local.example"}, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Mail("a@@sender.example", nil); err == nil {
		t.Error("a faulty sender was taken")
	} else if e := new(client.SMTPError); !errors.As(err, &e) || e.Code != 553 || e.EnhancedCode != (client.EnhancedCode{5, 1, 3}) {
		t.Errorf("a faulty sender: %v", err)
	}
	if err := c.Quit(); err != nil {
		t.Error(err)
	}
	stored := f.stored()
	if len(stored) != 3 {
		t.Fatalf("%d messages stored, want 3", len(stored))
	}
	for _, got := range stored {
		if got != text {
			t.Errorf("stored %d bytes, want %d", len(got), len(text))
		}
	}
}
