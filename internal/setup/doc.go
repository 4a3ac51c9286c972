// Package setup is where things meet: it makes tables, resolver, policy, logs
// and metrics out of a configuration, keeps them current, and hands the current
// policy to whoever serves a session.
//
// A complete new policy is built on each change and swapped in by one atomic
// pointer. Whatever goes wrong while building keeps the old policy in force, and
// is logged and shown by a metric.
package setup
