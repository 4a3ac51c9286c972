package config

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestSockets(t *testing.T) {
	path := write(t, "[relay]\nsmart_host = \"x\"\ncontrol = \"c.sock\"\ncontrol_group = \"wheel\"\nsubmission = \"none\"\n")
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Sockets{Control: Socket{filepath.Join(filepath.Dir(path), "c.sock"), true}, ControlGroup: "wheel", Submission: Socket{"", true}}
	if c.Relay.Sockets != want {
		t.Errorf("the sockets are %+v, want %+v", c.Relay.Sockets, want)
	}
	if d := Default().Relay.Sockets; d.Control != (Socket{DefaultControl, false}) || d.Submission != (Socket{DefaultSubmission, false}) {
		t.Errorf("by default the sockets are %+v", d)
	}
}

// TestRelativeSocket: a socket has a whole path even if the file is named without one.
func TestRelativeSocket(t *testing.T) {
	path := write(t, "[relay]\ncontrol = \"c.sock\"\n")
	t.Chdir(filepath.Dir(path))
	c, err := Load(filepath.Base(path))
	if err != nil || !filepath.IsAbs(c.Relay.Control.Path) {
		t.Errorf("the socket is %+v, %v", c, err)
	}
}

func TestBadSockets(t *testing.T) {
	for text, want := range map[string]string{
		"control = 3": "f:2: relay.control is the number 3, expected a string",
		"submission = \"/" + strings.Repeat("a", 107) + "\"":      "expected a path of at most 107 bytes",
		"control = \"/a\"\nsubmission = \"/x/../a\"":              "f:3: relay.submission is relay.control too, expected a socket of its own",
		"control = \"none\"\ncontrol_group = \"wheel\"":           "f:3: relay.control_group means nothing while relay.control is \"none\"",
		"control_group = \"\"":                                    "f:2: relay.control_group is \"\", expected a string such as \"mailadm\"",
		"control = \"\"\nsubmission = \"\"\nspool = \"a\\u0001\"": "f:4: relay.spool",
	} {
		_, err := Load(write(t, "[relay]\n"+text+"\n"))
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), filepath.Dir(strings.SplitN(err.Error(), ":", 2)[0])+"/", ""), strings.TrimPrefix(want, "f")) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
