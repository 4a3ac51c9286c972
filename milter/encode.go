package milter

import (
	"encoding/binary"
	"strconv"
	"strings"
	"sync"

	"gatepost/internal/front"
	"gatepost/internal/smtp"
)

// This file says what becomes of a verdict. What an answer means to the MTAs
// differs from its name at many places:
//
//   - accept ends the filter's part in the message (at connect: in the
//     connection): later recipients would pass unseen. A verdict to accept is
//     answered with continue.
//   - discard at connect and HELO is not obeyed, and at MAIL and RCPT hides the
//     recipients that follow. It is remembered and given at the end of message.
//   - quarantine is possible only at the end of message.
//   - at connect sendmail drops the text of a reply. A refusal is given at HELO
//     and, to a client that says none, at MAIL. Only 421 is given at connect.
//   - 421 at MAIL or RCPT closes the connection in both MTAs, whereas the same
//     reply from sendmail's rule sets is only a reply (RFC 5321, 3.8, knows no
//     such thing); so 451 with the same text is sent (transaction).
//   - sendmail reads a reply as a format: "%" is doubled, which Postfix undoes.
//   - Postfix drops the filter at a reply whose text begins with a digit other
//     than that of the code: the class of the enhanced code is made that of the
//     code, and a text that begins with a digit gets one.
//   - "<address>... " is put in front by sendmail itself, never by us.

// answer is all that can be said to a command before the end of message: go on,
// or a refusal. It has no way to say accept, skip or discard.
type answer struct {
	frame []byte // of a refusal; nil: go on
}

// encodeReply returns the frame of a reply.
func encodeReply(r smtp.Reply) []byte {
	code := strconv.Itoa(r.Code())
	enhanced, text := front.Presentable(r)
	prefix := ""
	if !enhanced.IsZero() {
		prefix = enhanced.String() + " "
	}
	frame := make([]byte, headSize, headSize+len(text)+64)
	frame = append(frame, 'y')
	for rest, more := text, true; more; {
		var line string
		line, rest, more = strings.Cut(rest, "\n")
		frame = append(frame, code...)
		if more {
			frame = append(frame, '-')
		} else {
			frame = append(frame, ' ')
		}
		frame = append(frame, prefix...)
		frame = append(frame, strings.ReplaceAll(line, "%", "%%")...)
		if more {
			frame = append(frame, '\r', '\n')
		}
	}
	frame = append(frame, 0)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-headSize))
	return frame
}

// replyCache keeps the frames of the replies in use: most refusals of a site are
// a few texts.
type replyCache struct {
	mu     sync.RWMutex
	frames map[smtp.Reply][]byte
}

const (
	maxCachedReplies = 256
	maxCachedReply   = 1024 // bytes
)

// frame returns the frame of a reply, which must not be changed.
func (c *replyCache) frame(r smtp.Reply) []byte {
	c.mu.RLock()
	f, ok := c.frames[r]
	c.mu.RUnlock()
	if ok {
		return f
	}
	f = encodeReply(r)
	if len(f) > maxCachedReply {
		return f
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frames == nil || len(c.frames) >= maxCachedReplies {
		c.frames = make(map[smtp.Reply][]byte)
	}
	c.frames[r] = f
	return f
}

// transaction changes what must not be said to MAIL and RCPT: 421 there closes
// the connection (RFC 5321, 3.8), whereas the same reply from sendmail's rule
// sets is only a reply. Closing would take away the other recipients of the
// message, at each retry again; so it is 451 with the same text.
func transaction(r smtp.Reply) smtp.Reply {
	if r.Code() != 421 {
		return r
	}
	if open, err := smtp.NewReply(451, r.Enhanced(), r.Text()); err == nil {
		return open
	}
	return front.InternalFault()
}
