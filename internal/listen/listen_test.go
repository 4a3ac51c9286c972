package listen

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	tests := []struct {
		in    string
		want  Address
		fault string
	}{
		{"inet:8891@127.0.0.1", Address{"tcp4", "127.0.0.1:8891"}, ""},
		{"inet:8891@[127.0.0.1]", Address{"tcp4", "127.0.0.1:8891"}, ""},
		{"inet:8891@localhost", Address{"tcp4", "localhost:8891"}, ""},
		{"inet:8891", Address{"tcp4", ":8891"}, ""},
		{"inet:smtp@127.0.0.1", Address{"tcp4", "127.0.0.1:25"}, ""},
		{"inet6:8891@[::1]", Address{"tcp6", "[::1]:8891"}, ""},
		{"inet6:8891@::1", Address{"tcp6", "[::1]:8891"}, ""},
		{"inet6:8891", Address{"tcp6", ":8891"}, ""},
		{"unix:/run/gatepost/milter.sock", Address{"unix", "/run/gatepost/milter.sock"}, ""},
		{"local:/run/gatepost/milter.sock", Address{"unix", "/run/gatepost/milter.sock"}, ""},
		{"", Address{}, "expected inet:PORT@HOST"},
		{"8891", Address{}, "expected inet:PORT@HOST"},
		{"tcp:8891@127.0.0.1", Address{}, `unknown kind "tcp"`},
		{"127.0.0.1:8891", Address{}, `unknown kind "127.0.0.1"`},
		{"inet:", Address{}, `"" is no port`},
		{"inet:@127.0.0.1", Address{}, `"" is no port`},
		{"inet:127.0.0.1", Address{}, `"127.0.0.1" is no port`},
		{"inet:65536@127.0.0.1", Address{}, `"65536" is no port`},
		{"inet:-1@127.0.0.1", Address{}, `"-1" is no port`},
		{"inet:8891@", Address{}, "no host after @"},
		{"inet:8891@[127.0.0.1", Address{}, "[ without ]"},
		{"inet:8891@::1", Address{}, "other family"},
		{"inet6:8891@127.0.0.1", Address{}, "other family"},
		{"inet:8891@127.0.0.1:25", Address{}, "is no host"},
		{"unix:milter.sock", Address{}, "must begin with /"},
		{"unix:", Address{}, "must begin with /"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := Parse(tt.in)
			if got != tt.want || tt.fault == "" && err != nil {
				t.Errorf("got %+v, %v, want %+v", got, err, tt.want)
			}
			if tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("got error %v, want one line with %q", err, tt.fault)
			}
		})
	}
}

func TestOpenInet(t *testing.T) {
	ln, err := Open("inet:0@127.0.0.1", SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	_, err = Open("inet:"+port+"@127.0.0.1", SocketOptions{})
	if want := "listen on inet:" + port + "@127.0.0.1: address already in use"; err == nil || err.Error() != want {
		t.Errorf("a port in use: got %v, want %s", err, want)
	}
}

func TestTCP(t *testing.T) {
	ln, err := TCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	addr := ln.Addr().String()
	if _, err = TCP(addr); err == nil || err.Error() != "listen on "+addr+": address already in use" {
		t.Errorf("a port in use: got %v", err)
	}
}

func TestSocketModeAndOwner(t *testing.T) {
	tests := []struct {
		opt  SocketOptions
		mode fs.FileMode
	}{
		{SocketOptions{}, 0o660},
		{SocketOptions{Mode: 0o600}, 0o600},
		{SocketOptions{Mode: 0o666}, 0o666},
		{SocketOptions{Owner: strconv.Itoa(os.Getuid()), Group: strconv.Itoa(os.Getgid())}, 0o660},
	}
	for _, tt := range tests {
		path := filepath.Join(t.TempDir(), "s")
		ln, err := Open("unix:"+path, tt.opt)
		if err != nil {
			t.Fatalf("%+v: %v", tt.opt, err)
		}
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != tt.mode|fs.ModeSocket {
			t.Errorf("%+v: got mode %v, want %v", tt.opt, info.Mode(), tt.mode)
		}
		if c, err := net.Dial("unix", path); err != nil {
			t.Errorf("%+v: %v", tt.opt, err)
		} else {
			_ = c.Close()
		}
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there after Close: %v", err)
		}
	}
}

