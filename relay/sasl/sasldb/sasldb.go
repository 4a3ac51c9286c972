// Package sasldb reads the accounts of Cyrus SASL, as saslpasswd2(8) makes them: a
// Berkeley DB file whose keys are user, realm and "userPassword" with a NUL between
// them, and whose values are the passwords.
package sasldb

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"gatepost/internal/follow"
	"gatepost/maps/bdb"
	"gatepost/relay/sasl"
)

// maxFile bounds the database, in bytes.
const maxFile = 64 << 20

// Accounts are those of a sasldb2. It is safe for concurrent use.
type Accounts struct {
	file   *follow.Files[passwords]
	realms []string
}

// account is a key of the database.
type account struct{ user, realm string }

type passwords map[account]string

// Open reads the database. Users who do not say their realm are looked for in realms, in
// order; those of the first are known by their name alone, others as user@realm. The
// file is read again within a second after it has changed; one that cannot be read then
// is logged, and what it said before stays.
//
// It fails for a file that every user of the host may read, that is no such database, or
// that is one of Cyrus SASL version 1.
func Open(path string, realms []string, log *slog.Logger) (*Accounts, error) {
	read := func() (*passwords, error) {
		data, err := follow.Read(path, maxFile, true)
		if err != nil {
			return nil, err
		}
		return parse(path, data)
	}
	file, err := follow.Open("accounts", []string{path}, read, log)
	if err != nil {
		return nil, err
	}
	return &Accounts{file, slices.Clone(realms)}, nil
}

// Usual says that there are passwords here, and no verifiers.
func (a *Accounts) Usual() sasl.Usual { return sasl.Usual{Passwords: true} }

// Lookup never fails: the file is in memory.
func (a *Accounts) Lookup(_ context.Context, user, realm string) (sasl.Secrets, bool, error) {
	all := *a.file.Get()
	for _, key := range a.keys(user, realm) {
		if password, ok := all[key]; ok {
			return sasl.Secrets{Name: a.name(key), Password: password}, true, nil
		}
	}
	return sasl.Secrets{}, false, nil
}

// keys are where a user may be: as in Cyrus SASL, what follows an @ is a realm.
func (a *Accounts) keys(user, realm string) []account {
	if realm != "" {
		return []account{{user, realm}}
	}
	var keys []account
	for _, r := range a.realms {
		keys = append(keys, account{user, r})
	}
	if name, r, ok := strings.Cut(user, "@"); ok && name != "" {
		keys = append(keys, account{name, r})
	}
	return keys
}

// name is one that no other account has.
func (a *Accounts) name(key account) string {
	if len(a.realms) > 0 && key.realm == a.realms[0] && !strings.Contains(key.user, "@") {
		return key.user
	}
	return key.user + "@" + key.realm
}

// versionOne are the third parts of keys that Cyrus SASL version 1 wrote.
var versionOne = []string{"PLAIN", "PLAIN-APOP", "CRAM-MD5", "DIGEST-MD5", "APOP", "SCRAM-MD5"}

const convert = "a database of Cyrus SASL version 1, which cannot be read: convert it with \"dbconverter-2\" " +
	"(Debian: sasldbconverter2), or set the passwords anew with \"saslpasswd2 -c USER\""

func parse(path string, data []byte) (*passwords, error) {
	db, err := bdb.Parse(data)
	if err != nil {
		if filepath.Base(path) == "sasldb" {
			return nil, fmt.Errorf("%s: %w; expected /etc/sasldb2: this is likely %s", path, err, convert)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	all := passwords{}
	err = db.Walk(func(key, value []byte) error {
		parts := strings.Split(string(key), "\x00")
		if len(parts) != 3 {
			return fmt.Errorf("a key of %d parts; expected user, realm and property", len(parts))
		}
		if slices.Contains(versionOne, parts[2]) {
			return fmt.Errorf("%s", convert)
		}
		if parts[2] != "userPassword" || len(value) == 0 {
			return nil
		}
		// A name that cannot be prepared cannot be asked for.
		if name, err := sasl.PrepareName(parts[0]); err == nil {
			all[account{name, parts[1]}] = string(value)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &all, nil
}
