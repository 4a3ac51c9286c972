package setup

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatepost/maps"
	"gatepost/policy/dnsbl"
)

// Describe says nothing in advance (an unchecked collector): which tables there
// are changes with the configuration.
func (e *Engine) Describe(chan<- *prometheus.Desc) {}

// Collect gathers what the engine knows besides decisions: the policy in force,
// its tables and DNS lists, and the resolver's counts.
func (e *Engine) Collect(ch chan<- prometheus.Metric) {
	s := e.current.Load()
	gauge := func(name, help string, v float64, labels ...string) {
		send(ch, prometheus.GaugeValue, name, help, v, labels)
	}
	counter := func(name, help string, v uint64) { send(ch, prometheus.CounterValue, name, help, float64(v), nil) }

	gauge("gatepost_policy_generation", "Policies that have been in force since the start.", float64(s.generation))
	gauge("gatepost_policy_loaded_timestamp_seconds", "When the policy in force was built.", unix(s.since))
	gauge("gatepost_reload_success", "0 when the last reload or edit could not be taken over, else 1.", truth(!e.failed.Load()))
	for _, t := range s.stores() {
		collectTable(t.Status(), gauge)
	}
	for _, l := range s.lists.Status() {
		collectList(ch, &l)
	}
	d := s.client.Stats()
	counter("gatepost_dns_lookups_total", "Questions that the policy had.", d.Lookups)
	counter("gatepost_dns_cache_hits_total", "Questions answered out of the cache.", d.Hits)
	counter("gatepost_dns_queries_total", "Questions sent to servers, repetitions included.", d.Queries)
	counter("gatepost_dns_errors_total", "Questions that got no answer.", d.Errors)
	counter("gatepost_dns_stale_total", "Questions answered with what was known before, since there was no answer.", d.Stale)
	gauge("gatepost_dns_servers_down", "Name servers that are silent and left alone.", float64(d.Down))
	gauge("gatepost_dns_sockets", "UDP sockets open to name servers.", float64(d.Sockets))
}

func collectTable(s maps.Status, gauge func(name, help string, v float64, labels ...string)) {
	for _, m := range []struct {
		name, help string
		value      float64
	}{
		{"entries", "Entries in force.", float64(s.Entries)},
		{"bytes", "Size of the text in force.", float64(s.Bytes)},
		{"problems", "Lines that were skipped or are doubtful.", float64(s.Problems)},
		{"missing", "1 when the file is optional and does not exist.", truth(s.Missing)},
		{"loaded_timestamp_seconds", "When the file was last read without a fault; 0 for never.", unix(s.LoadedAt)},
		{"error", "1 when the file as it is now could not be taken over and older content is in force.", truth(s.LastError != nil)},
		{"error_timestamp_seconds", "When that was first seen; 0 when the file is good.", unix(s.LastErrorAt)},
	} {
		gauge("gatepost_table_"+m.name, m.help, m.value, "table", s.Name, "kind", s.Kind.String(), "path", s.Path)
	}
}

// collectList gathers the counts of one DNS list.
func collectList(ch chan<- prometheus.Metric, l *dnsbl.Status) {
	labels := []string{"zone", l.Zone, "lookup", l.Lookup}
	for _, m := range []struct {
		name, help string
		value      uint64
	}{
		{"queries", "Questions that decisions put to a DNS list.", l.Queries},
		{"hits", "Of these, listed.", l.Hits},
		{"errors", "Of these, without an answer or with one that is an error.", l.Errors},
		{"cache_hits", "Of these, answered out of the resolver's cache.", l.Cached},
	} {
		send(ch, prometheus.CounterValue, "gatepost_dnsbl_"+m.name+"_total", m.help, float64(m.value), labels)
	}
	send(ch, prometheus.GaugeValue, "gatepost_dnsbl_parked", "1 while a DNS list is not asked because it cannot be believed.", truth(l.Parked != ""), labels)
	ch <- prometheus.MustNewConstHistogram(
		prometheus.NewDesc("gatepost_dnsbl_seconds", "Time until a DNS list answered.", []string{"zone", "lookup"}, nil),
		l.Queries, l.Took.Seconds(), l.Buckets, l.Zone, l.Lookup)
}

// send makes one sample; labels are names and values in turn.
func send(ch chan<- prometheus.Metric, kind prometheus.ValueType, name, help string, v float64, labels []string) {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
}

// truth is a condition as a metric.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// unix is a time as a metric; 0 for never.
func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}