func TestSocketOwnerUnknown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, opt := range []SocketOptions{{Owner: "no-such-user-here"}, {Group: "no-such-group-here"}} {
		_, err := Open("unix:"+path, opt)
		if err == nil || !strings.Contains(err.Error(), opt.Owner+opt.Group) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: got %v, want an error that names it", opt, err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%+v: something was left at the path: %v", opt, err)
		}
	}
}

// stale leaves a socket behind as a killed daemon does.
func stale(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsAtThePath(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name  string
		put   func(*testing.T, string)
		fault string
	}{
		{"nothing", func(*testing.T, string) {}, ""},
		{"stale socket", stale, ""},
		{"socket of a running daemon", func(t *testing.T, path string) {
			ln, err := Open("unix:"+path, SocketOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ln.Close() })
		}, "is in use by a running daemon"},
		{"file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "exists and is not a socket"},
		{"directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "exists and is not a socket"},
		{"link to a stale socket", func(t *testing.T, path string) {
			stale(t, path+".other")
			if err := os.Symlink(path+".other", path); err != nil {
				t.Fatal(err)
			}
		}, "exists and is not a socket"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, strconv.Itoa(i))
			tt.put(t, path)
			before, _ := os.Lstat(path)
			ln, err := Open("unix:"+path, SocketOptions{})
			if tt.fault == "" {
				if err != nil {
					t.Fatal(err)
				}
				_ = ln.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.fault) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want an error with %q and the path", err, tt.fault)
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("what was at the path is not there any more: %v", err)
			}
		})
	}
}

func TestOpenUnixFaults(t *testing.T) {
	for _, tt := range []struct{ path, fault string }{
		{"/nonexistent/dir/s", "no such file or directory"},
		{"/" + strings.Repeat("x", 200), "at most 107"},
	} {
		_, err := Open("unix:"+tt.path, SocketOptions{})
		if err == nil || !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: got %v, want %q", tt.path, err, tt.fault)
		}
	}
}

// A daemon that was stopped must not remove the socket of the one that took its place.
func TestCloseLeavesASuccessorsSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	old, err := Open("unix:"+path, SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	next, err := Open("unix:"+path, SocketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = next.Close() }()
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the successor cannot be reached: %v", err)
	} else {
		_ = c.Close()
	}
}

// Until the mode is set the kernel must refuse connections.
func TestBoundSocketTakesNoConnection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err := syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("unix", path); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want connection refused", err)
	}
}

// systemd passes sockets from descriptor 3 on, to a process whose number it
// names: the test runs itself again, by a shell that knows that number.
func TestSystemd(t *testing.T) {
	if os.Getenv("GATEPOST_TEST_SYSTEMD") != "" {
		reportSystemd()
		return
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	socket, err := ln.File()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		files []*os.File
		want  string
	}{
		{"none", nil, "0 listeners, error <nil>"},
		{"one", []*os.File{socket}, "1 listeners, error <nil>"},
		{"one that is no socket", []*os.File{socket, plain}, "0 listeners, error sockets from systemd: number 2 is not a listening stream socket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run '^TestSystemd$'`, os.Args[0])
			cmd.Env = append(os.Environ(), "GATEPOST_TEST_SYSTEMD=1", "LISTEN_FDS="+strconv.Itoa(len(tt.files)))
			cmd.ExtraFiles = tt.files
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), tt.want) {
				t.Errorf("got %v, %s, want %q", err, out, tt.want)
			}
		})
	}
}

func reportSystemd() {
	lns, err := Systemd()
	report := "error <nil>"
	if err != nil {
		report = "error " + err.Error()
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(len(lns)) + " listeners, " + report + "\n")
}

// Both wildcards may stand side by side, as in mail servers' configurations.
func TestTCPFamilies(t *testing.T) {
	first, err := TCP("0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	port := netip.MustParseAddrPort(first.Addr().String()).Port()
	second, err := TCP(netip.AddrPortFrom(netip.IPv6Unspecified(), port).String())
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}
