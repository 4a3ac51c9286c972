package main

import "strings"

// Known differences, each a fault of sendmail. README.md shows them; keep the two
// lists the same. One is not here, since the generator leaves it out: senders in a
// literal that is no address, [300.1.1.1].

// notOverSMTP says whether a session cannot be held, by a fault that is known.
//
// "Percent at connection": the text by which sendmail refuses a client is used as
// a format for printf (srvrsmtp.c, usrerr(nullserver)), so "100% of it" comes out
// as "1000f it", and two "%s" end the server process. At MAIL and RCPT the text
// is an argument and is whole.
func notOverSMTP(s *Session) bool {
	v := s.Expected.Connect
	return v.refuses() && strings.Contains(v.Text, "%")
}
