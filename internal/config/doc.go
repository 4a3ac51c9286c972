// Package config reads gatepost.toml into a typed value. It is strict: an
// unknown key, a value of the wrong type and a value that cannot work are all
// errors, each with file and line, and all of them are reported at once. A
// setting that this version does not act on is an error too, never ignored:
// an ignored restriction could open a relay.
//
// The names and arguments under [features] are those of FEATURE() in sendmail's
// cf/README; see features.go for the one table of them. Nothing is looked up
// while reading: no DNS, no user names, no tables.
//
// Format: TOML 1.0 (https://toml.io/en/v1.0.0).
package config
