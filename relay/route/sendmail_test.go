package route

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"gatepost/internal/dns/dnsfake"
	"gatepost/internal/smtp"
)

// TestSendmail compares with what sendmail 8.17 says of the same table. record.sh has
// recorded it, and integration/route_test.go asks it again.
func TestSendmail(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile("testdata/sendmail/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	s := newSite(t, dnsfake.Zone{}, read("mailertable"))
	s.local = func(domain string) (bool, error) {
		return strings.EqualFold(domain, "local.example") || strings.EqualFold(domain, "mx.example.com"), nil
	}
	var r *Router
	var smart string
	compared := 0
	for line := range strings.Lines(read("answers.txt")) {
		line = strings.TrimRight(line, "\n")
		if text, ok := strings.CutPrefix(line, "SMART_HOST "); ok {
			smart = text
			r = New(Config{Site: s, SmartHost: smartHost(t, smart)})
			continue
		}
		to, want, _ := strings.Cut(line, "\t")
		a, err := r.Route(t.Context(), "", to)
		if err != nil {
			t.Errorf("%s: %v, want %s", to, err, want)
			continue
		}
		if strings.HasPrefix(a.Rule, "smart_host "+smart) && strings.Contains(to, "@[") {
			// sendmail takes its usual mailer here, and with it another port than for all
			// other mail that goes there (docs/differences.md).
			want = strings.Replace(want, "mailer esmtp", "mailer relay", 1)
		}
		if got := asParse(a); !strings.EqualFold(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", to, got, want)
		}
		compared++
	}
	if compared < 140 {
		t.Errorf("only %d answers were compared", compared)
	}
}

func smartHost(t *testing.T, text string) (h SmartHost) {
	if text == "" {
		return h
	}
	h.Host = text
	if mailer, rest, ok := smtp.CutMailer(text); ok {
		h.Mailer, h.Host = mailer, rest
	}
	h.Hops = hops(t, h.Host)
	return h
}

// asParse is an answer as sendmail prints it. Its local mailer has the user alone, and the
// address in the place of the host where the table has made the mail local.
func asParse(a Answer) string {
	user, _, _ := strings.Cut(a.User, "@")
	switch {
	case a.Mailer == "local" && a.Source == "":
		return "mailer local, user " + user
	case a.Mailer == "local":
		domain, _, _ := strings.Cut(a.Rule, " ")
		return fmt.Sprintf("mailer local, host bob@%s, user %s", domain, user)
	case a.Mailer == "error":
		_, text, _ := strings.Cut(a.Rule, " error:")
		host := ""
		if a.Host != "" {
			host = ", host " + a.Host
			text = strings.TrimPrefix(text, a.Host+":")
		}
		if !strings.HasSuffix(text, a.Fault.Text()) {
			text += " (and not " + a.Fault.Text() + ")"
		}
		return fmt.Sprintf("mailer *error*%s, user %s", host, text)
	}
	return fmt.Sprintf("mailer %s, host %s, user %s", a.Mailer, a.Host, a.User)
}
