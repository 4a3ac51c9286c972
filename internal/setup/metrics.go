package setup

import (
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatepost/policy"
)

// metrics are the numbers that decisions move, and the registry of all metrics.
type metrics struct {
	registry *prometheus.Registry
	total    *prometheus.CounterVec
	latency  [policy.StageRcpt + 1]prometheus.Observer

	// The counters by label, since finding one by its label strings costs more than
	// adding to it. The map is replaced when a new one appears, never changed.
	known  atomic.Pointer[map[decisionKey]prometheus.Counter]
	adding sync.Mutex
}

type decisionKey struct {
	stage  policy.Stage
	action policy.Action
	rule   string
}

// latencyBounds are the upper bounds of the histogram's buckets in seconds: from a
// decision out of memory to one that waited for DNS.
func latencyBounds() []float64 {
	return []float64{10e-6, 30e-6, 100e-6, 300e-6, 1e-3, 10e-3, 100e-3, 1, 3, 10}
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatepost_decisions_total",
			Help: "Decisions by SMTP stage, action taken and the rule that decided.",
		}, []string{"stage", "action", "rule"}),
	}
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gatepost_decision_seconds",
		Help:    "Time that a decision took, by SMTP stage.",
		Buckets: latencyBounds(),
	}, []string{"stage"})
	for i := range m.latency {
		m.latency[i] = seconds.WithLabelValues(policy.Stage(i).String())
	}
	m.known.Store(&map[decisionKey]prometheus.Counter{})
	m.registry.MustRegister(m.total, seconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// count adds one decision. Rules are a closed set, so the labels are bounded.
func (m *metrics) count(d *policy.Decision, took time.Duration) {
	key := decisionKey{d.Stage, d.Verdict.Action, d.By().Rule}
	n, ok := (*m.known.Load())[key]
	if !ok {
		n = m.add(key)
	}
	n.Inc()
	m.latency[d.Stage].Observe(took.Seconds())
}

func (m *metrics) add(key decisionKey) prometheus.Counter {
	m.adding.Lock()
	defer m.adding.Unlock()
	n := m.total.WithLabelValues(key.stage.String(), key.action.String(), key.rule)
	known := maps.Clone(*m.known.Load())
	known[key] = n
	m.known.Store(&known)
	return n
}

// Register adds a program's own metrics to those of the engine. It fails for
// metrics that are there already.
func (e *Engine) Register(c prometheus.Collector) error { return e.metrics.registry.Register(c) }

// MetricsHandler serves all metrics in the Prometheus text format.
func (e *Engine) MetricsHandler() http.Handler {
	return promhttp.HandlerFor(e.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}
