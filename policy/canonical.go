package policy

import (
	"context"
	"errors"

	"gatepost/internal/smtp"
)

// Canonical is whom a recipient's address is for, as the rules of the stage rcpt work it
// out: without the routes that lead through domains of ours, the domain canonified. It is
// the Decision.Recipient of one who was judged. The address is without angle brackets; an
// error says why it cannot be told.
func (p *Policy) Canonical(ctx context.Context, address string) (smtp.Mailbox, error) {
	path := smtp.ParsePath("<" + address + ">")
	switch fault := path.Fault(); {
	case !fault.IsZero():
		return smtp.Mailbox{}, errors.New(fault.Text())
	case path.Text() == "":
		return smtp.Mailbox{}, errNoUser
	}
	q := p.newInquiry(StageRcpt, &Facts{Conn: Conn{Routes: true}, Rcpt: Rcpt{Recipient: path}})
	defer q.endLists()
	_, err := recipientRouting(ctx, q)
	return q.understood(), err
}
