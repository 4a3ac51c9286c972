package setup

import (
	"gatepost/maps"
)

// expose writes what the engine knows besides decisions.
func (e *Engine) expose(x exposition) {
	s := e.current.Load()
	x.single("gatepost_policy_generation", "gauge", "Policies that have been in force since the start.", float64(s.generation))
	x.single("gatepost_policy_loaded_timestamp_seconds", "gauge", "When the policy in force was built.", unix(s.since))
	x.single("gatepost_reload_success", "gauge", "0 when the last reload or edit could not be taken over, else 1.", truth(!e.failed.Load()))
	exposeTables(x, s.tables())
	exposeDNS(x, s)
	if all := e.collector.Load(); all != nil {
		for _, c := range *all {
			c(func(name, help string, v float64) { x.single(name, "gauge", help, v) },
				func(name, help string, v float64) { x.single(name, "counter", help, v) })
		}
	}
}

// tableMetrics are the metrics of each table.
func tableMetrics() []struct {
	name, help string
	value      func(*maps.Status) float64
} {
	return []struct {
		name, help string
		value      func(*maps.Status) float64
	}{
		{"gatepost_table_entries", "Entries in force.", func(s *maps.Status) float64 { return float64(s.Entries) }},
		{"gatepost_table_bytes", "Size of the text in force.", func(s *maps.Status) float64 { return float64(s.Bytes) }},
		{"gatepost_table_loaded_timestamp_seconds", "When the file was last read without a fault; 0 for never.",
			func(s *maps.Status) float64 { return unix(s.LoadedAt) }},
		{"gatepost_table_missing", "1 when the file is optional and does not exist.",
			func(s *maps.Status) float64 { return truth(s.Missing) }},
		{"gatepost_table_problems", "Lines that were skipped or are doubtful.",
			func(s *maps.Status) float64 { return float64(s.Problems) }},
		{"gatepost_table_error", "1 when the file as it is now could not be taken over and older content is in force.",
			func(s *maps.Status) float64 { return truth(s.LastError != nil) }},
		{"gatepost_table_error_timestamp_seconds", "When that was first seen; 0 when the file is good.",
			func(s *maps.Status) float64 { return unix(s.LastErrorAt) }},
	}
}

func exposeTables(x exposition, tables []*maps.Table) {
	all := make([]maps.Status, len(tables))
	for i, t := range tables {
		all[i] = t.Status()
	}
	for _, m := range tableMetrics() {
		x.family(m.name, "gauge", m.help)
		for i := range all {
			x.sample(m.name, m.value(&all[i]), "table", all[i].Name)
		}
	}
}

func exposeDNS(x exposition, s *state) {
	d := s.resolver.Stats()
	x.single("gatepost_dns_lookups_total", "counter", "Questions that the policy had.", float64(d.Lookups))
	x.single("gatepost_dns_cache_hits_total", "counter", "Questions answered out of the cache.", float64(d.Hits))
	x.single("gatepost_dns_queries_total", "counter", "Questions sent to servers, repetitions included.", float64(d.Queries))
	x.single("gatepost_dns_errors_total", "counter", "Questions that got no answer.", float64(d.Errors))
}
