// Package smtp holds the small typed values of the mail protocol that every
// other package shares: addresses as sendmail parses them, replies and enhanced
// status codes. It does no input or output and knows no policy.
//
// Sources: RFC 5321 (addresses, replies), RFC 3463 and RFC 2034 (enhanced
// status codes), sendmail's rule sets canonify and parse (addresses).
package smtp
