// Package dnsbl knows what a DNS list is: the name under which it has an entry
// for an address or a domain, which of its answers mean "listed", and whether the
// list as a whole can be believed.
//
// It decides nothing about mail: package policy asks, records and judges.
//
// Source: RFC 5782 (DNS blacklists and whitelists).
package dnsbl
