package main

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"gatepost/internal/daemon"
	"gatepost/internal/setup"
	"gatepost/relay/bounce"
	"gatepost/relay/queue"
	"gatepost/relay/spool"
)

// Status shows the queue.
func (f *relayFront) Status(out *setup.Status) {
	stored, queued := f.spool.Stats(), f.queue.Stats()
	r := &setup.RelayStatus{
		Connections: int(f.server.Stats().Open),
		Messages:    stored.Messages, Bytes: stored.Bytes, Held: stored.Held, Free: stored.Free,
		Active: queued.Active, Deferred: queued.Deferred,
		Spool: f.cfg.Relay.Spool, NextHop: f.cfg.Relay.SmartHost.String(), LocalMail: f.cfg.Relay.LocalMail.String(),
		Hold: []setup.HeldMessage{}, Down: []setup.DownHop{},
	}
	for _, ln := range f.listeners {
		l, mail := ln.(ruled)
		if !mail {
			continue
		}
		r.Listeners = append(r.Listeners, setup.ListenerStatus{
			Name: l.as.Name, Kind: string(l.as.Kind), Address: l.Addr().String(), TLS: string(l.as.TLS), Auth: l.as.Auth,
		})
	}
	if f.secured.cert != nil {
		r.Certificate = f.secured.cert.Status()
	}
	for _, d := range queued.Down {
		r.Down = append(r.Down, setup.DownHop{NextHop: d.Destination, Since: d.Since, Until: d.Until, Reason: d.Reason})
	}
	for i, m := range f.spool.Messages() {
		if i == 0 {
			r.Oldest = m.Arrived()
		}
		if !m.Held() || len(r.Hold) == setup.MaxHeld {
			continue
		}
		env, err := m.Envelope()
		switch {
		case errors.Is(err, spool.ErrDamaged):
			env = spool.Envelope{Hold: spool.ErrDamaged.Error(), Arrived: m.Arrived()}
		case err != nil: // delivered meanwhile
			continue
		}
		r.Hold = append(r.Hold, setup.HeldMessage{
			ID: m.ID(), Reason: env.Hold, Arrived: env.Arrived, Size: m.Size(), Sender: env.Sender, Recipients: len(env.Recipients),
		})
	}
	out.Relay = r
}

// counts are the relay's metrics.
func (f *relayFront) counts() daemon.Counts {
	gauge := func(name, help string, v int64) daemon.Count {
		return daemon.Count{Name: "gatepost_relay_" + name, Help: help, Kind: prometheus.GaugeValue, Value: float64(v)}
	}
	counter := func(name, help string, v uint64) daemon.Count {
		return daemon.Count{Name: "gatepost_relay_" + name + "_total", Help: help, Kind: prometheus.CounterValue, Value: float64(v)}
	}
	return func() []daemon.Count {
		s, m, q := f.server.Stats(), f.spool.Stats(), f.queue.Stats()
		return append(append(f.secured.counts(), reportCounts(&q)...), []daemon.Count{
			gauge("connections", "Connections of clients that are open.", s.Open),
			counter("connections", "Connections that were taken.", s.Accepted),
			counter("connections_refused", "Connections refused because too many were open.", s.Refused),
			counter("accepted", "Messages that were taken.", s.Messages),
			counter("discarded", "Of them, dropped by the policy.", s.Discarded),
			counter("quarantined", "Of them, held by the policy.", s.Held),
			counter("faulty", "Messages refused for what was in them.", s.Faulty),
			counter("panics", "Faults of the program that were contained.", s.Panics),
			counter("timeouts", "Decisions that took too long and became a temporary failure.", s.Timeouts),
			gauge("messages", "Messages in the queue.", int64(m.Messages)),
			gauge("held", "Messages that wait for the operator.", int64(m.Held)),
			gauge("deferred", "Messages that wait for another attempt.", int64(q.Deferred)),
			gauge("active", "Deliveries under way.", int64(q.Active)),
			gauge("destinations", "Next hops that mail goes to, or lately went to.", int64(q.Destinations)),
			gauge("destinations_down", "Next hops that cannot be reached.", int64(len(q.Down))),
			counter("delivered", "Recipients whose message was handed on.", q.Delivered),
			counter("retried", "Attempts for recipients that were put off.", q.Retried),
			counter("failed", "Recipients whom no attempt can reach.", q.Failed),
			gauge("spool_bytes", "Bytes of the messages in the queue.", m.Bytes),
			gauge("spool_free_bytes", "Bytes free on the spool's disk.", m.Free),
			gauge("spool_segments", "Files that the queue is in.", int64(m.Segments)),
			counter("spool_commits", "Messages that were taken and are on the disk.", m.Commits),
			counter("spool_syncs", "Times that the disk was waited for.", m.Syncs),
			counter("tls_handshakes", "TLS handshakes that were completed.", s.Secured),
			counter("tls_failed", "TLS handshakes that failed.", s.NoTLS),
			counter("fenced", "Connections refused because the listener is not for them.", s.Fenced),
		}...)
	}
}

// reportCounts are the metrics of reports to senders.
func reportCounts(q *queue.Stats) []daemon.Count {
	var all []daemon.Count
	for kind, n := range q.Reports {
		all = append(all, daemon.Count{Name: "gatepost_relay_reports_total", Help: "Reports that were sent about messages: that they could not be delivered, are late, or have arrived.",
			Kind: prometheus.CounterValue, Value: float64(n), Labels: prometheus.Labels{"kind": bounce.Kind(kind).String()}})
	}
	return all
}

// counts are the metrics of certificate and AUTH.
func (s *secured) counts() []daemon.Count {
	var all []daemon.Count
	if s.cert != nil {
		leaf, broken := s.cert.Get().Leaf, 0.0
		if s.cert.Fault() != nil {
			broken = 1
		}
		all = append(all,
			daemon.Count{Name: "gatepost_relay_certificate_not_after_timestamp_seconds", Help: "When the certificate in force expires.",
				Kind: prometheus.GaugeValue, Value: float64(leaf.NotAfter.Unix())},
			daemon.Count{Name: "gatepost_relay_certificate_error", Help: "1 when the certificate's files as they are now could not be taken over and an older one is in force.",
				Kind: prometheus.GaugeValue, Value: broken})
	}
	if s.auth == nil {
		return all
	}
	for mechanism, n := range s.auth.Stats() {
		for result, value := range map[string]uint64{"success": n.Successes, "failure": n.Failures, "throttled": n.Throttled, "temporary": n.Temporary} {
			all = append(all, daemon.Count{Name: "gatepost_relay_auth_total", Help: "Logins by AUTH, by how they came out.",
				Kind: prometheus.CounterValue, Value: float64(value), Labels: prometheus.Labels{"mechanism": mechanism, "result": result}})
		}
		all = append(all, daemon.Count{Name: "gatepost_relay_auth_checks_total", Help: "Looks at a password, or at a proof that the client knows it.",
			Kind: prometheus.CounterValue, Value: float64(n.Checks), Labels: prometheus.Labels{"mechanism": mechanism}})
	}
	return all
}
