package daemon

import (
	"github.com/prometheus/client_golang/prometheus"

	"gatepost/internal/setup"
)

// Count is one number of a front as a metric.
type Count struct {
	Name, Help string
	Kind       prometheus.ValueType
	Value      float64
	Labels     prometheus.Labels
}

// Counts are metrics whose numbers are gathered when they are asked for; Engine's
// Register takes them.
type Counts func() []Count

// Describe says nothing in advance (an unchecked collector).
func (Counts) Describe(chan<- *prometheus.Desc) {}

// Collect gathers the counts as they stand.
func (c Counts) Collect(ch chan<- prometheus.Metric) {
	for _, one := range c() {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(one.Name, one.Help, nil, one.Labels), one.Kind, one.Value)
	}
}

// logCounts are those of the log.
func logCounts(log *setup.Logger) Counts {
	return func() []Count {
		return []Count{{
			Name: "gatepost_log_dropped_total", Help: "Lines that stderr or syslog did not take in time.",
			Kind: prometheus.CounterValue, Value: float64(log.Dropped()),
		}}
	}
}
