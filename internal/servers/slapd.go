package servers

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// The classes and attributes of sendmail's schema that a table needs, under numbers of our own.
const schema = `
attributetype ( 1.3.6.1.4.1.99999.1.1 NAME 'sendmailMTACluster' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( 1.3.6.1.4.1.99999.1.2 NAME 'sendmailMTAHost' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 )
attributetype ( 1.3.6.1.4.1.99999.1.3 NAME 'sendmailMTAMapName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.99999.1.4 NAME 'sendmailMTAKey' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.99999.1.5 NAME 'sendmailMTAMapValue' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.3.6.1.4.1.99999.2.1 NAME 'sendmailMTAMapObject' SUP top STRUCTURAL MUST ( sendmailMTAMapName $ sendmailMTAKey )
	MAY ( sendmailMTACluster $ sendmailMTAHost $ sendmailMTAMapValue $ description ) )
`

// Who may see what: the table everyone, ou=private the user alone.
const database = `
include /etc/ldap/schema/core.schema
include %[1]s/sendmail.schema
pidfile %[1]s/pid
%[2]s
database ldif
suffix "dc=example,dc=com"
rootdn "cn=root,dc=example,dc=com"
rootpw rootsecret
directory %[1]s/data
access to attrs=userPassword by anonymous auth
access to dn.subtree="ou=private,dc=example,dc=com" by dn.exact="cn=gatepost,dc=example,dc=com" read
access to * by * read
`

const organisation = `
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=access,dc=example,dc=com
objectClass: organizationalUnit
ou: access

dn: ou=private,dc=example,dc=com
objectClass: organizationalUnit
ou: private

dn: cn=gatepost,dc=example,dc=com
objectClass: person
cn: gatepost
sn: gatepost
userPassword: s3cr3t

dn: ou=far,dc=example,dc=com
objectClass: referral
objectClass: extensibleObject
ou: far
ref: ldap://127.0.0.1:1/ou=far,dc=example,dc=com
`

// Slapd is a real slapd. Tables are below ou=access, where everyone may read, and
// ou=private, where cn=gatepost may alone; its password is s3cr3t.
type Slapd struct {
	process
	Port   int
	Scheme string // of the port: ldap or ldaps
	n      int
}

// StartSlapd starts a slapd that ends with the test. options are further lines of its
// configuration.
func StartSlapd(t testing.TB, options string) *Slapd {
	t.Helper()
	dir := t.TempDir()
	s := &Slapd{process: process{t: t, dir: dir, socket: filepath.Join(dir, "ldapi")}, Scheme: "ldap", Port: FreePort(t)}
	s.Write("sendmail.schema", schema)
	s.Write("slapd.conf", fmt.Sprintf(database, s.dir, options))
	if err := os.Mkdir(filepath.Join(s.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.command("/usr/sbin/slapadd", "-f", filepath.Join(s.dir, "slapd.conf"), "-l", s.Write("organisation", organisation))
	s.Run()
	t.Cleanup(s.Kill)
	return s
}

// Run starts the server again.
func (s *Slapd) Run() {
	s.t.Helper()
	s.start("/usr/sbin/slapd", "-d", "0", "-f", filepath.Join(s.dir, "slapd.conf"),
		"-h", "ldapi://"+url.QueryEscape(s.socket)+" "+s.Scheme+"://127.0.0.1:"+strconv.Itoa(s.Port))
}

func (s *Slapd) command(name string, args ...string) {
	s.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}

// Entry is an entry of a table in LDIF.
func (s *Slapd) Entry(under, key string, values ...string) string {
	s.n++
	return s.EntryNamed(strconv.Itoa(s.n), under, key, values...)
}

// EntryNamed is an entry of a table in LDIF, with a name of its own among those under
// the same unit. What may be anything is in base64.
func (s *Slapd) EntryNamed(name, under, key string, values ...string) string {
	text := fmt.Sprintf("\ndn: %s\nobjectClass: sendmailMTAMapObject\n"+
		"description: %s\nsendmailMTAMapName: access\nsendmailMTACluster: mx\nsendmailMTAKey:: %s\n", DN(name, under), name, base64.StdEncoding.EncodeToString([]byte(key)))
	for _, v := range values {
		text += ValueLine(v)
	}
	return text
}

// DN is the name of an entry of a table.
func DN(name, under string) string {
	return "description=" + name + ",ou=" + under + ",dc=example,dc=com"
}

// ValueLine is the line of LDIF with an entry's value.
func ValueLine(value string) string {
	return "sendmailMTAMapValue:: " + base64.StdEncoding.EncodeToString([]byte(value)) + "\n"
}

// Change gives LDIF to ldapmodify. Entries without a changetype are added.
func (s *Slapd) Change(ldif string) {
	s.t.Helper()
	s.command("ldapmodify", "-a", "-x", "-H", "ldapi://"+url.QueryEscape(s.socket), "-D", "cn=root,dc=example,dc=com", "-w", "rootsecret",
		"-f", s.Write("change.ldif", ldif))
}
