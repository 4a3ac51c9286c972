package sasl

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/scram"
)

// scramKind is what SCRAM's mechanisms differ in.
type scramKind struct {
	name string // without -PLUS
	hash scram.HashGeneratorFcn
	size int
	plus bool
	of   func(Secrets) *Verifier
}

func scramKindOf(mechanism string) scramKind {
	name, plus := strings.CutSuffix(mechanism, "-PLUS")
	if name == SCRAMSHA1 {
		return scramKind{name, scram.SHA1, 20, plus, func(s Secrets) *Verifier { return s.SCRAMSHA1 }}
	}
	return scramKind{name, scram.SHA256, 32, plus, func(s Secrets) *Verifier { return s.SCRAMSHA256 }}
}

// scramDialogue is RFC 5802 and RFC 7677. The library speaks; what the client may be
// told, and when its proof is looked at, is decided here.
type scramDialogue struct {
	x     *Exchange
	kind  scramKind
	asked bool
	talk  *scram.ServerConversation

	name    string
	secrets Secrets
	found   bool
	usual   Usual
	shown   *Verifier // whose salt the client was told
	stored  []byte    // the library's keys, which may be filled in before the proof comes
	server  []byte
}

func (d *scramDialogue) next(ctx context.Context, response []byte, given bool) ([]byte, bool, error) {
	if !given && !d.asked {
		d.asked = true
		return nil, false, nil
	}
	if len(response) > 4*MaxName+maxResponse/4 || !utf8.Valid(response) || bytes.IndexByte(response, 0) >= 0 {
		return nil, false, refuse(ErrMalformed, "a message too long, with a NUL, or not UTF-8")
	}
	d.asked = true
	if d.talk == nil {
		challenge, err := d.first(ctx, string(response))
		return challenge, false, err
	}
	challenge, err := d.final(ctx, string(response))
	return challenge, err == nil, err
}

// first takes client-first-message and returns server-first-message.
func (d *scramDialogue) first(ctx context.Context, message string) ([]byte, error) {
	if err := d.bind(message); err != nil {
		return nil, err
	}
	var lookup error
	server, err := d.kind.hash.NewServer(func(user string) (scram.StoredCredentials, error) {
		var c scram.StoredCredentials
		c, lookup = d.credentials(ctx, user)
		return c, lookup
	})
	if err != nil {
		return nil, refuse(ErrTemporary, err.Error())
	}
	server.WithNonceGenerator(d.x.server.random)
	binding := d.binding(message)
	if d.kind.plus {
		d.talk = server.NewConversationWithChannelBindingRequired(binding)
	} else {
		d.talk = server.NewConversationWithChannelBinding(binding)
	}
	challenge, err := d.talk.Step(message)
	switch {
	case lookup != nil:
		return nil, lookup
	case challenge == scram.ErrServerDoesSupportChannelBinding:
		return nil, refuse(ErrFailed, "the client was not shown the -PLUS mechanism that was offered: somebody stands between us, or the client errs")
	case err != nil:
		return nil, refuse(ErrMalformed, err.Error())
	case !sameUser(d.talk.AuthzID(), d.talk.Username()):
		return nil, refuse(ErrFailed, "asked to act for somebody else")
	}
	return []byte(challenge), nil
}

// bind looks at the client's flag for channel binding: p belongs to the -PLUS
// mechanisms and only there (RFC 5802, section 6).
func (d *scramDialogue) bind(message string) error {
	flag, _, _ := strings.Cut(message, ",")
	kind, p := strings.CutPrefix(flag, "p=")
	switch {
	case p != d.kind.plus:
		return refuse(ErrMalformed, "channel binding and mechanism do not belong together")
	case p && bindingData(kind, d.x.conn) == nil:
		return refuse(ErrFailed, "a kind of channel binding that is not to be had")
	}
	return nil
}

// binding is what the client's channel binding has to be. Without -PLUS it only tells
// whether a client that says that we have none (y) was told so by somebody between us.
func (d *scramDialogue) binding(message string) scram.ChannelBinding {
	flag, _, _ := strings.Cut(message, ",")
	kind, p := strings.CutPrefix(flag, "p=")
	if !p {
		offered := d.x.server.counts[d.kind.name+"-PLUS"] != nil
		types := bindingTypes(d.x.conn)
		if !offered || len(types) == 0 {
			return scram.ChannelBinding{}
		}
		kind = types[0]
	}
	return scram.ChannelBinding{Type: scram.ChannelBindingType(kind), Data: bindingData(kind, d.x.conn)}
}

