//go:build integration

package socketmap

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"gatepost/internal/servers"
)

// TestPeers has Postfix's own client ask the server of the tests, which must
// understand it, and compares its answers with ours. It needs in GATEPOST_POSTMAP a
// postmap; integration/peers.sh brings it.
func TestPeers(t *testing.T) {
	postmap := servers.Postmap(t)
	for _, network := range []string{"unix", "tcp"} {
		s := start(t, network, servers.ServeTable)
		where := "unix:" + s.Addr().String() + ":access"
		if network == "tcp" {
			where = "inet:" + s.Addr().String() + ":access"
		}
		gotNetwork, address, name, err := ParseAddress(where)
		if err != nil {
			t.Fatal(err)
		}
		c := New(Config{Network: gotNetwork, Address: address, Name: name})
		defer c.Close()

		keys, want := "", ""
		for i := range 1000 {
			key := fmt.Sprintf("key%d@example.com", i)
			keys += key + "\n"
			if i%3 > 0 {
				s.Set("access "+key, fmt.Sprintf("OK value %d", i))
			}
			value, found, err := c.Lookup(context.Background(), key)
			if err != nil {
				t.Fatal(err)
			}
			if found {
				want += key + "\t" + value + "\n"
			}
		}
		cmd := exec.Command(postmap, "-q", "-", "socketmap:"+where)
		cmd.Stdin, cmd.Stderr = strings.NewReader(keys), os.Stderr
		got, err := cmd.Output()
		if err != nil || string(got) != want || strings.Count(want, "\n") != 666 {
			t.Errorf("%s: postmap -q answers %.300q, ours %.300q (%v)", network, got, want, err)
		}
		for _, key := range []string{"a", "b c", "nobody", "bare", "temp", "timeout", "perm", "long"} {
			comparePostmap(t, postmap, where, c, key)
		}
	}
}

// comparePostmap asks one key of both clients. postmap tells absence and failure apart
// only by what it says.
func comparePostmap(t *testing.T, postmap, where string, c *Client, key string) {
	t.Helper()
	cmd := exec.Command(postmap, "-q", key, "socketmap:"+where)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	value, found, ourErr := c.Lookup(context.Background(), key)
	theirFound, theirFailed := err == nil, err != nil && said.Len() > 0
	if theirFound != found || theirFailed != (ourErr != nil) || found && string(out) != value+"\n" {
		t.Errorf("%s: postmap -q %s says %.100q (%v) %s, ours %.100q, %v, %v", where, key, out, err, said.Bytes(), value, found, ourErr)
	}
}
