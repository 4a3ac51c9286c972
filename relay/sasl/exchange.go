package sasl

import (
	"context"
	"errors"
)

// Exchange is the dialogue of one AUTH command. It is not safe for concurrent use.
type Exchange struct {
	server   *Server
	conn     *Conn
	name     string
	counts   *counts
	dialogue dialogue
	account  string // that is tried, whether there is one or not; for the log
	user     string
	over     bool
}

// dialogue is the server's side of a mechanism.
type dialogue interface {
	// next gets a response; given is false when there was no initial one. With done,
	// the Exchange has its user.
	next(ctx context.Context, response []byte, given bool) (challenge []byte, done bool, err error)
}

// Mechanism is the mechanism's name, for {auth_type}.
func (x *Exchange) Mechanism() string { return x.name }

// User is who has been authenticated, for {auth_authen}; empty before Next is done. It
// is the account's name, so that two accounts are never the same.
func (x *Exchange) User() string { return x.user }

// Next takes the client's response and returns the next challenge. The first call has
// the initial response; given is false when there was none, and an empty response with
// given is one that is there and empty ("=").
//
// When done, the client is who it says. A challenge that comes with done (DIGEST-MD5,
// SCRAM) is sent as any other, and the client answers it with an empty response: only
// then AUTH has succeeded.
//
// After an error the dialogue is over: ErrFailed, ErrMalformed, ErrThrottled, or
// ErrTemporary when accounts could not be asked or the machine is too busy. No error
// tells a name that nobody has from a wrong password.
func (x *Exchange) Next(ctx context.Context, response []byte, given bool) (challenge []byte, done bool, err error) {
	if x.over {
		return nil, false, ErrMalformed
	}
	if len(response) > maxResponse {
		err = refuse(ErrMalformed, "response too long")
	} else {
		challenge, done, err = x.dialogue.next(ctx, response, given)
	}
	x.over = done || err != nil
	if x.over {
		x.counts.end(err)
	}
	if err == nil {
		return challenge, done, nil
	}
	x.user = ""
	x.server.log.Info("auth: refused", "mechanism", x.name, "client", x.conn.Client, "user", x.account, "reason", err)
	return nil, false, public(err)
}

// refusal is an error for a peer, and why, for the log.
type refusal struct {
	public error
	why    string
}

func (r *refusal) Error() string { return r.why }
func (r *refusal) Unwrap() error { return r.public }

func refuse(public error, why string) error { return &refusal{public, why} }

// public is what a peer may know of an error.
func public(err error) error {
	for _, known := range []error{ErrFailed, ErrMalformed, ErrThrottled, ErrTemporary} {
		if errors.Is(err, known) {
			return known
		}
	}
	return ErrTemporary
}
