package setup

import (
	"encoding/json"
	"net/http"
	"time"

	"gatepost/maps"
)

// Status is what a running daemon says of itself: the policy in force and the
// tables that it is made of. gatepost status prints it.
type Status struct {
	Version    string        `json:"version"`
	Config     string        `json:"config"` // the configuration file; "" for none
	Generation uint64        `json:"generation"`
	Since      time.Time     `json:"since"`         // when the policy in force was built
	Reload     bool          `json:"reload_failed"` // the last reload or edit could not be taken over
	Tables     []TableStatus `json:"tables"`
	Lists      []ListStatus  `json:"dns_lists"`
	Relay      *RelayStatus  `json:"relay,omitempty"` // of gatepost-relay only
}

// RelayStatus is the state of the relay: its way in, and its queue.
type RelayStatus struct {
	Connections int    `json:"connections"` // of clients, open
	Messages    int    `json:"messages"`    // in the queue
	Bytes       int64  `json:"bytes"`       // of them
	Active      int    `json:"active"`      // being delivered
	Deferred    int    `json:"deferred"`    // waiting for another attempt
	Held        int    `json:"held"`        // waiting for the operator
	Free        int64  `json:"free_bytes"`  // on the spool's disk
	Spool       string `json:"spool"`
	NextHop     string `json:"smart_host"`
	LocalMail   string `json:"local_mail"`

	Listeners   []ListenerStatus   `json:"listeners"`
	Certificate *CertificateStatus `json:"certificate,omitempty"`

	Oldest time.Time     `json:"oldest,omitzero"` // when the first message in the queue came
	Hold   []HeldMessage `json:"held_messages"`   // the oldest ones, see MaxHeld
	Down   []DownHop     `json:"down"`
}

// ListenerStatus is an address that mail is taken at.
type ListenerStatus struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Address string `json:"address"`
	TLS     string `json:"tls"`
	Auth    bool   `json:"auth"`
}

// CertificateStatus is the certificate in force.
type CertificateStatus struct {
	File     string    `json:"file"`
	Names    string    `json:"names"`
	NotAfter time.Time `json:"not_after"`
	Fault    string    `json:"fault,omitempty"` // why the files as they are now are not in force
}

// Status is what a running daemon says of the certificate.
func (c *Certificate) Status() *CertificateStatus {
	leaf := c.Get().Leaf
	s := &CertificateStatus{File: c.file, Names: namesOf(leaf), NotAfter: leaf.NotAfter}
	if err := c.Fault(); err != nil {
		s.Fault = err.Error()
	}
	return s
}

// DownHop is a next hop that cannot be reached.
type DownHop struct {
	NextHop string    `json:"next_hop"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"next_try"`
	Reason  string    `json:"reason"`
}

// MaxHeld is how many held messages a status names.
const MaxHeld = 50

// HeldMessage is a message that waits for the operator.
type HeldMessage struct {
	ID         string    `json:"id"`
	Reason     string    `json:"reason"`
	Arrived    time.Time `json:"arrived"`
	Size       int64     `json:"bytes"`
	Sender     string    `json:"sender"`
	Recipients int       `json:"recipients"`
}

// ListStatus is the state of one DNS list.
type ListStatus struct {
	Zone     string    `json:"zone"`
	Lookup   string    `json:"lookup"`           // what it has: address or domain
	Parked   string    `json:"parked,omitempty"` // why it is not asked
	ParkedAt time.Time `json:"parked_at,omitzero"`
	ProbedAt time.Time `json:"probed_at,omitzero"` // when it was last looked after
	Warning  string    `json:"warning,omitempty"`  // what is odd about it
	Queries  uint64    `json:"queries"`
	Hits     uint64    `json:"hits"`
	Errors   uint64    `json:"errors"`
}

// TableStatus is the state of one map of a table.
type TableStatus struct {
	Table       string    `json:"table"`
	Kind        string    `json:"kind"`
	Path        string    `json:"path"`
	Reading     string    `json:"reading,omitempty"` // the file that is read, when that is another one
	Entries     int       `json:"entries"`
	Bytes       int64     `json:"bytes"`
	LoadedAt    time.Time `json:"loaded_at,omitzero"`
	Missing     bool      `json:"missing,omitempty"`
	Problems    int       `json:"problems"`
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
}

// Status is the engine's state now.
func (e *Engine) Status(version string) Status {
	s := e.current.Load()
	out := Status{Version: version, Config: s.cfg.File, Generation: s.generation, Since: s.since, Reload: e.failed.Load(), Tables: []TableStatus{}}
	for _, t := range s.stores() {
		out.Tables = append(out.Tables, tableStatus(t.Status()))
	}
	out.Lists = []ListStatus{}
	for _, l := range s.lists.Status() {
		out.Lists = append(out.Lists, ListStatus{
			Zone: l.Zone, Lookup: l.Lookup, Parked: l.Parked, ParkedAt: l.Since, ProbedAt: l.Probed, Warning: l.Warning,
			Queries: l.Queries, Hits: l.Hits, Errors: l.Errors,
		})
	}
	return out
}

func tableStatus(s maps.Status) TableStatus {
	out := TableStatus{
		Table: s.Name, Kind: s.Kind.String(), Path: s.Path, Reading: s.Reading, Entries: s.Entries, Bytes: s.Bytes,
		LoadedAt: s.LoadedAt, Missing: s.Missing, Problems: s.Problems, LastErrorAt: s.LastErrorAt,
	}
	if s.LastError != nil {
		out.LastError = s.LastError.Error()
	}
	return out
}

// StatusHandler answers with the Status as JSON, to which add adds what a front
// knows; nil adds nothing.
func (e *Engine) StatusHandler(version string, add func(*Status)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		status := e.Status(version)
		if add != nil {
			add(&status)
		}
		w.Header().Set("Content-Type", "application/json")
		// A client that is gone needs no answer.
		_ = json.NewEncoder(w).Encode(status)
	})
}
