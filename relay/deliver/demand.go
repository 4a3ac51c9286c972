package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"net/netip"
	"strconv"

	"gatepost/relay/sasl/saslclient"
	"gatepost/relay/tlspolicy"
)

// portImplicit is where TLS is spoken from the first byte (RFC 8314, 3.3).
const portImplicit = 465

// demand is how a connection to a peer must be secured, and who we are there.
type demand struct {
	policy tlspolicy.Policy
	login  *saslclient.Credentials // nil: nobody
	id     identity                // connections with different ones never serve for one another
	who    identity                // of login alone
}

// identity stands for all of a policy and of credentials, without showing any of it. The
// zero one is that of neither.
type identity [sha256.Size]byte

// demand asks what is demanded of a connection to a peer.
func (s *SMTP) demand(ctx context.Context, peer *Peer) (d demand, p *problem) {
	if !peer.Addr.IsValid() {
		return d, nil // a socket on this machine
	}
	var err error
	if s.config.Secure != nil {
		if d.policy, err = s.config.Secure(ctx, *peer); err != nil {
			return d, &problem{status: statusPolicy, text: cut("TLS policy: " + Sanitise([]byte(err.Error())))}
		}
	}
	if peer.Port == portImplicit && !s.config.LMTP {
		d.policy.Implicit = true
	}
	if s.config.Login != nil {
		if d.login, err = s.config.Login(ctx, *peer); err != nil {
			return d, &problem{status: statusPolicy, text: cut("login: " + Sanitise([]byte(err.Error())))}
		}
	}
	d.identify()
	return d, nil
}

// identify works out what connections have to have in common.
func (d *demand) identify() {
	t := &d.policy
	if d.login == nil && t.Level == tlspolicy.May && !t.Implicit && t.MinVersion == 0 {
		return
	}
	h := sha256.New()
	if c := d.login; c != nil {
		field(h, c.User, c.Authorize, c.Password, c.Realm, c.Source, strconv.FormatBool(c.AllowClear), strconv.FormatBool(c.Token != nil), c.TokenFrom)
		field(h, c.Mechanisms...)
		h.Sum(d.who[:0])
	}
	// The pool is held by the connection's demand, so that no other can have its address.
	field(h, strconv.Itoa(int(t.Level)), strconv.FormatBool(t.Implicit), strconv.Itoa(int(t.MinVersion)), fmt.Sprintf("%p", t.Roots))
	field(h, t.Names...)
	for _, f := range t.Fingerprints {
		field(h, "fingerprint", string(f))
	}
	for _, r := range t.TLSA {
		field(h, "TLSA", string([]byte{r.Usage, r.Selector, r.Matching}), string(r.Data))
	}
	h.Sum(d.id[:0])
}

// field adds values to a hash so that it differs whenever one of them does.
func field(h hash.Hash, values ...string) {
	var size [8]byte
	binary.BigEndian.PutUint64(size[:], uint64(len(values)))
	h.Write(size[:])
	for _, v := range values {
		binary.BigEndian.PutUint64(size[:], uint64(len(v)))
		h.Write(size[:])
		h.Write([]byte(v))
	}
}

// place is where a connection goes to.
type place struct {
	host string
	addr netip.Addr
	port uint16
}

func (p *Peer) place() place { return place{p.Host, p.Addr, p.Port} }
