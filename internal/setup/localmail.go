package setup

import (
	"context"
	"errors"
	"strings"

	"gatepost/internal/config"
	"gatepost/internal/smtp"
	"gatepost/policy"
)

// The replies to recipients in local domains (RFC 3463, 3.2).
func replyNoLocalMail() smtp.Reply {
	return smtp.MustReply(550, "5.1.1", "This host takes no mail for local users")
}
func replyUserUnknown() smtp.Reply { return smtp.MustReply(550, "5.1.1", "User unknown") }
func replyCannotLookUp() smtp.Reply {
	return smtp.MustReply(451, "4.3.0", "Temporary system failure. Please try again later.")
}

// IsLocal tells whether a domain is this host's own (class w). An error means that
// a table could not be asked.
func (e *Engine) IsLocal(ctx context.Context, domain string) (bool, error) {
	return e.Policy().IsLocal(ctx, domain)
}

// LocalRecipient is the reply to a recipient whom the policy accepts, but for whom
// this host takes no mail. It is zero for those whom it does, and for those in
// other domains. to is the address that was judged (policy.Decision).
func (e *Engine) LocalRecipient(ctx context.Context, to smtp.Mailbox) smtp.Reply {
	local, err := e.IsLocal(ctx, to.Domain)
	switch {
	case err != nil:
		e.log.Error("it cannot be told whether a recipient is local", "domain", to.Domain, "error", err)
		return replyCannotLookUp()
	case !local:
		return smtp.Reply{}
	}
	return e.LocalUser(ctx, to)
}

// LocalUser is the reply to a recipient whose mail is local, here or by the mailertable, but
// for whom no mail is taken; zero for others.
func (e *Engine) LocalUser(ctx context.Context, to smtp.Mailbox) smtp.Reply {
	if e.local == config.LocalRefused {
		return replyNoLocalMail()
	}
	known, err := e.current.Load().knowsUser(ctx, to)
	switch {
	case err != nil:
		e.log.Error("a local user cannot be looked up", "user", to.User(), "error", err)
		return replyCannotLookUp()
	case !known:
		return replyUserUnknown()
	}
	return smtp.Reply{}
}

// knowsUser searches local_users for user@domain, then user. The postmaster is known
// everywhere (RFC 5321, 4.5.1).
func (s *state) knowsUser(ctx context.Context, to smtp.Mailbox) (bool, error) {
	user := to.User()
	if s.users == nil || strings.EqualFold(user, "postmaster") {
		return true, nil
	}
	users := s.users.asked()
	for _, key := range userKeys(to) {
		if _, found, err := users.Lookup(ctx, key); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// userKeys are the keys of a local user in local_users: user@domain, then user. A user with
// an @ in his name has the first alone, or he would be somebody in another domain.
func userKeys(to smtp.Mailbox) []string {
	user, keys := to.User(), []string(nil)
	if to.Domain != "" {
		keys = append(keys, user+"@"+to.Domain)
	}
	if !strings.Contains(user, "@") {
		keys = append(keys, user)
	}
	return keys
}

// LookupUser searches local_users for an address, or for a user in any domain, and lists
// the keys that were tried, up to the one that was found. The error says that there is no
// such table; lookups that fail are in the answers.
func (e *Engine) LookupUser(ctx context.Context, address string) ([]policy.Answer, error) {
	s := e.current.Load()
	if s.users == nil {
		return nil, errors.New("no local_users table: [relay] does not name one")
	}
	to := smtp.ParseMailbox(smtp.ParsePath(address).Text(), smtp.Syntax{NoUUCP: true, NoPercentHack: true})
	users := s.users.asked()
	var answers []policy.Answer
	for _, key := range userKeys(to) {
		entry, found, err := users.Lookup(ctx, key)
		answers = append(answers, policy.Answer{Table: "local_users", Key: key, Found: found, Value: entry.Value, Source: entry.Source, Err: err})
		if found || err != nil {
			break
		}
	}
	return answers, nil
}
