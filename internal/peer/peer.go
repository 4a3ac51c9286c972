// Package peer tells who is at the other end of a UNIX socket.
package peer

import (
	"errors"
	"fmt"
	"net"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

var errNotUnix = errors.New("not a UNIX socket")

// UID is the user who has opened the other end of a connection, as the kernel knows it
// (SO_PEERCRED of unix(7)): nobody can claim to be another.
func UID(c net.Conn) (uint32, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errNotUnix
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, fmt.Errorf("SO_PEERCRED: %w", failed)
	}
	return cred.Uid, nil
}

// Name is the login name of a user of this host, "" for one that has none, or none that
// is a word of letters, digits, dots, - and _.
func Name(uid uint32) string {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil || len(u.Username) > 64 {
		return ""
	}
	for _, c := range u.Username {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return ""
		}
	}
	return u.Username
}
