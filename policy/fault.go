package policy

import (
	"errors"

	"gatepost/internal/smtp"
)

// addressFault is an address that turns out to be unusable when it is looked into.
type addressFault struct{ reply smtp.Reply }

func (f addressFault) Error() string { return f.reply.Text() }

// The addresses that only looking into them shows to be unusable (rule set Parse0).
var (
	errReparse = addressFault{smtp.MustReply(553, "5.1.3", "Invalid route address")} // routes on and on
	errNoUser  = addressFault{smtp.MustReply(553, "5.1.3", "User address required")} // a local "" in quotes
	errLiteral = addressFault{smtp.MustReply(553, "5.1.2", "Invalid address")}       // [address]!user without such a host
)

// mxFault is an MX lookup of a recipient domain that could not be made.
type mxFault struct {
	domain string
	err    error
}

func (f mxFault) Error() string { return "MX records of " + f.domain + ": " + f.err.Error() }
func (f mxFault) Unwrap() error { return f.err }

// temporaryFailure ends the stage: the client is to come again.
func temporaryFailure(error) outcome { return stop(refuse(replyTemporary)) }

// rememberTemporary lets a client that may relay pass all the same. A failed MX
// lookup has a text of its own.
func rememberTemporary(err error) outcome {
	var mx mxFault
	if errors.As(err, &mx) {
		return remember(refuse(reply(450, "4.4.0",
			"Can not check MX records for recipient host "+mx.domain, replyTemporary)))
	}
	return remember(refuse(replyTemporary))
}

// ignoreFault takes the rule for one without opinion: only for permissions that
// sendmail itself does not wait for.
func ignoreFault(error) outcome { return noOpinion }
