//go:build integration

package integration

import (
	"bufio"
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Driver is a mail server that dialogues are played to.
type Driver interface {
	// Name is the tag of its lines in dialogue files.
	Name() string
	// Addr is where a client with this address connects to.
	Addr(client netip.Addr) (netip.AddrPort, error)
	// Held counts the quarantined messages by their token.
	Held(ctx context.Context) (map[string]int, error)
	// Idle tells whether no message is on its way.
	Idle(ctx context.Context) (bool, error)
}

// drivers are all servers.
func (s *stack) drivers(t *testing.T) []Driver {
	t.Helper()
	return append(s.mtas(t), s.relayDriver(t))
}

// mtas are the servers that ask gatepost-milter.
func (s *stack) mtas(t *testing.T) []Driver {
	t.Helper()
	drivers := []Driver{
		&mta{name: "sendmail", container: s.container(t, "sendmail"), host: 25,
			held: "/var/spool/mqueue -name hf*", moving: "/var/spool/mqueue -name [qtx]f*"},
		&mta{name: "postfix", container: s.container(t, "postfix"), host: 26,
			held:   "/var/spool/postfix/hold -type f",
			moving: "/var/spool/postfix/incoming /var/spool/postfix/active /var/spool/postfix/deferred -type f"},
	}
	for _, d := range drivers {
		s.waitListening(t, d)
	}
	return drivers
}

func (s *stack) waitListening(t *testing.T, d Driver) {
	t.Helper()
	for _, client := range []string{"198.51.100.7", "2001:db8:2::7"} {
		from := netip.MustParseAddr(client)
		to, err := d.Addr(from)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, time.Minute, d.Name()+" answers at "+to.String(), func() (bool, string) {
			conn, err := s.dial(from, to)
			if err != nil {
				return false, err.Error()
			}
			return conn.Close() == nil, ""
		})
	}
}

// mta is a mail server in a container. held and moving are the find arguments
// for its queue files.
type mta struct {
	name, container string
	host            byte // last part of its addresses
	held, moving    string
}

func (m *mta) Name() string { return m.name }

func (m *mta) Addr(client netip.Addr) (netip.AddrPort, error) { return serverAddr(m.host, client) }

// serverAddr is the address of a server in the client's family.
func serverAddr(host byte, client netip.Addr) (netip.AddrPort, error) {
	if netip.MustParsePrefix("198.51.100.0/24").Contains(client) {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, host}), 25), nil
	}
	if netip.MustParsePrefix("2001:db8::/32").Contains(client) {
		return netip.ParseAddrPort(fmt.Sprintf("[2001:db8::%d]:25", host))
	}
	return netip.AddrPort{}, fmt.Errorf("client %v is not in the test network", client)
}

func (m *mta) Held(ctx context.Context) (map[string]int, error) {
	out, err := docker(ctx, "exec", m.container, "sh", "-c",
		"set -f; find "+m.held+" -exec grep -aoh '"+TokenHeader+": [0-9a-f]\\{16\\}' {} +; true")
	if err != nil {
		return nil, err
	}
	held := map[string]int{}
	for line := range strings.Lines(out) {
		held[strings.TrimSpace(strings.TrimPrefix(line, TokenHeader+": "))]++
	}
	return held, nil
}

func (m *mta) Idle(ctx context.Context) (bool, error) {
	out, err := docker(ctx, "exec", m.container, "sh", "-c", "set -f; find "+m.moving)
	return strings.TrimSpace(out) == "", err
}

// arrived is what the sink has got, by token.
type arrived struct{ messages, recipients int }

func (s *stack) sink() (map[string]arrived, error) {
	files, err := filepath.Glob(filepath.Join(s.state, "sink", "m.*"))
	if err != nil {
		return nil, err
	}
	got := map[string]arrived{}
	for _, file := range files {
		token, recipients, err := readSunk(file)
		if err != nil {
			return nil, err
		}
		a := got[token]
		got[token] = arrived{a.messages + 1, a.recipients + recipients}
	}
	return got, nil
}

// readSunk reads a file of smtp-sink: X-Rcpt-Args lines, then the message.
func readSunk(file string) (token string, recipients int, err error) {
	f, err := os.Open(file)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	ours := regexp.MustCompile(`^` + TokenHeader + `: ([0-9a-f]{16})$`)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "X-Rcpt-Args:") {
			recipients++
		}
		if m := ours.FindStringSubmatch(lines.Text()); m != nil && token == "" {
			token = m[1]
		}
	}
	return token, recipients, lines.Err()
}
