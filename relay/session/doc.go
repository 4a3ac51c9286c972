// Package session is the way in of gatepost-relay: an SMTP server that asks the
// policy at each stage and puts what it takes into the spool.
//
// A session is one goroutine. What comes from the client passes through three
// places only: wire (lines, with their bounds and deadlines), scanner (message
// text, where it ends and what must not be in it) and the parsers of commands, of
// the PROXY header, of XCLIENT and of what is said within AUTH. What goes out is built
// by reply.go alone. What a listener has of its own stands in Rules.
//
// Sources: RFC 5321 (SMTP), 1870 (SIZE), 2034 (enhanced codes), 2920
// (PIPELINING), 3030 (CHUNKING), 3207 (STARTTLS), 3848 (Received), 4954 (AUTH), 6152
// (8BITMIME), 6531 (SMTPUTF8), 8314 (implicit TLS), 9422 (LIMITS);
// sendmail's srvrsmtp.c and collect.c as observed, for what is said and when.
// docs/smtp.md has all of it from the administrator's side.
package session
