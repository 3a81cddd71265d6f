package metrics

import "github.com/prometheus/client_golang/prometheus"

// Counts is what a cluster is at a moment.
type Counts struct {
	Engines            map[string]int // by state
	Containers         map[string]int // by state
	Reservations       int            // containers on their way to an engine
	Moved, MovesFailed uint64         // containers of failed engines; tries that failed
	EventListeners     int
	EventsQueued       int // in the queue of the listener that lags most
}

// Source is asked for counts when somebody looks; it must answer at once.
type Source interface{ Counts() Counts }

// counts asks a source whenever metrics are read, so that nothing has to be
// kept up to date between two readings.
type counts struct {
	source Source

	engines, containers, reschedules           *prometheus.Desc
	reservations, eventListeners, eventsQueued *prometheus.Desc
}

var _ prometheus.Collector = (*counts)(nil)

func newCounts(source Source) *counts {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &counts{
		source:         source,
		engines:        desc("skep_engines", "Engines by their state.", "state"),
		containers:     desc("skep_containers", "Containers by their state.", "state"),
		reschedules:    desc("skep_reschedules_total", "Containers moved from engines that failed, and tries that failed.", "outcome"),
		reservations:   desc("skep_reservations", "Containers on their way to an engine."),
		eventListeners: desc("skep_event_listeners", "Readers of the event stream."),
		eventsQueued:   desc("skep_events_queued", "Events waiting for the reader that lags most."),
	}
}

// Describe implements [prometheus.Collector].
func (c *counts) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.engines, c.containers, c.reschedules, c.reservations, c.eventListeners, c.eventsQueued} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *counts) Collect(out chan<- prometheus.Metric) {
	now := c.source.Counts()
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for state, n := range now.Engines {
		gauge(c.engines, n, state)
	}
	for state, n := range now.Containers {
		gauge(c.containers, n, state)
	}
	gauge(c.reservations, now.Reservations)
	gauge(c.eventListeners, now.EventListeners)
	gauge(c.eventsQueued, now.EventsQueued)
	for outcome, n := range map[string]uint64{"moved": now.Moved, "failed": now.MovesFailed} {
		out <- prometheus.MustNewConstMetric(c.reschedules, prometheus.CounterValue, float64(n), outcome)
	}
}
