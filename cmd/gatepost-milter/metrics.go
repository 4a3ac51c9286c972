package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatepost/internal/setup"
	"gatepost/milter"
)

// frontMetrics are the counts of the milter front and of the log.
type frontMetrics struct {
	server *milter.Server
	log    *setup.Logger
}

// Describe says nothing in advance (an unchecked collector).
func (frontMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect gathers the counts as they stand.
func (m frontMetrics) Collect(ch chan<- prometheus.Metric) {
	s := m.server.Stats()
	for _, one := range []struct {
		name, help string
		kind       prometheus.ValueType
		value      float64
	}{
		{"gatepost_milter_connections", "Connections of mail servers that are open.", prometheus.GaugeValue, float64(s.Open)},
		{"gatepost_milter_connections_total", "Connections that were taken.", prometheus.CounterValue, float64(s.Accepted)},
		{"gatepost_milter_connections_refused_total", "Connections closed because too many were open.", prometheus.CounterValue, float64(s.Refused)},
		{"gatepost_milter_bad_frames_total", "Connections closed for what they sent.", prometheus.CounterValue, float64(s.BadFrames)},
		{"gatepost_milter_panics_total", "Faults of the program that were contained.", prometheus.CounterValue, float64(s.Panics)},
		{"gatepost_milter_timeouts_total", "Decisions that took too long and became a temporary failure.", prometheus.CounterValue, float64(s.Timeouts)},
		{"gatepost_log_dropped_total", "Lines that syslog did not take in time.", prometheus.CounterValue, float64(m.log.Dropped())},
	} {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(one.name, one.help, nil, nil), one.kind, one.value)
	}
}
