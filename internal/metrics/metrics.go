// Package metrics counts what skep does, and shows it to Prometheus beside
// Go's profiles, on a listener of its own.
//
// It knows none of the parts that it counts: they are told to it, or it asks a
// Source at the moment in which somebody looks. It keeps no global state: the
// registry is the Metrics' own.
package metrics

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// maxSeries bounds what is kept of requests. Routes, methods and statuses are
// few; an engine that answers with ever new statuses gets no more than this.
const maxSeries = 4096

// other stands for what is not told apart.
const other = "other"

// seriesKey is what requests are told apart by. Status is 0 for one that HTTP
// does not know.
type seriesKey struct {
	method, route string
	status        int
}

// series are the counters of requests that are alike.
type series struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

// Metrics counts. Its methods may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	placed, notPlaced        prometheus.Counter
	reloaded, reloadFailures prometheus.Counter

	mu       sync.RWMutex         // guards what follows
	known    map[seriesKey]series // to find counters without building their labels
	overflow series               // of all requests beyond maxSeries
}

// New counts for a program of this version. Source may be nil.
func New(version string, source Source) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "skep_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"method", "route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "skep_request_seconds", Help: "Time until the answer of a request began.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}, []string{"method", "route"}),
		known: map[seriesKey]series{},
	}
	placements := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "skep_placements_total", Help: "Containers that were to be created on an engine.",
	}, []string{"outcome"})
	m.placed, m.notPlaced = placements.WithLabelValues("placed"), placements.WithLabelValues("failed")
	reloads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "skep_tls_reloads_total", Help: "Readings of the certificates while serving.",
	}, []string{"outcome"})
	m.reloaded, m.reloadFailures = reloads.WithLabelValues("done"), reloads.WithLabelValues("failed")
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "skep_build_info", Help: "Which skep this is.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(build, m.requests, m.seconds, placements, reloads,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if source != nil {
		m.registry.MustRegister(newCounts(source))
	}
	return m
}

// Request counts a request: its method, the class of its route ("" for none),
// the answer's status and the time until the answer began. It allocates nothing
// for a request like one before it.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	s := m.series(method, route, status)
	s.requests.Inc()
	s.seconds.Observe(took.Seconds())
	if method == http.MethodPost && route == "/containers/create" {
		if status == http.StatusCreated {
			m.placed.Inc()
		} else {
			m.notPlaced.Inc()
		}
	}
}

// series finds the counters of a request, or makes them.
func (m *Metrics) series(method, route string, status int) series {
	key := keyOf(method, route, status)
	m.mu.RLock()
	s, ok := m.known[key]
	m.mu.RUnlock()
	if ok {
		return s
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.known[key]; ok {
		return s
	}
	if len(m.known) >= maxSeries {
		if m.overflow.requests == nil {
			m.overflow = m.make(other, other, other)
		}
		return m.overflow
	}
	code := other
	if key.status != 0 {
		code = strconv.Itoa(key.status)
	}
	s = m.make(key.method, key.route, code)
	m.known[key] = s
	return s
}

func (m *Metrics) make(method, route, code string) series {
	return series{m.requests.WithLabelValues(method, route, code), m.seconds.WithLabelValues(method, route)}
}

// keyOf takes together what people may make up.
func keyOf(method, route string, status int) seriesKey {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions:
	default:
		method = other
	}
	if route == "" {
		route = "none"
	}
	if http.StatusText(status) == "" {
		status = 0
	}
	return seriesKey{method, route, status}
}

// Reloaded counts a reading of the certificates.
func (m *Metrics) Reloaded(ok bool) {
	if ok {
		m.reloaded.Inc()
	} else {
		m.reloadFailures.Inc()
	}
}
