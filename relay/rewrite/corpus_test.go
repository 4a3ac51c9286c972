package rewrite

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"gatepost/internal/smtp"
	"gatepost/maps"
)

// corpus is what real sendmail answered: see record_test.go, which makes it.
const corpus = "testdata/sendmail.jsonl"

// setting is one configuration, and what sendmail makes of addresses with it.
type setting struct {
	HostName        string
	MasqueradeAs    string   `json:",omitempty"`
	Local           []string // class w, as sendmail had it
	Domains         []string `json:",omitempty"`
	Exceptions      []string `json:",omitempty"`
	Exposed         []string `json:",omitempty"`
	Generics        string   `json:",omitempty"` // the table's text
	GenericsDomains []string `json:",omitempty"`
	Features        []string `json:",omitempty"` // as FEATURE() has them
	Answers         map[string][]string
}

// question is one thing to ask of each address: mailer and place, as test mode names them.
type question struct {
	flags, mailer string
	place         Place
	as            Mailer
}

func questions() []question {
	return []question{
		{"HS", "relay", HeaderSender, Relay}, {"ES", "relay", EnvelopeSender, Relay},
		{"HR", "relay", HeaderRecipient, Relay}, {"ER", "relay", EnvelopeRecipient, Relay},
		{"HS", "esmtp", HeaderSender, SMTP}, {"ES", "esmtp", EnvelopeSender, SMTP},
		{"HR", "esmtp", HeaderRecipient, SMTP}, {"ER", "esmtp", EnvelopeRecipient, SMTP},
		{"HS", "local", HeaderSender, Local}, {"ES", "local", EnvelopeSender, Local},
		{"HR", "local", HeaderRecipient, Local},
	}
}

func (s *setting) has(feature string) bool {
	for _, f := range s.Features {
		if name, _, _ := strings.Cut(f, ","); name == feature {
			return true
		}
	}
	return false
}

// rewriter is what a setting is for us.
func (s *setting) rewriter() *Rewriter {
	class := func(words []string) []maps.Map {
		if words == nil {
			return nil
		}
		return []maps.Map{maps.NewClass("test", words)}
	}
	c := Config{
		HostName: s.HostName, MasqueradeAs: s.MasqueradeAs,
		Local: class(s.Local), Domains: class(s.Domains), Exceptions: class(s.Exceptions), Exposed: class(s.Exposed),
		GenericsDomains: class(s.GenericsDomains),
		Syntax:          smtp.Syntax{NoUUCP: s.has("nouucp"), NoPercentHack: s.has("nopercenthack")},
		Features: Features{
			MasqueradeEnvelope: s.has("masquerade_envelope"), MasqueradeEntireDomain: s.has("masquerade_entire_domain"),
			LimitedMasquerade: s.has("limited_masquerade"), AllMasquerade: s.has("allmasquerade"),
			LocalNoMasquerade: s.has("local_no_masquerade"), GenericsEntireDomain: s.has("generics_entire_domain"),
			AlwaysAddDomain: s.has("always_add_domain"),
		},
	}
	for _, f := range s.Features {
		if name, argument, _ := strings.Cut(f, ","); name == "always_add_domain" {
			c.Features.AddDomain = argument
		}
	}
	if s.Generics != "" {
		c.Generics = table(s.Generics)
	}
	return New(c)
}

// table is a text of keys and values.
func table(text string) maps.Map {
	m, err := maps.NewPairs("generics", func(yield func(key, value []byte) error) error {
		for line := range strings.Lines(text) {
			key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			if err := yield([]byte(key), []byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	return m
}

func settings(t *testing.T) (all []*setting) {
	f, err := os.Open(corpus)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		s := &setting{}
		if err := json.Unmarshal(lines.Bytes(), s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// TestAsSendmail: every answer of real sendmail that was recorded is ours too.
func TestAsSendmail(t *testing.T) {
	all := settings(t)
	compared := 0
	for i, s := range all {
		n, wrong := s.compare(t.Context())
		compared += n
		for _, w := range wrong {
			t.Errorf("setting %d (%s %v): %s", i, s.MasqueradeAs, s.Features, w)
		}
	}
	if len(all) < 20 || compared < 5000 {
		t.Errorf("only %d answers with %d settings were compared", compared, len(all))
	}
}

// compare tells where our answers are others than sendmail's.
func (s *setting) compare(ctx context.Context) (n int, wrong []string) {
	r := s.rewriter()
	for text, answers := range s.Answers {
		for i, q := range questions() {
			want := answers[i]
			if want == "" {
				want = text
			}
			n++
			as := q.as
			if as == Local && s.has("local_lmtp") {
				as = LMTP
			}
			got, err := r.Address(ctx, as, q.place, text)
			if got.Address != want || err != nil {
				wrong = append(wrong, fmt.Sprintf("%s %s %s: %s by %q (error %v), sendmail has %s", q.flags, q.mailer, text, got.Address, got.Rule, err, want))
			}
		}
	}
	return n, wrong
}
