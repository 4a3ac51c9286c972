package servers

import (
	"os"
	"testing"
)

// Postmap is Postfix's postmap with its cdb, lmdb and socketmap tables:
// GATEPOST_POSTMAP names it, and integration/peers.sh brings it.
func Postmap(t testing.TB) string {
	t.Helper()
	path := os.Getenv("GATEPOST_POSTMAP")
	if path == "" {
		t.Fatal("GATEPOST_POSTMAP is not set; see integration/peers.sh")
	}
	return path
}
