package rewrite

import (
	"slices"
	"strings"
)

// Accounts says as whom mail is sent to next hops that insist on the sender being the
// account (relay.send_as).
type Accounts struct {
	Hosts map[string]string // the account by the next hop's name, in lower case
}

func (a Accounts) any() bool { return len(a.Hosts) > 0 }

// of is the account for a destination, in the form of package deliver: hops between commas,
// a host in brackets or not, with or without a port. It is "" when there is none.
func (a Accounts) of(destination string) string {
	for hop := range strings.SplitSeq(destination, ",") {
		host := strings.TrimSpace(hop)
		if inner, _, bracketed := strings.Cut(strings.TrimPrefix(host, "["), "]"); bracketed {
			host = inner
		} else if strings.Count(host, ":") == 1 {
			host, _, _ = strings.Cut(host, ":")
		}
		if account := a.Hosts[strings.ToLower(strings.TrimSuffix(host, "."))]; account != "" {
			return account
		}
	}
	return ""
}

// sentBy makes account the author and sender of a header (RFC 5322, 3.6.2). Answers go to
// the author of before: he becomes Reply-To, unless there is one.
func sentBy(account string, header []byte) []byte {
	s := sending{account: account, header: header}
	list := fields(header)
	for _, f := range list {
		s.replyTo = s.replyTo || f.name == "reply-to"
	}
	for _, f := range list {
		switch f.name {
		case "from":
			s.from(f)
		case "sender":
			s.set(f)
		}
	}
	if !s.author {
		s.out = append(append(s.out, header[s.kept:]...), "From: "+account+"\r\n"...)
		return s.out
	}
	if s.kept == 0 {
		return header
	}
	return append(s.out, header[s.kept:]...)
}

// sending is a header that gets an account for its author.
type sending struct {
	account string
	header  []byte
	out     []byte
	kept    int  // of header, how much has been dealt with
	replyTo bool // there is a Reply-To
	author  bool // there is a From
}

func (s *sending) from(f field) {
	if s.author { // there may be only one
		s.copy(f.start)
		s.kept = f.end
		return
	}
	s.author = true
	before, changed := s.set(f)
	if changed && !s.replyTo {
		s.out = append(append(s.out, "Reply-To:"...), before...)
	}
}

// set makes a field name the account. It returns its value of before, if that is changed
// and had addresses.
func (s *sending) set(f field) (before []byte, changed bool) {
	before = s.header[f.value:f.end]
	n := 0
	var only mailbox
	ok, _ := scan(before, func(box mailbox) error {
		if n++; n == 1 {
			only, only.tokens = box, slices.Clone(box.tokens)
		}
		return nil
	})
	if !ok || n != 1 {
		s.copy(f.value)
		s.out, s.kept = append(s.out, " "+s.account+"\r\n"...), f.end
		return before, ok && n > 0
	}
	if strings.EqualFold(only.text, s.account) {
		return nil, false
	}
	var e edit
	e.replace(s.header[f.start:f.end], f.value-f.start, only, s.account)
	s.copy(f.start)
	s.out, s.kept = append(s.out, e.done(s.header[f.start:f.end])...), f.end
	return before, true
}

func (s *sending) copy(to int) {
	s.out, s.kept = append(s.out, s.header[s.kept:to]...), to
}
