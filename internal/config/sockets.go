package config

import "path/filepath"

// DefaultControl and DefaultSubmission are the sockets of the relay when the configuration
// names none.
const (
	DefaultControl    = "/run/gatepost/relay-control.sock"
	DefaultSubmission = "/run/gatepost/submission.sock"
)

// Sockets is what [relay] says of the UNIX sockets for this host's administrator and its
// programs.
type Sockets struct {
	Control      Socket // gatepost queue, mailq
	ControlGroup string // who may use it besides the relay's user and root; "": nobody
	Submission   Socket // gatepost sendmail
}

// Socket is where a UNIX socket is.
type Socket struct {
	Path  string // "": there is none
	Named bool   // the administrator wants it there: without it the relay does not start
}

func defaultSockets() Sockets {
	return Sockets{Control: Socket{Path: DefaultControl}, Submission: Socket{Path: DefaultSubmission}}
}

func socketKeys() []key {
	return []key{
		{"control", func(c *Config, v value) { readSocket(&c.Relay.Control, v, DefaultControl) }},
		{"control_group", func(c *Config, v value) { c.Relay.ControlGroup, _ = v.text("mailadm") }},
		{"submission", func(c *Config, v value) { readSocket(&c.Relay.Submission, v, DefaultSubmission) }},
	}
}

// readSocket reads the path of a UNIX socket; "none" and "" are for no socket.
func readSocket(at *Socket, v value, example string) {
	if v.v == "" || v.v == "none" {
		*at = Socket{Named: true}
		return
	}
	path, ok := v.file(example)
	if !ok {
		return
	}
	path, err := filepath.Abs(path) // the file's folder may be relative
	if err != nil {
		v.wrong("which cannot be found: %s", err)
		return
	}
	if len(path) > maxSocketPath {
		v.wrong("expected a path of at most %d bytes, such as %q, or \"none\"", maxSocketPath, example)
		return
	}
	*at = Socket{Path: path, Named: true}
}

// maxSocketPath is the room that unix(7) has in sun_path, less its NUL.
const maxSocketPath = 107

// checkSockets checks what no single key of the sockets can tell.
func (r *reader) checkSockets(c *Config) {
	s := &c.Relay.Sockets
	if s.Control.Path != "" && s.Control.Path == s.Submission.Path {
		r.fault("relay.submission", "relay.submission is relay.control too, expected a socket of its own")
	}
	if s.ControlGroup != "" && s.Control.Path == "" {
		r.fault("relay.control_group", "relay.control_group means nothing while relay.control is \"none\"")
	}
}
