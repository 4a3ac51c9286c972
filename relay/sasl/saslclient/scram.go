package saslclient

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/xdg-go/scram"

	"gatepost/relay/sasl"
)

const (
	// maxSCRAM bounds a server's message, in bytes: a nonce, a salt and a number.
	maxSCRAM = 4096
	// maxIterations bounds what a server may have us work: a few seconds of a processor.
	maxIterations = 1_000_000
)

// scramLogin is RFC 5802 and RFC 7677. The library speaks; what a server may ask of us
// is bounded here.
type scramLogin struct {
	name  string
	nonce string
	most  int // iterations
	talk  *scram.ClientConversation
	err   error // why there can be no dialogue
	step  int
}

func newSCRAM(l *login, name string) Mechanism {
	base, bound := strings.CutSuffix(name, plus)
	var binding scram.ChannelBinding
	if l.tls != nil {
		binding = channelBinding(l.tls)
	}
	if bound && !binding.IsSupported() {
		return nil
	}
	s := &scramLogin{name: name, nonce: rand.Text(), most: maxIterations}
	client, err := scramClient(base, l.c)
	if err != nil {
		s.err = err
		return s
	}
	client.WithNonceGenerator(func() string { return s.nonce }).WithMinIterations(sasl.MinIterations)
	switch {
	case bound:
		s.talk = client.NewConversationWithChannelBinding(binding)
	case binding.IsSupported() && !slices.Contains(l.offered, base+plus):
		// Tells a server that did offer it that somebody has taken it out of its list.
		s.talk = client.NewConversationAdvertisingChannelBinding()
	default:
		s.talk = client.NewConversation()
	}
	return s
}

func scramClient(base string, c *Credentials) (*scram.Client, error) {
	hash := scram.SHA256
	if base == scramSHA1 {
		hash = scram.SHA1
	}
	if !utf8.ValidString(c.User + c.Authorize + c.Password) {
		return nil, errors.New(base + ": a name or the password is not UTF-8")
	}
	client, err := hash.NewClient(c.User, c.Password, c.Authorize)
	if err != nil {
		// What SASLprep does not take, servers compare as it is. The error may have the
		// password in it.
		client, err = hash.NewClientUnprepped(c.User, c.Password, c.Authorize)
	}
	if err != nil {
		return nil, errors.New(base + ": a name or the password cannot be used")
	}
	return client, nil
}

// channelBinding is tls-exporter (RFC 9266) with TLS 1.3, and tls-server-end-point
// (RFC 5929) before: tls-unique is broken there.
func channelBinding(cs *tls.ConnectionState) scram.ChannelBinding {
	if cs.Version >= tls.VersionTLS13 {
		if b, err := scram.NewTLSExporterBinding(cs); err == nil {
			return b
		}
	}
	if len(cs.PeerCertificates) > 0 {
		if b, err := scram.NewTLSServerEndpointBinding(cs); err == nil {
			return b
		}
	}
	return scram.ChannelBinding{}
}

func (s *scramLogin) Name() string { return s.name }

func (s *scramLogin) Start(context.Context) ([]byte, bool, error) {
	if s.err != nil {
		return nil, false, s.err
	}
	first, err := s.talk.Step("")
	return []byte(first), true, err
}

func (s *scramLogin) Next(ctx context.Context, challenge []byte) ([]byte, error) {
	s.step++
	text := string(challenge)
	switch {
	case s.err != nil:
		return nil, s.err
	case len(text) > maxSCRAM || !utf8.ValidString(text) || s.step > 2:
		return nil, wrong(s.name, "a message too long, not UTF-8, or one too many")
	case s.step == 1:
		if err := s.fits(text); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	response, err := s.talk.Step(text)
	if err != nil {
		return nil, wrong(s.name, "%.150q", err.Error())
	}
	return []byte(response), nil
}

// fits refuses what the library would take: a nonce without the server's part, which a
// recorded dialogue would do for, and so many iterations that they are an attack.
func (s *scramLogin) fits(first string) error {
	fields := strings.Split(first, ",")
	if fields[0] == "r="+s.nonce {
		return wrong(s.name, "the server has no nonce of its own")
	}
	if len(fields) < 3 {
		return wrong(s.name, "a first message with parts missing")
	}
	n, err := strconv.Atoi(strings.TrimPrefix(fields[2], "i="))
	if err != nil || n > s.most {
		return wrong(s.name, "%.40q iterations, expected %d to %d", fields[2], sasl.MinIterations, s.most)
	}
	return nil
}

func (s *scramLogin) Done() error {
	if s.talk == nil || !s.talk.Valid() {
		return wrong(s.name, "it takes us for logged in without a proof that it knows the password")
	}
	return nil
}
