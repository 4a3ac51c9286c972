package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"gatepost/internal/follow"
)

// Client is what we are to a token server.
type Client struct {
	TokenURL         string
	ClientID         string
	ClientSecretFile string // "": there is no secret
	Basic            bool   // the secret is sent as client_secret_basic, not as client_secret_post (RFC 7591, section 2)
	// RefreshTokenFile has the refresh token (RFC 6749, section 6), and gets the new one
	// when the server gives one; "": the grant is that of client credentials (section 4.4).
	RefreshTokenFile string
	Scopes           []string
}

const (
	maxSecret   = 16 << 10
	maxReply    = 64 << 10
	usualLife   = 5 * time.Minute // of a token whose server does not say
	beforeEnd   = time.Minute     // a token is replaced so long before it ends
	maxLifetime = 24 * time.Hour
)

// careful is a client that ends in time, takes short replies, and shows secrets to nobody
// whom the configuration does not name.
func careful(hc *http.Client) *http.Client {
	c := http.Client{Timeout: patience}
	var next http.RoundTripper = http.DefaultTransport
	if hc != nil && hc.Transport != nil {
		next = hc.Transport
	}
	c.Transport = short{next}
	c.CheckRedirect = func(*http.Request, []*http.Request) error {
		return errors.New("the token server sends us elsewhere, expected a token_url that answers itself")
	}
	return &c
}

// short cuts replies.
type short struct{ next http.RoundTripper }

func (s short) RoundTrip(r *http.Request) (*http.Response, error) {
	reply, err := s.next.RoundTrip(r)
	if err == nil {
		reply.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(reply.Body, maxReply), reply.Body}
	}
	return reply, err
}

// fetcher asks a token server.
type fetcher struct {
	client Client
	http   *http.Client
	log    *slog.Logger

	// A refresh token that could not be written: it replaces what the file says as long
	// as the file says that.
	unwritten, replaces string
	said                string // what the file said the last time
}

func (f *fetcher) get(ctx context.Context) (string, time.Duration, error) {
	var secret, refresh string
	var err error
	if f.client.ClientSecretFile != "" {
		if secret, err = readSecret(f.client.ClientSecretFile); err != nil {
			return "", 0, err
		}
	}
	if f.client.RefreshTokenFile != "" {
		if refresh, err = f.refreshToken(); err != nil {
			return "", 0, err
		}
	}
	t, err := f.ask(context.WithValue(ctx, oauth2.HTTPClient, f.http), secret, refresh)
	if err != nil {
		return "", 0, f.explain(err, secret, refresh)
	}
	if refresh != "" && t.RefreshToken != "" && t.RefreshToken != refresh {
		f.keep(t.RefreshToken)
	}
	return t.AccessToken, lifetime(t.Expiry), nil
}

// ask makes the request: the grant is that of a refresh token, when there is one.
func (f *fetcher) ask(ctx context.Context, secret, refresh string) (*oauth2.Token, error) {
	// Said and not tried out, as the library would: a second request hides why the first
	// one failed.
	style := oauth2.AuthStyleInParams
	if f.client.Basic {
		style = oauth2.AuthStyleInHeader
	}
	if refresh == "" {
		c := clientcredentials.Config{ClientID: f.client.ClientID, ClientSecret: secret, TokenURL: f.client.TokenURL, Scopes: f.client.Scopes, AuthStyle: style}
		return c.Token(ctx)
	}
	endpoint := oauth2.Endpoint{TokenURL: f.client.TokenURL, AuthStyle: style}
	c := oauth2.Config{ClientID: f.client.ClientID, ClientSecret: secret, Endpoint: endpoint, Scopes: f.client.Scopes}
	return c.TokenSource(ctx, &oauth2.Token{RefreshToken: refresh}).Token()
}

// lifetime is for how long a token is used.
func lifetime(end time.Time) time.Duration {
	if end.IsZero() {
		return usualLife
	}
	left := time.Until(end)
	return min(max(left-beforeEnd, left/2), maxLifetime)
}

// explain puts a failure into words without secrets, which a server might give back.
func (f *fetcher) explain(err error, secrets ...string) error {
	var said *oauth2.RetrieveError
	text := err.Error()
	if errors.As(err, &said) {
		text = "answers " + said.Response.Status
		if said.ErrorCode != "" {
			text = fmt.Sprintf("says %.60q: %.200q", said.ErrorCode, said.ErrorDescription)
		}
	}
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "(hidden)")
		}
	}
	return fmt.Errorf("token server %s: %.500s", f.client.TokenURL, text)
}

// readSecret reads a file of one line.
func readSecret(path string) (string, error) {
	data, err := follow.Read(path, maxSecret, true)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(data))
	if s == "" || strings.ContainsAny(s, "\r\n\x00") {
		return "", fmt.Errorf("%s: expected one line", path)
	}
	return s, nil
}

// refreshToken is the file's, or the newer one that could not be written into it.
func (f *fetcher) refreshToken() (string, error) {
	s, err := readSecret(f.client.RefreshTokenFile)
	if err != nil {
		return "", err
	}
	f.said = s
	if f.unwritten == "" || s != f.replaces {
		f.unwritten = ""
		return s, nil
	}
	newer := f.unwritten
	f.keep(newer)
	return newer, nil
}

// keep writes a new refresh token into the file: the old one may be good no more.
func (f *fetcher) keep(refresh string) {
	path := f.client.RefreshTokenFile
	if err := replace(path, refresh+"\n"); err != nil {
		f.log.Error("the new refresh token cannot be written; it is lost when the program ends, and a new one must be asked for then", "file", path, "error", err)
		f.unwritten, f.replaces = refresh, f.said
		return
	}
	f.unwritten = ""
	f.log.Info("new refresh token written", "file", path)
}

// replace writes a file that nobody else can read, all or nothing.
func replace(path, content string) error {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	t, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(t.Name()) // in vain when all went well
	_, err = t.WriteString(content)
	if err = errors.Join(err, t.Sync(), t.Close()); err != nil {
		return err
	}
	if err := os.Rename(t.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}
