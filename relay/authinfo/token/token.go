// Package token gets OAuth 2.0 access tokens (RFC 6749) for logging in to mail servers,
// from where an administrator has them:
//
//	file:/PATH              a file that some other program keeps fresh
//	command:/PATH ARG ...   what a command prints
//	oauth2:NAME             a token server, by client credentials or a refresh token
//
// No error has a token or a secret in it.
package token

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gatepost/internal/follow"
)

// maxToken bounds what a source gives, in bytes.
const maxToken = 16 << 10

// Func gives a token; rejected asks for another than the last one, which a server did not
// take.
type Func = func(ctx context.Context, rejected bool) (string, error)

// Sources are the sources of tokens, each with what it has at the moment. It is safe for
// concurrent use.
type Sources struct {
	clients map[string]Client
	http    *http.Client
	log     *slog.Logger

	mu   sync.Mutex
	made map[string]Func
}

// NewSources knows the token servers by their names. A nil log is none; hc is for tests,
// nil is a client with the system's authorities.
func NewSources(clients map[string]Client, hc *http.Client, log *slog.Logger) *Sources {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Sources{clients: clients, http: careful(hc), log: log, made: map[string]Func{}}
}

// Source is the source of that name, the same for the same name. The error is for a name
// that means nothing.
func (s *Sources) Source(name string) (Func, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.made[name]; f != nil {
		return f, nil
	}
	f, err := s.make(name)
	if err == nil {
		s.made[name] = f
	}
	return f, err
}

func (s *Sources) make(name string) (Func, error) {
	kind, rest, _ := strings.Cut(name, ":")
	switch kind {
	case "file":
		if !filepath.IsAbs(rest) {
			return nil, errors.New("source of tokens (T): expected a path that begins with / after file")
		}
		return fileSource(rest), nil
	case "command":
		words := strings.Fields(rest)
		if len(words) == 0 || !filepath.IsAbs(words[0]) {
			return nil, errors.New("source of tokens (T): expected the path of a program, which begins with /, after command")
		}
		return newKept(&command{words}).token, nil
	case "oauth2":
		client, ok := s.clients[rest]
		if !ok {
			return nil, fmt.Errorf("source of tokens (T): there is no [[oauth2]] with the name %.80q in the configuration", rest)
		}
		return newKept(&fetcher{client: client, http: s.http, log: s.log}).token, nil
	}
	return nil, errors.New("source of tokens (T): expected file:/PATH, command:/PATH or oauth2:NAME")
}

// fileSource reads a file each time: another program keeps it fresh.
func fileSource(path string) Func {
	return func(context.Context, bool) (string, error) {
		data, err := follow.Read(path, maxToken, true)
		if err != nil {
			return "", err
		}
		token := strings.TrimSpace(string(data))
		if token == "" {
			return "", fmt.Errorf("%s: the file is empty, expected a token", path)
		}
		return token, nil
	}
}

// source gets a new token, and tells for how long it may be kept.
type source interface {
	get(ctx context.Context) (token string, lifetime time.Duration, err error)
}

const (
	patience  = 30 * time.Second // for one token
	failedFor = 10 * time.Second // a source that has failed is left alone for so long
	newFor    = 30 * time.Second // a token is not replaced again for so long, though a server rejects it
)

// kept is a source whose last token is kept, and that is asked by one at a time.
type kept struct {
	source source
	now    func() time.Time
	turn   chan struct{} // held by who asks

	// Of the last answer, guarded by turn.
	last    string
	got     time.Time
	until   time.Time
	failure error
}

func newKept(s source) *kept { return &kept{source: s, now: time.Now, turn: make(chan struct{}, 1)} }

func (k *kept) isOver(rejected bool) bool {
	now := k.now()
	if k.failure != nil {
		return now.Sub(k.got) >= failedFor
	}
	// Who comes after another one with the same rejection gets that one's new token.
	return now.After(k.until) || rejected && now.Sub(k.got) >= newFor
}

// token waits for its turn no longer than ctx lasts. What it asks the source, it asks for
// all: that does not end when this one's ctx does.
func (k *kept) token(ctx context.Context, rejected bool) (string, error) {
	select {
	case k.turn <- struct{}{}:
	case <-ctx.Done():
		return "", fmt.Errorf("another one is waiting for the token: %w", ctx.Err())
	}
	defer func() { <-k.turn }()
	if !k.isOver(rejected) {
		return k.last, k.failure
	}
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	token, lifetime, err := k.source.get(asking)
	k.last, k.failure, k.got = token, err, k.now()
	k.until = k.got.Add(lifetime)
	return token, err
}
