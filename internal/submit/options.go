// Package submit is sendmail's command: what programs that know nothing but
// /usr/sbin/sendmail call to send a message. It takes sendmail's options, makes a proper
// message of what comes on standard input, and hands it to the relay of this host by SMTP
// over a UNIX socket.
package submit

import (
	"errors"
	"fmt"
	"strings"
)

// Mode is what sendmail's -b says.
type Mode byte

// The modes.
const (
	Deliver Mode = 'm' // a message on standard input
	SMTP    Mode = 's' // an SMTP session on standard input and output
	List    Mode = 'p' // mailq
	Aliases Mode = 'i' // newaliases
	Flush   Mode = 'q' // -q
)

// Options are those of the command line.
type Options struct {
	Mode       Mode
	Recipients []string // arguments; each may be a list
	FromHeader bool     // -t: To, Cc and Bcc have recipients too
	IgnoreDots bool     // -i: a line of one dot does not end the message
	Sender     string   // -f, -r: envelope sender, as written
	HasSender  bool     // it may be the null one
	FullName   string   // -F
	Notify     string   // -N: NOTIFY of RFC 3461
	Return     string   // -R: RET
	EnvID      string   // -V: ENVID
	Body       string   // -B: 7BIT or 8BITMIME; "" finds out
	Quiet      bool     // -oeq: errors are told by the exit code alone
	Config     string   // -C

	FlushRecipient, FlushSender, FlushID string // -qR, -qS, -qI: what is in the word
}

// needsArgument are the options that have an argument, behind the letter or in the next
// word. -q and -d have theirs only behind the letter.
const (
	needsArgument = "ABbCDeFfhLMNOopQRrVX"
	maybeArgument = "qd"
	noArgument    = "cGIimnsTtUvx"
)

// Parse reads sendmail's arguments, without its name.
//
// Source: sendmail(8) of sendmail 8.18; what it says is obsolete or ignored is taken and
// means nothing here either.
func Parse(args []string) (*Options, error) {
	o := &Options{Mode: Deliver}
	for len(args) > 0 {
		word := args[0]
		args = args[1:]
		switch {
		case word == "--":
			o.Recipients = append(o.Recipients, args...)
			return o, nil
		case len(word) < 2 || word[0] != '-':
			o.Recipients = append(o.Recipients, word)
			o.Recipients = append(o.Recipients, args...)
			return permuted(o)
		}
		var err error
		if args, err = o.word(word[1:], args); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// permuted takes options that stand behind recipients, as callers that know GNU's getopt
// write them.
func permuted(o *Options) (*Options, error) {
	rest := o.Recipients
	o.Recipients = nil
	for len(rest) > 0 {
		word := rest[0]
		rest = rest[1:]
		switch {
		case word == "--":
			o.Recipients = append(o.Recipients, rest...)
			return o, nil
		case len(word) < 2 || word[0] != '-':
			o.Recipients = append(o.Recipients, word)
			continue
		}
		var err error
		if rest, err = o.word(word[1:], rest); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// word reads the options of one word, "it" of -it, and returns the words that are left.
func (o *Options) word(letters string, args []string) ([]string, error) {
	for letters != "" {
		c := letters[0]
		letters = letters[1:]
		switch {
		case strings.IndexByte(noArgument, c) >= 0:
			o.plain(c)
		case strings.IndexByte(maybeArgument, c) >= 0:
			return args, o.with(c, letters)
		case strings.IndexByte(needsArgument, c) >= 0:
			value := letters
			if value == "" {
				if len(args) == 0 {
					return nil, fmt.Errorf("option -%c has no argument", c)
				}
				value, args = args[0], args[1:]
			}
			return args, o.with(c, value)
		default:
			return nil, fmt.Errorf("unknown option -%c", c)
		}
	}
	return args, nil
}

func (o *Options) plain(c byte) {
	switch c {
	case 't':
		o.FromHeader = true
	case 'i':
		o.IgnoreDots = true
	case 'I':
		o.Mode = Aliases
	}
}

func (o *Options) with(c byte, value string) error {
	switch c {
	case 'b':
		return o.mode(value)
	case 'f', 'r':
		o.Sender, o.HasSender = value, true
	case 'F':
		o.FullName = value
	case 'C':
		o.Config = value
	case 'B':
		if o.Body = strings.ToUpper(value); o.Body != "7BIT" && o.Body != "8BITMIME" {
			return fmt.Errorf("-B %s: expected 7BIT or 8BITMIME", value)
		}
	case 'N':
		return o.notify(value)
	case 'R':
		if o.Return = strings.ToUpper(value); o.Return != "FULL" && o.Return != "HDRS" {
			return fmt.Errorf("-R %s: expected full or hdrs", value)
		}
	case 'V':
		if o.EnvID = value; len(value) > 100 { // RFC 3461, 4.4
			return errors.New("-V: expected an envelope id of at most 100 characters")
		}
	case 'q':
		return o.flush(value)
	case 'e':
		o.Quiet = value == "q"
	case 'o':
		o.old(value)
	case 'O':
		name, val, _ := strings.Cut(value, "=")
		if strings.EqualFold(strings.TrimSpace(name), "IgnoreDots") {
			o.IgnoreDots = val == "" || strings.ContainsAny(val[:1], "TtYy")
		}
	}
	return nil
}

// old are the options of one letter behind -o.
func (o *Options) old(value string) {
	switch {
	case strings.HasPrefix(value, "i"):
		o.IgnoreDots = true
	case strings.HasPrefix(value, "e"):
		o.Quiet = value == "eq"
	}
}

func (o *Options) mode(value string) error {
	switch value {
	case "m", "s", "p", "i":
		o.Mode = Mode(value[0])
		return nil
	case "d", "D", "a", "h", "H", "P":
		return fmt.Errorf("-b%s is not for this program: the relay is gatepost-relay, which systemd or init starts", value)
	case "t", "v":
		return fmt.Errorf("-b%s is not for this program, see \"gatepost explain\" and \"gatepost lookup\"", value)
	}
	return fmt.Errorf("unknown mode -b%s", value)
}

// notify checks the value of -N: RFC 3461, 4.1.
func (o *Options) notify(value string) error {
	o.Notify = strings.ToUpper(value)
	words := strings.Split(o.Notify, ",")
	for _, w := range words {
		switch w {
		case "SUCCESS", "FAILURE", "DELAY":
			continue
		case "NEVER":
			if len(words) == 1 {
				continue
			}
		}
		return fmt.Errorf("-N %s: expected never, or a list of success, failure and delay", value)
	}
	return nil
}

// flush is -q: one look at the queue now. The relay looks at it by itself, so that an
// interval has no meaning.
func (o *Options) flush(value string) error {
	o.Mode = Flush
	switch {
	case value == "" || value == "f":
	case strings.HasPrefix(value, "R"):
		o.FlushRecipient = value[1:]
	case strings.HasPrefix(value, "S"):
		o.FlushSender = value[1:]
	case strings.HasPrefix(value, "I"):
		o.FlushID = value[1:]
	default:
		return fmt.Errorf("-q%s is not for this program: the relay looks at its queue by itself; -q, -qIid, -qRrecipient and -qSsender are", value)
	}
	return nil
}
