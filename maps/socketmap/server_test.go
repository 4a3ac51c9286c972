package socketmap

import (
	"net"
	"strings"
	"testing"

	"gatepost/internal/servers"
)

// start starts a server on network "unix" or "tcp" that ends with the test.
func start(t testing.TB, network string, handle servers.SocketmapHandler) *servers.Socketmap {
	t.Helper()
	s := servers.StartSocketmap(t, network, handle)
	s.SetAll(answers())
	return s
}

func serve(t testing.TB, l net.Listener) { servers.ServeSocketmap(t, l, servers.ServeTable, answers()) }

func answers() map[string]string {
	return map[string]string{
		"access a": "OK REJECT", "access empty": "OK ", "access b c": "OK two words", "access nobody": "NOTFOUND ",
		"access bare": "NOTFOUND", "access binary\n\x00,": "OK \x00,\n", "access temp": "TEMP overloaded",
		"access timeout": "TIMEOUT no backend", "access perm": "PERM no such map",
		"access long": "OK " + strings.Repeat("v", maxReply-3),
	}
}

func clientOf(t testing.TB, s *servers.Socketmap, change func(*Config)) *Client {
	t.Helper()
	config := Config{Network: s.Addr().Network(), Address: s.Addr().String(), Name: "access"}
	if change != nil {
		change(&config)
	}
	c := New(config)
	t.Cleanup(c.Close)
	return c
}
