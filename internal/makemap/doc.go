// Package makemap is what makemap(8) of sendmail does: a text becomes a database,
// or a database a text. Gatepost itself needs neither; other programs that read
// the same tables may.
//
// Source: sendmail 8.17 makemap/makemap.c and its manual page.
package makemap
