package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"gatepost/internal/config"
	"gatepost/internal/program"
	"gatepost/internal/setup/routes"
	"gatepost/internal/smtp"
	"gatepost/relay/deliver"
	"gatepost/relay/route"
	"gatepost/relay/route/mailertable"
)

// routeTime bounds all lookups for one address together.
const routeTime = time.Minute

func routeCommand(s streams) *cli.Command {
	return &cli.Command{
		Name:      "route",
		Usage:     "show which way mail for an address goes, as sendmail -bt tells it for /parse",
		UsageText: programName + " route [--config FILE] [--json] [--no-mx] ADDRESS...",
		Description: "Mailer, host and user, then what decided, the keys that were looked for in the mailertable,\n" +
			"and the servers that would be tried. Nothing is sent to anybody but questions to the DNS;\n" +
			"gatepost-relay need not run.\n" +
			"The exit code is 0 when there is a way, 1 when mail for an address is refused, and 75 when a lookup failed.",
		Flags: []cli.Flag{
			program.ConfigFlag(),
			&cli.BoolFlag{Name: "json", Usage: "print the ways as a list, in JSON"},
			&cli.BoolFlag{Name: "no-mx", Usage: "do not look up the servers"},
		},
		Action: func(c *cli.Context) error {
			addresses, err := program.Arguments(c, 1, 100, "ADDRESS")
			if err != nil {
				return err
			}
			engine, err := openEngine(c, s)
			if err != nil {
				return err
			}
			cfg := engine.Config()
			r := router{engine: engine, Router: routes.New(engine, routes.Configured(cfg)), cfg: cfg, servers: !c.Bool("no-mx")}
			var all []*wayOut
			for _, a := range addresses {
				all = append(all, r.find(c.Context, a))
			}
			if err := printWays(s.out, all, c.Bool("json")); err != nil {
				return err
			}
			return worst(all)
		},
	}
}

// router finds the ways.
type router struct {
	engine interface {
		Canonical(ctx context.Context, recipient string) (smtp.Mailbox, error)
	}
	*route.Router
	cfg     *config.Config
	servers bool
}

// wayOut is the way for an address, and how it looks as JSON.
type wayOut struct {
	Address     string   `json:"address"`          // as given
	Mailer      string   `json:"mailer,omitempty"` // "" when there is no way
	Host        string   `json:"host,omitempty"`   //
	User        string   `json:"user,omitempty"`   //
	Reply       string   `json:"reply,omitempty"`  // of mailer error, or why there is no way
	Source      string   `json:"source,omitempty"` // what decided
	Rule        string   `json:"rule,omitempty"`   //
	Keys        []string `json:"keys,omitempty"`   // looked for in the mailertable
	Destination string   `json:"destination,omitempty"`
	Servers     []server `json:"servers,omitempty"` // that would be tried, in this order
	Local       string   `json:"local_mail,omitempty"`
	Failed      string   `json:"failed,omitempty"` // a lookup failed: it is not known now
	refused     bool
}

// server is a host that would be tried.
type server struct {
	Host      string       `json:"host"`
	Port      uint16       `json:"port,omitempty"`
	Addresses []netip.Addr `json:"addresses"`
	Failed    string       `json:"failed,omitempty"`
}

func (r *router) find(ctx context.Context, address string) *wayOut {
	ctx, cancel := context.WithTimeout(ctx, routeTime)
	defer cancel()
	w, path := &wayOut{Address: address}, smtpPath(address)
	if fault := path.Fault(); !fault.IsZero() {
		w.Reply, w.refused = fault.String(), true
		return w
	}
	to, err := r.engine.Canonical(ctx, path.Text())
	if err != nil {
		w.fault(err)
		return w
	}
	a, err := r.Route(ctx, "", to.ForwardPath())
	w.Mailer, w.Host, w.User, w.Source, w.Rule, w.Keys, w.Destination = a.Mailer, a.Host, a.User, a.Source, a.Rule, a.Keys, a.Destination
	switch {
	case err != nil:
		w.fault(err)
	case a.Mailer == mailertable.Error:
		w.Reply, w.refused = a.Fault.String(), true
	case a.Mailer == mailertable.Local:
		w.Local = r.cfg.Relay.LocalMail.String()
		w.refused = r.cfg.Relay.LocalMail.Kind == config.LocalRefused
	case r.servers && a.Destination != "" && !strings.HasPrefix(a.Destination, "unix:"):
		w.lookUp(ctx, r.Router)
	}
	return w
}

