package session

import (
	"strings"
	"testing"

	"gatepost/internal/smtp"
	"gatepost/policy"
)

// converse plays a dialogue: lines "C: command" and "S: reply", the reply in full
// or, ending in "...", its beginning. Neighbouring C lines go in one write.
func converse(t *testing.T, c *talker, dialogue string) {
	t.Helper()
	var out strings.Builder
	for line := range strings.Lines(dialogue) {
		line = strings.TrimSpace(line)
		said, isCommand := strings.CutPrefix(line, "C:")
		if isCommand {
			out.WriteString(strings.TrimPrefix(said, " ") + "\r\n")
			continue
		}
		want, isReply := strings.CutPrefix(line, "S: ")
		if !isReply {
			continue
		}
		if out.Len() > 0 {
			c.send(out.String())
			out.Reset()
		}
		got := strings.ReplaceAll(c.next(), "\n", " / ")
		if begin, cut := strings.CutSuffix(want, "~"); cut && strings.HasPrefix(got, begin) {
			continue
		}
		if got != want {
			t.Fatalf("got  %q\nwant %q\nin\n%s", got, want, dialogue)
		}
	}
}

func TestDialogues(t *testing.T) {
	tests := []struct{ name, dialogue string }{
		{"a plain session", `
			S: 220 mx.example.com ESMTP Gatepost
			C: HELO client.example
			S: 250 mx.example.com Hello [127.0.0.1], pleased to meet you
			C: MAIL FROM:<a@sender.example>
			S: 250 2.1.0 <a@sender.example>... Sender ok
			C: RCPT TO:<u@local.example>
			S: 250 2.1.5 <u@local.example>... Recipient ok
			C: DATA
			S: 354 Enter mail, end with "." on a line by itself
			C: Subject: x
			C:
			C: ..dot
			C: .
			S: 250 2.0.0 ~
			C: QUIT
			S: 221 2.0.0 mx.example.com closing connection
			S: EOF`},
		{"EHLO", `
			S: 220 ~
			C: EHLO client.example
			S: 250-mx.example.com Hello [127.0.0.1], pleased to meet you / 250-ENHANCEDSTATUSCODES / 250-PIPELINING / 250-8BITMIME / 250-SIZE 52428800 / 250-DSN / 250-SMTPUTF8 / 250-CHUNKING / 250-LIMITS MAILMAX=1000 RCPTMAX=1000 / 250 HELP`},
		{"out of order", `
			S: 220 ~
			C: RCPT TO:<u@local.example>
			S: 503 5.0.0 Need MAIL before RCPT
			C: DATA
			S: 503 5.0.0 Need MAIL command
			C: BDAT 0 LAST
			S: 503 5.0.0 Need MAIL command
			C: MAIL FROM:<a@sender.example>
			S: 250 2.1.0 ~
			C: MAIL FROM:<b@sender.example>
			S: 503 5.5.0 Sender already specified
			C: DATA
			S: 503 5.0.0 Need RCPT (recipient)
			C: RSET
			S: 250 2.0.0 Reset state
			C: DATA
			S: 503 5.0.0 Need MAIL command`},
		{"other commands", `
			S: 220 ~
			C: NOOP and more
			S: 250 2.0.0 OK
			C: VRFY u
			S: 252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery
			C: EXPN u
			S: 502 5.7.0 Sorry, we do not allow this operation
			C: ETRN x
			S: 502 5.7.0 Sorry, we do not allow this operation
			C: HELP
			S: 214-2.0.0 HELO EHLO MAIL RCPT DATA BDAT / 214-2.0.0 RSET NOOP QUIT HELP VRFY / 214 2.0.0 End of HELP info
			C: STARTTLS
			S: 454 4.3.3 TLS not available
			C: AUTH PLAIN
			S: 503 5.3.3 AUTH not available
			C: XCLIENT ADDR=192.0.2.1
			S: 550 5.7.0 Insufficient authorization
			C:
			S: 500 5.5.1 Command unrecognized`},
		{"syntax", `
			S: 220 ~
			C: EHLO
			S: 501 5.0.0 EHLO requires domain address
			C: HELO a(b)
			S: 501 5.0.0 Invalid domain name
			C: EHLO [IPv6:2001:db8::1]
			S: 250-mx~
			C: MAIL TO:<a@b>
			S: 501 5.5.2 Syntax error in parameters scanning "TO:<a@b>"
			C: MAIL FROM:
			S: 501 5.5.2 Syntax error in parameters scanning "FROM:"
			C: MAIL FROM:<a@b@c>
			S: 553 5.1.3 <a@b@c>... Invalid route address
			C: MAIL FROM:<a@b> SIZE=x
			S: 501 5.5.4 SIZE requires a value
			C: MAIL FROM:<a@b> SIZE=52428801
			S: 552 5.3.4 Message size exceeds maximum value (52428800)
			C: MAIL FROM:<a@b> BODY=BINARYMIME
			S: 501 5.5.4 Unknown BODY type BINARYMIME
			C: MAIL FROM:<a@b> HOLDFOR=5
			S: 555 5.5.4 HOLDFOR parameter unrecognized
			C: MAIL FROM:<ü@b>
			S: 553 5.6.7 <ü@b>... Address requires SMTPUTF8
			C: mail from : a@b  size=5 body=8bitmime SMTPUTF8
			S: 250 2.1.0 a@b... Sender ok
			C: RCPT TO:<u@local.example> RRVS=x
			S: 555 5.5.4 RRVS=x parameter unrecognized
			C: RCPT TO:<a@
			S: 553 5.0.0 <a@... Unbalanced '<'
			C: RCPT TO:<"a> b"@local.example>
			S: 250 2.1.5 <"a> b"@local.example>... Recipient ok
			C: DATA now
			S: 501 5.5.4 DATA takes no argument`},
		{"parameters for reports", `
			S: 220 ~
			C: EHLO client.example
			S: 250-~
			C: MAIL FROM:<a@b> RET=ALL
			S: 501 5.5.4 Bad argument "ALL" to RET
			C: MAIL FROM:<a@b> RET=FULL ret=hdrs
			S: 501 5.5.4 Duplicate RET parameter
			C: MAIL FROM:<a@b> ENVID
			S: 501 5.5.4 ENVID requires a value
			C: MAIL FROM:<a@b> ENVID=a=b
			S: 501 5.5.4 Bad argument "a=b" to ENVID
			C: MAIL FROM:<a@b> ENVID=a ENVID=a
			S: 501 5.5.4 Duplicate ENVID parameter
			C: MAIL FROM:<a@b> RET=full ENVID=a+2Bb
			S: 250 2.1.0 <a@b>... Sender ok
			C: RCPT TO:<u@local.example> NOTIFY=NEVER,DELAY
			S: 501 5.5.4 Bad argument "NEVER,DELAY" to NOTIFY
			C: RCPT TO:<u@local.example> NOTIFY=
			S: 501 5.5.4 NOTIFY requires a value
			C: RCPT TO:<u@local.example> NOTIFY=DELAY notify=DELAY
			S: 501 5.5.4 Duplicate NOTIFY parameter
			C: RCPT TO:<u@local.example> ORCPT=u@local.example
			S: 501 5.5.4 Bad argument "u@local.example" to ORCPT
			C: RCPT TO:<u@local.example> ORCPT=rfc822;u ORCPT=rfc822;u
			S: 501 5.5.4 Duplicate ORCPT parameter
			C: RCPT TO:<u@local.example> NOTIFY=SUCCESS,failure ORCPT=rfc822;u
			S: 250 2.1.5 <u@local.example>... Recipient ok`},
		{"pipelining", `
			S: 220 ~
			C: EHLO client.example
			C: MAIL FROM:<a@sender.example>
			C: RCPT TO:<u@local.example>
			C: DATA
			S: 250-~
			S: 250 2.1.0 ~
			S: 250 2.1.5 ~
			S: 354 ~
			C: hello
			C: .
			C: NOOP
			C: QUIT
			S: 250 2.0.0 ~
			S: 250 2.0.0 OK
			S: 221 2.0.0 ~
			S: EOF`},
		{"BDAT", `
			S: 220 ~
			C: EHLO client.example
			S: 250-~
			C: MAIL FROM:<a@sender.example>
			C: RCPT TO:<u@local.example>
			C: BDAT 8
			C: QUIT..
			C: BDAT 6 LAST
			C: QUIT
			S: 250 2.1.0 ~
			S: 250 2.1.5 ~
			S: 250 2.0.0 Chunk accepted
			S: 250 2.0.0 ~
			C: BDAT 6
			C: QUIT
			S: 503 5.0.0 Need MAIL command
			C: MAIL FROM:<a@sender.example>
			C: RCPT TO:<u@local.example>
			C: BDAT 0
			C: RCPT TO:<u@local.example>
			C: DATA
			S: 250 2.1.0 ~
			S: 250 2.1.5 ~
			S: 250 2.0.0 Chunk accepted
			S: 503 5.5.1 BDAT in progress
			S: 503 5.5.1 BDAT in progress
			C: BDAT x
			S: 501 5.5.4 BDAT requires a size, closing connection
			S: EOF`},
		{"a web browser", `
			S: 220 ~
			C: GET / HTTP/1.1
			C: Host: x
			S: 421 4.7.0 mx.example.com This is a mail server, closing connection`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { converse(t, accepting(t).dial(), tt.dialogue) })
	}
}

