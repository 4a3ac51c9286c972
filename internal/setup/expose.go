package setup

import (
	"bufio"
	"cmp"
	"io"
	runtimemetrics "runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatepost/policy"
)

// ContentType is the media type of what WriteMetrics writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// exposition writes metrics in the Prometheus text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/).
type exposition struct {
	w *bufio.Writer // keeps its first error
}

// family begins a metric. kind is counter, gauge or histogram.
func (x exposition) family(name, kind, help string) {
	x.w.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
}

// sample writes one value; labels are names and values in turn.
func (x exposition) sample(name string, value float64, labels ...string) {
	x.w.WriteString(name)
	separator := "{"
	for i := 0; i+1 < len(labels); i += 2 {
		x.w.WriteString(separator + labels[i] + `="` + escapeLabel(labels[i+1]) + `"`)
		separator = ","
	}
	if len(labels) > 0 {
		x.w.WriteByte('}')
	}
	x.w.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

// single is a metric of one value without labels.
func (x exposition) single(name, kind, help string, value float64) {
	x.family(name, kind, help)
	x.sample(name, value)
}

func escapeLabel(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(s, "?"))
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

// WriteMetrics writes all metrics that the engine knows, and those of the programs it was told of.
func (e *Engine) WriteMetrics(w io.Writer) error {
	x := exposition{bufio.NewWriter(w)}
	e.metrics.expose(x)
	e.expose(x)
	exposeRuntime(x)
	return x.w.Flush()
}

func (m *metrics) expose(x exposition) {
	known := *m.decisions.Load()
	keys := make([]decisionKey, 0, len(known))
	for k := range known {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b decisionKey) int {
		return cmp.Or(cmp.Compare(a.stage, b.stage), cmp.Compare(a.action, b.action), cmp.Compare(a.rule, b.rule))
	})
	x.family("gatepost_decisions_total", "counter", "Decisions by SMTP stage, action taken and the rule that decided.")
	for _, k := range keys {
		x.sample("gatepost_decisions_total", float64(known[k].Load()),
			"stage", k.stage.String(), "action", k.action.String(), "rule", k.rule)
	}
	x.family("gatepost_decision_seconds", "histogram", "Time that a decision took, by SMTP stage.")
	for i := range m.latency {
		m.latency[i].expose(x, "gatepost_decision_seconds", policy.Stage(i).String())
	}
}

func (h *histogram) expose(x exposition, name, stage string) {
	var sum uint64
	for i := range h.buckets {
		sum += h.buckets[i].Load()
		le := "+Inf"
		if i < len(latencyBounds) {
			le = strconv.FormatFloat(latencyBounds[i].Seconds(), 'g', -1, 64)
		}
		x.sample(name+"_bucket", float64(sum), "stage", stage, "le", le)
	}
	x.sample(name+"_sum", time.Duration(h.sum.Load()).Seconds(), "stage", stage)
	x.sample(name+"_count", float64(sum), "stage", stage)
}

func exposeRuntime(x exposition) {
	samples := []runtimemetrics.Sample{
		{Name: "/sched/goroutines:goroutines"},
		{Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
	}
	runtimemetrics.Read(samples)
	x.single("go_goroutines", "gauge", "Goroutines that exist.", float64(samples[0].Value.Uint64()))
	x.single("gatepost_memory_bytes", "gauge", "Memory held from the operating system.",
		float64(samples[1].Value.Uint64()-samples[2].Value.Uint64()))
	x.single("gatepost_heap_bytes", "gauge", "Memory in use by objects on the heap.", float64(samples[3].Value.Uint64()))
}