// fault notes why there is no way, or why it cannot be told.
func (w *wayOut) fault(err error) {
	var none deliver.NoRoute
	if errors.As(err, &none) {
		w.Reply, w.refused = none.Status.String()+" "+none.Text, none.Outcome == deliver.Failed
		if !w.refused {
			w.Failed = w.Reply
		}
		return
	}
	w.Failed = err.Error()
}

// lookUp finds the servers of the destination.
func (w *wayOut) lookUp(ctx context.Context, r *route.Router) {
	hops, err := deliver.ParseDestination(w.Destination)
	if err != nil {
		w.Failed = err.Error()
		return
	}
	for _, hop := range hops {
		hosts := []string{hop.Host}
		if hop.MX {
			found, err := r.Exchangers(ctx, hop.Host)
			if err != nil {
				w.fault(err)
			}
			hosts = found.Hosts
		}
		for _, host := range hosts {
			w.Servers = append(w.Servers, lookUpServer(ctx, r, host, hop.Port))
		}
	}
	if len(w.Servers) > 0 { // another host of the list takes it
		w.refused, w.Failed = false, ""
	}
}

func lookUpServer(ctx context.Context, r *route.Router, host string, port uint16) server {
	if addr, err := netip.ParseAddr(host); err == nil {
		return server{Host: host, Port: port, Addresses: []netip.Addr{addr}}
	}
	found, err := r.Resolve(ctx, host)
	s := server{Host: host, Port: port, Addresses: found.Addrs}
	switch {
	case err != nil:
		s.Failed = err.Error()
	case len(s.Addresses) == 0:
		s.Failed = "has no address"
	}
	return s
}

// worst is the exit code.
func worst(all []*wayOut) error {
	refused := false
	for _, w := range all {
		if w.Failed != "" {
			return program.Exit(program.ExitTemporary)
		}
		refused = refused || w.refused
	}
	if refused {
		return program.Exit(program.ExitWrong)
	}
	return nil
}

func printWays(out io.Writer, all []*wayOut, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(all)
	}
	var b strings.Builder
	for i, w := range all {
		if i > 0 {
			b.WriteByte('\n')
		}
		w.print(&b)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (w *wayOut) print(b *strings.Builder) {
	line := func(format string, args ...any) {
		b.WriteString(program.Printable(fmt.Sprintf(format, args...)) + "\n")
	}
	if w.Mailer != "" {
		head := "mailer " + w.Mailer
		if w.Host != "" {
			head += ", host " + w.Host
		}
		line("%s, user %s", head, w.User)
	} else {
		line("no way to %s", w.Address)
	}
	if w.Source != "" {
		line("  by %s: %s", w.Source, w.Rule)
	}
	if len(w.Keys) > 0 {
		line("  keys of the mailertable: %s", strings.Join(w.Keys, ", "))
	}
	if w.Reply != "" {
		line("  refused: %s", w.Reply)
	}
	if w.Local != "" {
		line("  local_mail: %s", w.Local)
	}
	for _, s := range w.Servers {
		s.print(line)
	}
	if w.Failed != "" {
		line("  not known now: %s", w.Failed)
	}
}

func (s server) print(line func(format string, args ...any)) {
	port := s.Port
	if port == 0 {
		port = 25
	}
	if s.Failed != "" {
		line("  server %s, port %d: %s", s.Host, port, s.Failed)
		return
	}
	words := make([]string, len(s.Addresses))
	for i, a := range s.Addresses {
		words[i] = a.String()
	}
	line("  server %s, port %d: %s", s.Host, port, strings.Join(words, ", "))
}
