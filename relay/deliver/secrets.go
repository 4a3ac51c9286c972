package deliver

import (
	"bytes"
	"encoding/base64"
	"strings"
)

// secrets are what a login has told the server. Some servers repeat what they did not
// understand, and what they say goes into logs, into the queue and into reports.
type secrets []string

const (
	minSecret = 4 // what is shorter is in every text
	hidden    = "(hidden)"
)

// respond adds a response to the commands, and remembers it.
func (c *conn) respond(response []byte) {
	begin := len(c.out)
	c.out = base64.StdEncoding.AppendEncode(c.out, response)
	c.told = append(c.told, string(c.out[begin:]))
	if _, token, ok := bytes.Cut(response, []byte("Bearer ")); ok {
		token, _, _ = bytes.Cut(token, []byte{1})
		c.told = append(c.told, string(token))
	}
}

// hide ends a text, which has been made fit for a Result, where a secret begins: in
// whatever case, and even when only its beginning is there.
func (s secrets) hide(text string) string {
	body, end := strings.ToLower(text), len(text)
	body = strings.TrimSuffix(body, "...")
	for _, secret := range s {
		secret = strings.ToLower(Sanitise([]byte(secret)))
		if len(secret) < minSecret {
			continue
		}
		if at := strings.Index(body, secret); at >= 0 {
			end = min(end, at)
		}
		for n := min(len(secret), len(body)); n >= minSecret; n-- {
			if strings.HasSuffix(body, secret[:n]) {
				end = min(end, len(body)-n)
				break
			}
		}
	}
	if end == len(text) {
		return text
	}
	return cut(text[:end] + hidden)
}