func TestRefusals(t *testing.T) {
	no := refusal(550, "5.7.1", "No")
	multi := refusal(550, "5.7.1", "one\ntwo")
	const mail, rcpt = "MAIL FROM:<a@b.example>", "RCPT TO:<u@local.example>"
	tests := []struct {
		name     string
		policy   script
		dialogue string
	}{
		{"connect", at(policy.StageConnect, no), `
			S: 220 ~
			C: EHLO x
			S: 250-~
			C: ` + mail + `
			S: 550 5.7.1 No
			C: RCPT TO:<x@y>
			C: DATA
			C: VRFY x
			C: BDAT 6 LAST
			C: NOOP
			C: RSET
			S: 550 5.7.1 No
			S: 550 5.7.1 No
			S: 550 5.7.1 No
			S: 550 5.7.1 No
			S: 250 2.0.0 Reset state
			C: QUIT
			S: 221 ~`},
		{"connect with 421", at(policy.StageConnect, refusal(421, "4.7.0", "Too busy for you")), `
			S: 421 4.7.0 Too busy for you
			S: EOF`},
		{"connect, no verdict", at(policy.StageConnect, policy.Verdict{}), `
			S: 220 ~
			C: ` + mail + `
			S: 451 4.3.0 Temporary failure, please try again later`},
		{"HELO", at(policy.StageHelo, no), `
			S: 220 ~
			C: EHLO x
			S: 550 5.7.1 No
			C: ` + mail + `
			S: 550 5.7.1 No`},
		{"MAIL", at(policy.StageMail, multi), `
			S: 220 ~
			C: ` + mail + `
			S: 550-5.7.1 <a@b.example>... one / 550 5.7.1 two
			C: ` + rcpt + `
			S: 503 5.0.0 Need MAIL before RCPT`},
		{"MAIL with another code", at(policy.StageMail, refusal(554, "5.7.1", "No")), `
			S: 220 ~
			C: ` + mail + `
			S: 554 5.7.1 No`},
		{"the class of the enhanced code is the administrator's", at(policy.StageMail, refusal(452, "5.7.1", "Full")), `
			S: 220 ~
			C: ` + mail + `
			S: 452 5.7.1 Full`},
		{"RCPT with 421 is one of many", at(policy.StageRcpt, refusal(421, "4.7.0", "Later")), `
			S: 220 ~
			C: ` + mail + `
			S: 250 ~
			C: ` + rcpt + `
			S: 421 4.7.0 Later
			C: NOOP
			S: 250 ~`},
		{"RCPT", at(policy.StageRcpt, refusal(450, "4.2.0", "Grey")), `
			S: 220 ~
			C: ` + mail + `
			S: 250 ~
			C: ` + rcpt + `
			S: 450 4.2.0 <u@local.example>... Grey
			C: DATA
			S: 503 5.0.0 Need RCPT (recipient)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { converse(t, start(t, tt.policy).dial(), tt.dialogue) })
	}
}

func TestReplyWithoutEnhancedCode(t *testing.T) {
	r, err := smtp.NewReply(550, smtp.EnhancedCode{}, "Go away")
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, at(policy.StageMail, policy.Verdict{Action: policy.Reject, Reply: r}))
	c := f.greeted()
	c.say("MAIL FROM:<a@b>", "550 5.0.0 <a@b>... Go away")
}
