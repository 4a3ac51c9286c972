package main

import (
	"context"

	"gatepost/internal/smtp"
)

// explain says which way a recipient's mail goes now, and which setting has decided that.
func (r *routes) explain(ctx context.Context, sender, recipient string) (wayOut, error) {
	way, err := r.route(ctx, sender, recipient)
	if err != nil {
		return wayOut{}, err
	}
	to := smtp.ParseMailbox(recipient, smtp.Syntax{NoUUCP: true, NoPercentHack: true})
	local, err := r.engine.IsLocal(ctx, to.Domain)
	if err != nil {
		return wayOut{}, err
	}
	source := "relay.smart_host"
	if local {
		source = "relay.local_mail"
	}
	return wayOut{nextHop: way.String(), source: source}, nil
}
