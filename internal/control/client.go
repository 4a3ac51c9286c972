package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ErrCut is the error of an answer that has no end.
var ErrCut = errors.New("the answer broke off: the relay was stopped, or was busy for too long")

const (
	dialWait   = 5 * time.Second
	answerWait = time.Minute // for the next piece of an answer
	maxLine    = 64 << 20    // bytes of an answer's line: a message has up to 10,000 recipients, each with a reply
	maxRefusal = 4 << 10
)

// Client asks a running relay.
type Client struct {
	path string
	http http.Client
}

// NewClient returns a client of the socket at path. Nothing is connected yet.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http.Transport = &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			nc, err := (&net.Dialer{Timeout: dialWait}).DialContext(ctx, "unix", path)
			if err != nil {
				return nil, err
			}
			return &patient{nc}, nil
		},
	}
	return c
}

// patient is a connection on which every piece of an answer has its own time.
type patient struct{ net.Conn }

func (p *patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(answerWait)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// Run has a request answered: each gets one line after the other, but no End. An error
// of the connection is the socket's own: fs.ErrNotExist, fs.ErrPermission or
// syscall.ECONNREFUSED when nobody can be asked.
func (c *Client) Run(ctx context.Context, r *Request, each func(*Line) error) error {
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://relay/queue", bytes.NewReader(body))
	if err != nil {
		return err
	}
	answer, err := c.do(request)
	if err != nil {
		return err
	}
	defer answer.Close()
	in := bufio.NewScanner(answer)
	in.Buffer(make([]byte, 64<<10), maxLine)
	for n := 0; in.Scan(); n++ {
		var line Line
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			return fmt.Errorf("the relay's answer: %w", err)
		}
		if end := line.End; end != nil {
			switch {
			case end.Error != "":
				return errors.New(end.Error)
			case end.Count != n:
				return ErrCut
			}
			return nil
		}
		if err := each(&line); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("the relay's answer: %w", err)
	}
	return ErrCut
}

// Show writes a part of a message.
func (c *Client) Show(ctx context.Context, id string, part Part, out io.Writer) error {
	address := "http://relay/queue/" + url.PathEscape(id) + "/" + url.PathEscape(string(part))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	answer, err := c.do(request)
	if err != nil {
		return err
	}
	defer answer.Close()
	if _, err = io.Copy(out, answer); errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrCut
	}
	return err
}

// do sends a request and returns the body of an answer that is no refusal.
func (c *Client) do(r *http.Request) (io.ReadCloser, error) {
	response, err := c.http.Do(r)
	if err != nil {
		var made *url.Error
		if errors.As(err, &made) { // without the made-up URL
			err = made.Err
		}
		return nil, err
	}
	if response.StatusCode == http.StatusOK {
		return response.Body, nil
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound {
		return nil, ErrGone
	}
	said, err := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	return nil, errors.Join(errors.New(strings.TrimSpace(string(said))), err)
}
