package explain_test

import (
	"cmp"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatepost/internal/explain"
	"gatepost/policy"
)

const (
	decisions = 1000 // random ones that are looked at
	leastFlip = 900  // of them, that must have an edit
)

// TestFlips takes random decisions out of those recorded of sendmail, edits the
// texts of the tables as explain says, reads them anew, and has the session
// judged again: the verdict must be the other one. FLIP_SEED repeats a run.
func TestFlips(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("FLIP_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("FLIP_SEED: %v", err)
		}
	}
	random := rand.New(rand.NewPCG(seed, 0))
	all := readRecorded(t)
	flipped, two, toAccept := 0, 0, 0
	for n := 0; n < decisions; {
		p := &all[random.IntN(len(all))]
		s := p.Sessions[random.IntN(len(p.Sessions))].session()
		at, flip := randomDecision(t, random, p, s)
		if at < 0 {
			continue // nothing is decided there
		}
		n++
		if flip == nil {
			continue
		}
		flipped++
		if len(flip.Edits) > 1 {
			two++
		}
		before := judge(t, p.config(t), s, at)
		if !before {
			toAccept++
		}
		edited := p.edited(t, flip.Edits)
		if after := judge(t, edited.config(t), s, at); after == before {
			t.Errorf("seed %d, %s, %s from %s: stage %d is accepted: %v, and again after %v",
				seed, p.ID, s.Facts.Conn.Addr, s.From, at, before, flip.Edits)
		}
	}
	t.Logf("seed %d: %d decisions, %d flipped by an edit (%d of them by two, %d to accept)", seed, decisions, flipped, two, toAccept)
	if flipped < leastFlip {
		t.Errorf("seed %d: only %d of %d decisions have an edit, want %d", seed, flipped, decisions, leastFlip)
	}
}

// randomDecision explains a session and picks a stage at which something was
// decided, with what would flip it; -1 for none.
func randomDecision(t *testing.T, random *rand.Rand, p *recorded, s explain.Session) (at int, flip *explain.Flip) {
	t.Helper()
	cfg := p.config(t)
	r, err := explain.Explain(t.Context(), cfg, s)
	if err != nil {
		t.Fatalf("%s: %v", p.ID, err)
	}
	at = random.IntN(len(r.Stages))
	stage := &r.Stages[at]
	switch {
	case len(stage.Steps) == 0, stage.By().Rule == "check_mail, delayed": // no table has a say there
		return -1, nil
	case stage.Decisive:
		if (stage.Flip == nil) == (stage.NoFlip == "") {
			t.Errorf("%s, stage %d: flip %v together with %q", p.ID, at, stage.Flip, stage.NoFlip)
		}
		return at, stage.Flip
	}
	f, found, err := explain.FindFlip(t.Context(), cfg, s, at)
	if err != nil {
		t.Fatalf("%s: %v", p.ID, err)
	}
	if !found {
		return at, nil
	}
	return at, &f
}

// judge plays the session on its own, and tells whether it comes to a stage and
// is accepted there.
func judge(t *testing.T, cfg policy.Config, s explain.Session, at int) bool {
	t.Helper()
	p, err := policy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := s.Facts
	f.Helo, f.Auth, f.TLS = policy.Helo{}, policy.Auth{}, policy.TLS{}
	v := p.Decide(t.Context(), policy.StageConnect, &f).Verdict
	if at == 0 || v.Action == policy.Reject || v.Action == policy.Tempfail {
		return at == 0 && v.Action == policy.Accept
	}
	f = s.Facts
	f.Mail.Sender = s.From
	v = p.Decide(t.Context(), policy.StageMail, &f).Verdict
	if at == 1 || v.Action == policy.Reject || v.Action == policy.Tempfail {
		return at == 1 && v.Action == policy.Accept
	}
	f.Rcpt.Recipient = s.To[at-2]
	return p.Decide(t.Context(), policy.StageRcpt, &f).Verdict.Action == policy.Accept
}

// edited is the policy with edits made in its texts, from the last line to the first.
func (p *recorded) edited(t *testing.T, edits []explain.Edit) *recorded {
	t.Helper()
	out := *p
	edits = slices.Clone(edits)
	slices.SortFunc(edits, func(a, b explain.Edit) int {
		return cmp.Compare(slices.Max(append(b.Lines, 0)), slices.Max(append(a.Lines, 0)))
	})
	for _, e := range edits {
		switch e.File {
		case "access":
			out.Access = strings.Join(editLines(t, strings.Split(strings.TrimSuffix(out.Access, "\n"), "\n"), e), "\n") + "\n"
		case "relay-domains":
			out.Relay = editLines(t, out.Relay, e)
		case "local-host-names":
			out.LocalHosts = editLines(t, out.LocalHosts, e)
		default:
			t.Errorf("%s: edit of %s, which is no file: %v", p.ID, e.File, e)
		}
	}
	return &out
}

func editLines(t *testing.T, lines []string, e explain.Edit) []string {
	t.Helper()
	lines = slices.Clone(lines)
	text := e.Key
	if e.Table == "access" {
		text = e.Line()
	}
	if e.Op == explain.Add {
		return append(lines, text)
	}
	if e.Op == explain.Change {
		lines[e.Lines[0]-1] = text
		return lines
	}
	if e.Table == "access" {
		return slices.Delete(lines, e.Lines[0]-1, e.Lines[0])
	}
	for _, n := range e.Lines {
		words := strings.Fields(lines[n-1])
		lines[n-1] = strings.Join(slices.DeleteFunc(words, func(w string) bool { return strings.EqualFold(w, e.Key) }), " ")
	}
	return lines
}

// TestFlipsNeverOpen: no edit that explain proposes for any recorded session
// makes half the world a relay client or a relay recipient.
func TestFlipsNeverOpen(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	all := readRecorded(t)
	relays := 0
	for range 1500 {
		p := &all[random.IntN(len(all))]
		s := p.Sessions[random.IntN(len(p.Sessions))].session()
		r, err := explain.Explain(t.Context(), p.config(t), s)
		if err != nil {
			t.Fatal(err)
		}
		for i := range r.Stages {
			if r.Stages[i].Flip == nil {
				continue
			}
			for _, e := range r.Stages[i].Flip.Edits {
				if e.New == "RELAY" || e.Op == explain.Add && e.Table != "access" {
					relays++
					checkRelayEdit(t, p.ID, policy.AddrText(s.Facts.Conn.Addr), e)
				}
			}
		}
	}
	if relays < 100 {
		t.Errorf("only %d edits that let relay were seen", relays)
	}
}

func checkRelayEdit(t *testing.T, id, client string, e explain.Edit) {
	t.Helper()
	tag, rest, _ := strings.Cut(e.Key, ":")
	switch {
	case e.Table != "access" && e.Key == client, tag == "Connect" && rest == client:
		return // this client alone
	case e.Table != "access":
		rest = e.Key
	case tag != "To":
		t.Errorf("%s: %v lets more relay than the client %s", id, e, client)
	}
	domain := rest[strings.LastIndexByte(rest, '@')+1:]
	for _, wide := range []string{"com", "org", "net", "edu", "uk", "co.uk", "biz", "example", "invalid", "localhost"} {
		if strings.EqualFold(domain, wide) || !strings.Contains(domain, ".") && !strings.HasPrefix(domain, "[") {
			t.Errorf("%s: %v relays to everyone under a public suffix", id, e)
		}
	}
}