// credentials are what the client's proof will be held against. Those of a user with a
// password only, or of none, are made up, and filled in when it comes.
func (d *scramDialogue) credentials(ctx context.Context, user string) (scram.StoredCredentials, error) {
	var none scram.StoredCredentials
	if len(user) > MaxName {
		return none, refuse(ErrMalformed, "the name is too long")
	}
	name, err := PrepareName(user)
	if err != nil {
		return none, refuse(ErrFailed, "the name is not one that accounts have")
	}
	d.name = name
	d.secrets, d.found, err = d.x.server.known(ctx, name, "")
	if err != nil {
		return none, err
	}
	d.usual = d.x.server.usual()
	d.stored, d.server = make([]byte, d.kind.size), make([]byte, d.kind.size)
	d.shown = d.kind.of(d.secrets)
	if d.shown == nil {
		d.shown = madeUp(d.usual, d.kind.name, name)
	} else {
		copy(d.stored, d.shown.StoredKey)
		copy(d.server, d.shown.ServerKey)
	}
	c := scram.StoredCredentials{StoredKey: d.stored, ServerKey: d.server}
	c.Salt, c.Iters = string(d.shown.Salt), d.shown.Iterations
	return c, nil
}

// final takes client-final-message and returns server-final-message.
func (d *scramDialogue) final(ctx context.Context, message string) ([]byte, error) {
	var answer string
	err := d.x.attempt(ctx, d.name, "", func(ctx context.Context) error {
		if err := d.fill(ctx); err != nil {
			return err
		}
		var err error
		answer, err = d.talk.Step(message)
		switch {
		case err != nil && answer == "":
			return refuse(ErrMalformed, err.Error())
		case err != nil:
			return refuse(ErrFailed, err.Error())
		case !d.talk.Valid() || !d.found || d.shown.StoredKey == nil && d.secrets.Password == "":
			return refuse(ErrFailed, "wrong password, or no such user with a secret for "+d.kind.name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.x.user = d.secrets.Name
	return []byte(answer), nil
}

// fill derives the keys of a user with a password only. When there may be such users,
// the work is done for all.
func (d *scramDialogue) fill(ctx context.Context) error {
	if !d.usual.Passwords {
		return nil
	}
	kdf := &d.x.server.kdf
	if err := kdf.sit(ctx); err != nil {
		return err
	}
	defer kdf.rise()
	v, err := kdf.derive(d.kind.hash, foldPassword(d.secrets.Password), d.shown.Salt, d.shown.Iterations, d.usual.MaxIterations)
	if err != nil {
		return err
	}
	if d.shown.StoredKey == nil && d.secrets.Password != "" {
		copy(d.stored, v.StoredKey)
		copy(d.server, v.ServerKey)
	}
	return nil
}

const (
	tlsExporter       = string(scram.ChannelBindingTLSExporter)       // RFC 9266
	tlsServerEndPoint = string(scram.ChannelBindingTLSServerEndpoint) // RFC 5929
)

// bindingTypes are the channel bindings that the connection has. tls-unique is none of
// them: it is broken where renegotiation is, and gone from TLS 1.3.
func bindingTypes(c *Conn) []string {
	var types []string
	for _, kind := range []string{tlsExporter, tlsServerEndPoint} {
		if bindingData(kind, c) != nil {
			types = append(types, kind)
		}
	}
	return types
}

func bindingData(kind string, c *Conn) []byte {
	switch {
	case c.TLS == nil || !c.TLS.HandshakeComplete:
	case kind == tlsExporter:
		if b, err := scram.NewTLSExporterBinding(c.TLS); err == nil {
			return b.Data
		}
	case kind == tlsServerEndPoint && c.Certificate != nil:
		shown := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.Certificate}}
		if b, err := scram.NewTLSServerEndpointBinding(shown); err == nil {
			return b.Data
		}
	}
	return nil
}
