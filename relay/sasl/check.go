package sasl

import (
	"context"
	"crypto/subtle"
	"errors"
	"hash"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/xdg-go/scram"
)

// kdf derives keys from passwords, a bounded number at once.
type kdf struct {
	seats    chan struct{}
	patience time.Duration
	rounds   atomic.Uint64 // of the hash, all together
}

func (k *kdf) init(concurrency int, patience time.Duration) {
	if concurrency <= 0 {
		concurrency = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if patience <= 0 {
		patience = 10 * time.Second
	}
	k.seats, k.patience = make(chan struct{}, concurrency), patience
}

// sit waits for a turn. The caller rises.
func (k *kdf) sit(ctx context.Context) error {
	select {
	case k.seats <- struct{}{}:
		return nil
	case <-ctx.Done():
		return refuse(ErrTemporary, "too many checks of passwords at once")
	}
}

func (k *kdf) rise() { <-k.seats }

// derive makes a verifier and then works on until rounds have been made.
func (k *kdf) derive(h func() hash.Hash, password string, salt []byte, iterations, rounds int) (*Verifier, error) {
	v, err := derive(h, password, salt, iterations)
	if err != nil {
		return nil, err
	}
	k.rounds.Add(uint64(iterations))
	if rest := rounds - iterations; rest > 0 {
		k.rounds.Add(uint64(rest))
		burn(h, password, salt, rest)
	}
	return v, nil
}

// attempt is one look at a proof that the client is a user, between the throttle's limits.
// check runs when it may.
func (x *Exchange) attempt(ctx context.Context, user, realm string, check func(context.Context) error) error {
	s := x.server
	x.account = s.account(user, realm)
	name := x.account
	if realm == "" {
		name = user
	}
	ctx, cancel := context.WithTimeout(ctx, s.kdf.patience)
	defer cancel()
	ticket, err := s.throttle.admit(ctx, x.conn.Client, x.account, name)
	if err != nil {
		return err
	}
	err = ErrTemporary // should check panic
	defer func() {
		ticket.end(err)
		if err != nil && s.throttle.closed(x.conn.Client) {
			s.log.Warn("auth: too many failures; nothing of this client's is looked at for a while", "client", x.conn.Client)
		}
	}()
	err = check(ctx)
	if !errors.Is(err, ErrTemporary) {
		x.counts.checks.Add(1)
	}
	return err
}

// password checks what PLAIN and LOGIN have brought, and takes as long for any user.
func (x *Exchange) password(ctx context.Context, user, password string) error {
	name, err := PrepareName(user)
	if err != nil {
		return refuse(ErrFailed, "the name is not one that accounts have")
	}
	return x.attempt(ctx, name, "", func(ctx context.Context) error {
		secrets, found, err := x.server.known(ctx, name, "")
		if err != nil {
			return err
		}
		ok, err := x.server.verify(ctx, secrets, found, name, foldPassword(password))
		if err != nil {
			return err
		}
		if !ok {
			return refuse(ErrFailed, "wrong password or no such user")
		}
		x.user = secrets.Name
		return nil
	})
}

// verify does the same work whether the user is known, has a verifier, or a password.
func (s *Server) verify(ctx context.Context, secrets Secrets, found bool, name, password string) (bool, error) {
	usual := s.usual()
	want, h := secrets.SCRAMSHA256, scram.SHA256
	if want == nil && secrets.SCRAMSHA1 != nil {
		want, h = secrets.SCRAMSHA1, scram.SHA1
	}
	match := want != nil
	if !match {
		want = madeUp(usual, Plain, name)
	}
	if err := s.kdf.sit(ctx); err != nil {
		return false, err
	}
	defer s.kdf.rise()
	got, err := s.kdf.derive(h, password, want.Salt, want.Iterations, usual.MaxIterations)
	if err != nil {
		return false, err
	}
	match = subtle.ConstantTimeCompare(got.StoredKey, want.StoredKey) == 1 && match
	same := samePassword(foldPassword(secrets.Password), password)
	return found && (match || same), nil
}
