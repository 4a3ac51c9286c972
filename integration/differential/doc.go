// Command differential compares Gatepost's decisions with those of real sendmail.
//
// A seeded generator makes policies and sessions (generate*.go). Each policy
// becomes a sendmail.mc with its tables (mc.go), and sendmail 8.17.1 gives the
// verdicts: its rule sets are called in test mode, "sendmail -bt" (testmode.go),
// and some of the sessions are held by real SMTP (smtp.go), where both ways must
// agree. Sendmail runs in namespaces of its own (worker.go) with a DNS server
// that knows the policy's facts (nameserver.go). The recorded lines then go to
// "gatepost test", and each session that differs is kept as a file (compare.go).
//
// README.md says how to run it. Only the program needs root and sendmail; the
// tests of this package do not.
package main
