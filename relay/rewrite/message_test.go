package rewrite

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// message.eml is a message, and the other what sendmail made of it: see record_test.go.
const (
	messageFile = "testdata/message.eml"
	sentFile    = "testdata/message.sendmail.eml"
)

// messageSetting is what it was sent with.
func messageSetting() *setting {
	return &setting{HostName: "gw.lan.example", MasqueradeAs: "example.com",
		Local: []string{"localhost", "gw.lan.example", "lan.example"}, Features: []string{"masquerade_envelope"}}
}

// crlf reads a file with the line ends of a message.
func crlf(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
}

// TestMessageAsSendmail: which fields are rewritten, and how, in a whole message.
func TestMessageAsSendmail(t *testing.T) {
	wantSame(t, crlf(t, messageFile), crlf(t, sentFile))
}

func wantSame(t *testing.T, in, sent []byte) {
	t.Helper()
	_, body, _ := bytes.Cut(in, []byte("\r\n\r\n"))
	header := in[:len(in)-len(body)-2]
	got, err := messageSetting().rewriter().Header(t.Context(), SMTP, "", header)
	if err != nil {
		t.Fatal(err)
	}
	got = append(append(got, "\r\n"...), body...)
	if !bytes.Equal(got, sent) {
		t.Errorf("the message became\n%s\nsendmail has\n%s", got, sent)
	}
	if changed := len(strings.Split(string(sent), "@example.com")) - 1; changed != 8 {
		t.Errorf("sendmail changed %d senders, want 8", changed)
	}
}
