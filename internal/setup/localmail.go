package setup

import (
	"context"
	"strings"

	"gatepost/internal/config"
	"gatepost/internal/smtp"
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
	s := e.current.Load()
	local, err := s.policy.IsLocal(ctx, to.Domain)
	switch {
	case err != nil:
		e.log.Error("it cannot be told whether a recipient is local", "domain", to.Domain, "error", err)
		return replyCannotLookUp()
	case !local:
		return smtp.Reply{}
	case e.local == config.LocalRefused:
		return replyNoLocalMail()
	}
	known, err := s.knowsUser(ctx, to)
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
	for _, key := range []string{user + "@" + to.Domain, user} {
		if _, found, err := users.Lookup(ctx, key); found || err != nil {
			return found, err
		}
	}
	return false, nil
}
