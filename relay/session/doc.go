// Package session is the way in of gatepost-relay: an SMTP server that asks the
// policy at each stage and puts what it takes into the spool.
//
// A session is one goroutine. What comes from the client passes through three
// places only: wire (lines, with their bounds and deadlines), scanner (message
// text, where it ends and what must not be in it) and the parsers of commands, of
// the PROXY header and of XCLIENT. What goes out is built by reply.go alone.
//
// Sources: RFC 5321 (SMTP), 1870 (SIZE), 2034 (enhanced codes), 2920
// (PIPELINING), 3030 (CHUNKING), 6152 (8BITMIME), 6531 (SMTPUTF8), 9422 (LIMITS);
// sendmail's srvrsmtp.c and collect.c as observed, for what is said and when.
// docs/smtp.md has all of it from the administrator's side.
package session
