// Package metrics counts what skep does, and shows it in the text form that
// Prometheus reads, beside Go's profiles, on a listener of its own.
//
// It knows none of the parts that it counts: they are told to it, or it asks a
// Source at the moment in which somebody looks. It keeps no global state.
package metrics

import (
	"context"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

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

// maxSeries bounds what is kept of requests. Routes, methods and statuses are
// few; an engine that answers with ever new statuses gets no more than this.
const maxSeries = 4096

// buckets are upper bounds in seconds.
var buckets = [...]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

type requestKey struct{ method, route, code string }

type latencyKey struct{ method, route string }

type histogram struct {
	counts [len(buckets) + 1]uint64 // the last one is beyond all bounds
	sum    float64
}

func (h *histogram) observe(seconds float64) {
	i, _ := slices.BinarySearch(buckets[:], seconds)
	h.counts[i]++
	h.sum += seconds
}

// Metrics counts. Its methods may be called from any goroutine.
type Metrics struct {
	version string
	source  Source

	mu         sync.Mutex // guards all below
	requests   map[requestKey]uint64
	latency    map[latencyKey]*histogram
	placements map[string]uint64 // by outcome
	reloads    map[string]uint64 // by outcome
}

// New counts for a program of this version. Source may be nil.
func New(version string, source Source) *Metrics {
	return &Metrics{
		version: version, source: source,
		requests: map[requestKey]uint64{}, latency: map[latencyKey]*histogram{},
		placements: map[string]uint64{"placed": 0, "failed": 0},
		reloads:    map[string]uint64{"done": 0, "failed": 0},
	}
}

// Request counts a request: its method, the class of its route ("" for none),
// the answer's status and the time until the answer began.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	if !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}, method) {
		method = "other"
	}
	if route == "" {
		route = "none"
	}
	code := "other"
	if http.StatusText(status) != "" {
		code = strconv.Itoa(status)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := requestKey{method, route, code}
	if _, known := m.requests[key]; !known && len(m.requests) >= maxSeries {
		key = requestKey{"other", "other", "other"}
	}
	m.requests[key]++
	lk := latencyKey{key.method, key.route}
	if m.latency[lk] == nil {
		m.latency[lk] = &histogram{}
	}
	m.latency[lk].observe(took.Seconds())
	if method == http.MethodPost && route == "/containers/create" {
		m.placements[outcome(status == http.StatusCreated, "placed")]++
	}
}

// Reloaded counts a reading of the certificates.
func (m *Metrics) Reloaded(ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reloads[outcome(ok, "done")]++
}

func outcome(ok bool, name string) string {
	if ok {
		return name
	}
	return "failed"
}

// text is everything, as Prometheus reads it.
func (m *Metrics) text() []byte {
	var t text
	t.family("skep_build_info", "gauge", "Which skep this is.")
	t.sample("skep_build_info", 1, "version", m.version, "go", runtime.Version())
	m.writeRequests(&t)
	if m.source != nil {
		writeCounts(&t, m.source.Counts())
	}
	writeProcess(&t)
	return t.b
}

func (m *Metrics) writeRequests(t *text) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.family("skep_requests_total", "counter", "Requests answered, by route and status.")
	keys := slices.SortedFunc(maps.Keys(m.requests), func(a, b requestKey) int {
		return strings.Compare(a.route+" "+a.method+" "+a.code, b.route+" "+b.method+" "+b.code)
	})
	for _, k := range keys {
		t.sample("skep_requests_total", float64(m.requests[k]), "method", k.method, "route", k.route, "code", k.code)
	}
	t.family("skep_request_seconds", "histogram", "Time until the answer of a request began.")
	timed := slices.SortedFunc(maps.Keys(m.latency), func(a, b latencyKey) int {
		return strings.Compare(a.route+" "+a.method, b.route+" "+b.method)
	})
	for _, k := range timed {
		t.histogram("skep_request_seconds", m.latency[k], "method", k.method, "route", k.route)
	}
	t.byLabel("skep_placements_total", "counter", "Containers that were to be created on an engine.", "outcome", m.placements)
	t.byLabel("skep_tls_reloads_total", "counter", "Readings of the certificates while serving.", "outcome", m.reloads)
}

func writeCounts(t *text, c Counts) {
	t.byLabel("skep_engines", "gauge", "Engines by their state.", "state", unsigned(c.Engines))
	t.byLabel("skep_containers", "gauge", "Containers by their state.", "state", unsigned(c.Containers))
	t.byLabel("skep_reschedules_total", "counter", "Containers moved from engines that failed, and tries that failed.", "outcome", map[string]uint64{"moved": c.Moved, "failed": c.MovesFailed})
	t.value("skep_reservations", "gauge", "Containers on their way to an engine.", float64(c.Reservations))
	t.value("skep_event_listeners", "gauge", "Readers of the event stream.", float64(c.EventListeners))
	t.value("skep_events_queued", "gauge", "Events waiting for the reader that lags most.", float64(c.EventsQueued))
}

func unsigned(in map[string]int) map[string]uint64 {
	out := make(map[string]uint64, len(in))
	for name, n := range in {
		out[name] = uint64(max(0, n))
	}
	return out
}

func writeProcess(t *text) {
	t.value("go_goroutines", "gauge", "Goroutines.", float64(runtime.NumGoroutine()))
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	t.value("go_memstats_heap_alloc_bytes", "gauge", "Bytes of live and unswept objects.", float64(mem.HeapAlloc))
	t.value("go_memstats_sys_bytes", "gauge", "Bytes obtained from the system.", float64(mem.Sys))
	var gc debug.GCStats
	debug.ReadGCStats(&gc)
	t.value("go_gc_cycles_total", "counter", "Collections of garbage.", float64(gc.NumGC))
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		t.value("process_open_fds", "gauge", "Open files and connections.", float64(len(fds)))
	}
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(statm)); len(fields) > 1 {
			pages, _ := strconv.ParseFloat(fields[1], 64)
			t.value("process_resident_memory_bytes", "gauge", "Resident memory.", pages*float64(os.Getpagesize()))
		}
	}
}

// Handler serves /metrics and /debug/pprof/.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(m.text()) // the reader has gone; there is nobody to tell
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

const (
	headerTimeout = 10 * time.Second
	// answerTimeout allows for a profile of some minutes.
	answerTimeout = 10 * time.Minute
	maxHeader     = 64 << 10
)

// Serve answers on l until ctx is done, and closes it. Requests under way are
// cut off: nobody waits for a profile of a program that ends.
func (m *Metrics) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: m.Handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout, WriteTimeout: answerTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	err := server.Serve(l)
	if ctx.Err() != nil {
		return nil
	}
	return err
}
