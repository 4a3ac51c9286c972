package maps

import "fmt"

// Kind says what a map is kept in. The set is closed.
type Kind uint8

const (
	// KindText is a text file, as makemap(8) reads it or as a class file.
	KindText Kind = iota
	// KindDB is a Berkeley DB file, hash or btree, as makemap(8) and postmap(1) write it.
	KindDB
	// KindCDB is a constant database.
	KindCDB
	// KindLMDB is an LMDB file, as postmap(1) writes it.
	KindLMDB
	// KindCIDR is a text file of networks, an extension of ours.
	KindCIDR
	// KindRegex is a text file of regular expressions, an extension of ours.
	KindRegex
	// KindRedis is a hash of a Redis server.
	KindRedis
	// KindSocketmap is a server for the socketmap protocol of sendmail and Postfix.
	KindSocketmap
	// KindLDAP is a directory.
	KindLDAP

	kinds = iota
)

func kindNames() [kinds]string {
	return [...]string{"text", "db", "cdb", "lmdb", "cidr", "regex", "redis", "socketmap", "ldap"}
}

func (k Kind) String() string {
	if k >= kinds {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames()[k]
}

// ParseKind is the kind with a name.
func ParseKind(name string) (Kind, error) {
	for k, n := range kindNames() {
		if n == name {
			return Kind(k), nil
		}
	}
	return 0, fmt.Errorf("unknown kind of map %q", name)
}
