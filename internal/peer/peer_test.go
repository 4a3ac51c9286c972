package peer

import (
	"net"
	"os"
	"os/user"
	"path/filepath"
	"testing"
)

func TestUID(t *testing.T) {
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("unix", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := UID(s); err != nil || int(got) != os.Getuid() {
		t.Errorf("UID is %d, %v, want %d", got, err, os.Getuid())
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, err := UID(a); err == nil {
		t.Error("a pipe has a UID")
	}
}

func TestName(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if got := Name(uint32(os.Getuid())); got != me.Username {
		t.Errorf("Name is %q, want %q", got, me.Username)
	}
	if got := Name(4_000_000_000); got != "" {
		t.Errorf("the name of nobody is %q", got)
	}
}
