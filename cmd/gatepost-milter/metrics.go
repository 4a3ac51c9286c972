package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatepost/internal/daemon"
)

// counts are those of the milter front.
func (f *front) counts() []daemon.Count {
	s := f.server.Stats()
	return []daemon.Count{
		{Name: "gatepost_milter_connections", Help: "Connections of mail servers that are open.", Kind: prometheus.GaugeValue, Value: float64(s.Open)},
		{Name: "gatepost_milter_connections_total", Help: "Connections that were taken.", Kind: prometheus.CounterValue, Value: float64(s.Accepted)},
		{Name: "gatepost_milter_connections_refused_total", Help: "Connections closed because too many were open.", Kind: prometheus.CounterValue, Value: float64(s.Refused)},
		{Name: "gatepost_milter_bad_frames_total", Help: "Connections closed for what they sent.", Kind: prometheus.CounterValue, Value: float64(s.BadFrames)},
		{Name: "gatepost_milter_panics_total", Help: "Faults of the program that were contained.", Kind: prometheus.CounterValue, Value: float64(s.Panics)},
		{Name: "gatepost_milter_timeouts_total", Help: "Decisions that took too long and became a temporary failure.", Kind: prometheus.CounterValue, Value: float64(s.Timeouts)},
	}
}
