// Package front is what the milter front and the SMTP server have in common:
// how the policy is asked within a deadline and what its verdict leaves behind,
// how connections are taken, counted and ended, and how warnings that peers can
// provoke are kept few.
package front
