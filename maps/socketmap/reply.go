package socketmap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// appendRequest appends the question for a key as a netstring, which may have any bytes.
func appendRequest(b []byte, name, key string) []byte {
	b = strconv.AppendInt(b, int64(len(name)+1+len(key)), 10)
	b = append(append(b, ':'), name...)
	b = append(append(b, ' '), key...)
	return append(b, ',')
}

// readNetstring reads a netstring of at most maxReply bytes. The length is bounded
// before there is room made for it.
func readNetstring(r *bufio.Reader) (string, error) {
	length := 0
	for digits := 0; ; digits++ {
		c, err := r.ReadByte()
		switch {
		case err != nil:
			return "", cutShort(err, digits > 0)
		case c == ':' && digits > 0:
			return readBody(r, length)
		case c < '0' || c > '9' || digits == 1 && length == 0: // no zeros in front
			return "", fmt.Errorf("the reply is no netstring: byte %q in its length", c)
		}
		if length = 10*length + int(c-'0'); length > maxReply {
			return "", fmt.Errorf("the reply has more than %d bytes", maxReply)
		}
	}
}

func readBody(r *bufio.Reader, length int) (string, error) {
	body := make([]byte, length+1)
	if _, err := io.ReadFull(r, body); err != nil {
		return "", cutShort(err, true)
	}
	if end := body[length]; end != ',' {
		return "", fmt.Errorf("the reply is no netstring: byte %q where a comma was expected", end)
	}
	return string(body[:length]), nil
}

// cutShort says that a reply ended too early. io.EOF is for a connection closed before
// its first byte.
func cutShort(err error, begun bool) error {
	if begun && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// maxReason is how much of what a server says is put into an error.
const maxReason = 200

// parseReply reads the server's words.
func parseReply(reply string) (value string, found bool, err error) {
	status, rest, separated := strings.Cut(reply, " ")
	switch {
	case status == "OK" && separated:
		return rest, true, nil
	case status == "NOTFOUND": // some leave out the blank, and both mail servers take that
		return "", false, nil
	case status == "TEMP" || status == "TIMEOUT" || status == "PERM":
		return "", false, fmt.Errorf("the server could not answer: %s %.*q", status, maxReason, rest)
	}
	return "", false, fmt.Errorf("the server answered %.*q, where OK or NOTFOUND was expected", maxReason, reply)
}
