// Package milter is the front through which sendmail and Postfix ask the
// policy: it speaks the milter protocol (version 6), turns its events into
// policy.Facts and verdicts into its answers.
//
// github.com/d--j/go-milter does the protocol. It trusts its peer, so that a
// connection reaches it only through a guard of ours (conn), which
//
//   - hands over nothing but whole frames whose length, command and strings have
//     been checked: the library indexes and allocates on the peer's word;
//   - reads a packet with one system call and writes an answer with one;
//   - keeps the macros, because the library forgets those of HELO at each ABORT
//     and builds a table for each macro frame;
//   - puts our own reply text in the library's place, because the library cuts
//     off the enhanced code of a second line at some lengths and may split a
//     doubled percent sign;
//   - ends idle connections at shutdown, which the library does only at QUIT.
//
// What each answer means to each MTA stands in encode.go.
//
// Sources: sendmail libmilter/docs and include/libmilter/mfdef.h; Postfix
// milter8.c; both observed (sendmail 8.17.1, Postfix 3.7).
package milter
