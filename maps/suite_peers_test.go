//go:build integration

package maps_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatepost/internal/servers"
	"gatepost/maps"
	"gatepost/maps/ldap"
	"gatepost/maps/mapstest"
)

// lmdbFile is a file that Postfix's postmap makes.
func lmdbFile(t *testing.T) *file {
	postmap := servers.Postmap(t)
	f := newFile(t, maps.KindLMDB, func(t *testing.T, entries []mapstest.Entry) string {
		text := filepath.Join(t.TempDir(), "access")
		var b strings.Builder
		for _, e := range entries {
			fmt.Fprintf(&b, "%s %s\n", e.Key, e.Value)
		}
		if err := os.WriteFile(text, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(postmap, "lmdb:"+text).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("postmap: %v %s", err, out)
		}
		data, err := os.ReadFile(text + ".lmdb")
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	})
	return f.withDamage(t)
}

const redisPassword = "s3cr3t%pass"

// fromRedis is a hash of a real redis-server, which keeps it over a restart.
func fromRedis(t *testing.T, spec maps.Spec, args ...string) mapstest.Fixture {
	server := servers.StartRedis(t, append([]string{
		"--requirepass", redisPassword, "--appendonly", "yes", "--appendfsync", "always",
	}, args...)...)
	cli := func(commands ...string) {
		t.Helper()
		server.CLIWith([]string{"--no-auth-warning", "-a", redisPassword}, commands...)
	}
	spec.Name, spec.Kind = "access", maps.KindRedis
	spec.Path = strings.Replace(server.URL("access"), "redis://", "redis://:s3cr3t%25pass@", 1)
	before, after, absent := mapstest.Default(20_000, false)
	f := mapstest.Fixture{
		Specs: []maps.Spec{spec}, Before: before, After: after, Absent: absent, Followed: true, Secret: "s3cr3t",
		Source: func(int) maps.Source { return maps.Source{File: server.URL("access")} }, Entries: func(n int) int { return n },
		WhenGone: mapstest.CannotBeAsked,
		Put: func(t *testing.T, entries []mapstest.Entry) {
			commands := []string{"MULTI", "DEL access"}
			for i, e := range entries {
				if i%2 == 0 {
					e.Key = strings.ToUpper(e.Key)
				}
				commands = append(commands, "HSET access "+servers.Quote(e.Key)+" "+servers.Quote(e.Value))
			}
			cli(append(commands, "INCR access:version", "EXEC")...)
		},
		Faults: []mapstest.Fault{
			{Name: "killed", Do: func(*testing.T) { server.Kill() }, Undo: func(*testing.T) { server.Run() }},
			{Name: "stopped", Do: func(*testing.T) { server.Pause() }, Undo: func(*testing.T) { server.Resume() }},
			{
				Name: "another type", Do: func(*testing.T) { cli("MULTI", "RENAME access kept", "SET access x", "EXEC") },
				Undo: func(*testing.T) { cli("RENAME kept access") },
			},
			{
				Name: "another password", Do: func(*testing.T) {
					cli("CONFIG SET requirepass other", "CLIENT KILL TYPE normal", "CLIENT KILL TYPE pubsub")
				},
				Undo: func(*testing.T) {
					server.CLIWith([]string{"--no-auth-warning", "-a", "other"}, "CONFIG SET requirepass "+servers.Quote(redisPassword))
				},
			},
		},
	}
	if spec.KeepLast {
		f.WhenGone = mapstest.AnswersLast
	}
	return f
}

// fromLDAP is a table in a real slapd. An entry that is changed keeps its name, so that
// whoever asks meanwhile has its old or its new value.
func fromLDAP(t *testing.T, longest int) mapstest.Fixture {
	server := servers.StartSlapd(t, "")
	spec := maps.Spec{Name: "access", Kind: maps.KindLDAP, Path: "table", LDAP: ldap.Config{
		URL: fmt.Sprintf("ldap://127.0.0.1:%d", server.Port), BindDN: "cn=gatepost,dc=example,dc=com",
		PasswordFile: server.Write("password", "s3cr3t\n"), BaseDN: "ou=private,dc=example,dc=com",
		Filter: ldap.SendmailFilter("access", "mx", ""),
	}}
	before, after, absent := mapstest.Default(longest, true)
	there, names := map[string]string{}, 0 // the entries' names by key
	put := func(_ *testing.T, entries []mapstest.Entry) {
		ldif := ""
		next := map[string]string{}
		for _, e := range entries {
			if name := there[e.Key]; name != "" {
				next[e.Key] = name
				ldif += "\ndn: " + servers.DN(name, "private") + "\nchangetype: modify\nreplace: sendmailMTAMapValue\n" + servers.ValueLine(e.Value)
				continue
			}
			names++
			next[e.Key] = fmt.Sprint(names)
			ldif += server.EntryNamed(next[e.Key], "private", e.Key, e.Value)
		}
		for key, name := range there {
			if next[key] == "" {
				ldif += "\ndn: " + servers.DN(name, "private") + "\nchangetype: delete\n"
			}
		}
		there = next
		server.Change(ldif)
	}
	return mapstest.Fixture{
		Specs: []maps.Spec{spec}, Before: before, After: after, Absent: absent, Put: put, Secret: "s3cr3t",
		Source:   func(int) maps.Source { return maps.Source{File: spec.LDAP.String()} },
		WhenGone: mapstest.CannotBeAsked,
		Faults: []mapstest.Fault{
			{Name: "killed", Do: func(*testing.T) { server.Kill() }, Undo: func(*testing.T) { server.Run() }},
			{Name: "stopped", Do: func(*testing.T) { server.Pause() }, Undo: func(*testing.T) { server.Resume() }},
		},
	}
}

func TestSuitePeers(t *testing.T) {
	stale := maps.Spec{MaxStale: 5 * time.Second}
	kinds := map[string]func(t *testing.T) mapstest.Fixture{
		"lmdb":                        func(t *testing.T) mapstest.Fixture { return lmdbFile(t).fixture(mapstest.Default(20_000, true)) },
		"redis":                       func(t *testing.T) mapstest.Fixture { return fromRedis(t, stale) },
		"redis with notifications":    func(t *testing.T) mapstest.Fixture { return fromRedis(t, stale, "--notify-keyspace-events", "Kgh$") },
		"redis with its last content": func(t *testing.T) mapstest.Fixture { return fromRedis(t, maps.Spec{KeepLast: true}) },
		"ldap":                        func(t *testing.T) mapstest.Fixture { return fromLDAP(t, 20_000) },
		"ldap with its last answers": func(t *testing.T) mapstest.Fixture {
			f := fromLDAP(t, 2000)
			f.Specs[0].KeepLast = true
			f.WhenGone = mapstest.AnswersLast
			return f
		},
	}
	for name, open := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mapstest.Run(t, open)
		})
	}
}
