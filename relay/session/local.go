package session

import (
	"net"
	"strconv"

	"gatepost/internal/peer"
	"gatepost/relay/spool"
)

// localName is how sendmail calls the host of a client that did not come by the network.
const localName = "localhost"

// localUser is whose program is at the other end of a UNIX socket.
type localUser struct {
	uid  uint32
	name string // "" if the user has none
}

// String is for replies and Received: sendmail has user@localhost there for its own
// children; the uid is what the kernel vouches for.
func (u localUser) String() string {
	uid := "uid " + strconv.FormatUint(uint64(u.uid), 10)
	if u.name == "" {
		return uid
	}
	return u.name + "@" + localName + ", " + uid
}

// meet finds out whose program a local client is; false if that cannot be told.
func (s *session) meet(nc net.Conn) bool {
	uid, err := peer.UID(nc)
	if err != nil {
		s.server.log.Error("smtp: connection closed: whose it is cannot be told", "listener", s.rules.Name, "error", err)
		return false
	}
	s.local.uid = uid
	return true
}

// who is the client, for the log.
func (s *session) who() any {
	if s.rules.Local {
		return s.local.String()
	}
	return s.facts.Conn.Addr
}

// broughtBy is the client, for those who look at the queue. HELO of a local one means
// nothing.
func (s *session) broughtBy() spool.Client {
	if s.rules.Local {
		return spool.Client{Name: localName}
	}
	c := &s.facts.Conn
	return spool.Client{Addr: c.Addr, Name: c.Name, Helo: s.facts.Helo.Name, Auth: s.facts.Auth.Authen}
}
