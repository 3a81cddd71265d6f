package metrics_test

import (
	"compress/gzip"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/skep/skep/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type source metrics.Counts

func (s source) Counts() metrics.Counts { return metrics.Counts(s) }

// busy is a cluster in which each count is one of its own.
var busy = source{
	Engines: map[string]int{"Healthy": 3, "Unhealthy": 0}, Containers: map[string]int{"running": 7},
	Reservations: 4, EventListeners: 2, EventsQueued: 5, Moved: 1, MovesFailed: 6,
}

// families is what Prometheus makes of an answer.
type families map[string]*dto.MetricFamily

func scrape(t *testing.T, m *metrics.Metrics) families {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if kind := w.Header().Get("Content-Type"); w.Code != 200 || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Fatalf("%d %s", w.Code, kind)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	found, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sample finds the one with these labels, names and values by turns.
func (f families) sample(name string, labels ...string) *dto.Metric {
	for _, m := range f[name].GetMetric() {
		has := map[string]string{}
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		same := len(has) == len(labels)/2
		for i := 0; i+1 < len(labels); i += 2 {
			same = same && has[labels[i]] == labels[i+1]
		}
		if same {
			return m
		}
	}
	return nil
}

func TestMetrics_saysWhatIsGoingOn(t *testing.T) {
	m := metrics.New("1.0", busy)
	m.Request("GET", "/containers/{name}/json", 200, 3*time.Millisecond)
	m.Request("GET", "/containers/{name}/json", 200, 2*time.Minute)
	m.Request("POST", "/containers/create", 201, time.Millisecond)
	m.Request("POST", "/containers/create", 500, time.Millisecond)
	m.Request("BREW", "", 999, 0)
	m.Reloaded(true)
	m.Reloaded(false)
	m.Reloaded(false)
	got := scrape(t, m)
	for _, tc := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"skep_requests_total", []string{"method", "GET", "route", "/containers/{name}/json", "code", "200"}, 2},
		{"skep_requests_total", []string{"method", "other", "route", "none", "code", "other"}, 1},
		{"skep_placements_total", []string{"outcome", "placed"}, 1},
		{"skep_placements_total", []string{"outcome", "failed"}, 1},
		{"skep_reschedules_total", []string{"outcome", "moved"}, 1},
		{"skep_reschedules_total", []string{"outcome", "failed"}, 6},
		{"skep_tls_reloads_total", []string{"outcome", "done"}, 1},
		{"skep_tls_reloads_total", []string{"outcome", "failed"}, 2},
		{"skep_engines", []string{"state", "Healthy"}, 3},
		{"skep_engines", []string{"state", "Unhealthy"}, 0},
		{"skep_containers", []string{"state", "running"}, 7},
		{"skep_reservations", nil, 4},
		{"skep_event_listeners", nil, 2},
		{"skep_events_queued", nil, 5},
	} {
		if s := got.sample(tc.name, tc.labels...); s == nil || s.GetCounter().GetValue()+s.GetGauge().GetValue() != tc.want {
			t.Errorf("%s%q is %v, want %v", tc.name, tc.labels, s, tc.want)
		}
	}
	if build := got["skep_build_info"].GetMetric()[0].String(); !strings.Contains(build, `"1.0"`) || !strings.Contains(build, `"go`) {
		t.Errorf("build: %s", build)
	}
}

func TestMetrics_timesRequestsUntilTheirAnswerBegins(t *testing.T) {
	m := metrics.New("1.0", nil)
	m.Request("GET", "/x", 200, 3*time.Millisecond)
	m.Request("GET", "/x", 404, 2*time.Minute)
	h := scrape(t, m).sample("skep_request_seconds", "method", "GET", "route", "/x").GetHistogram()
	if h.GetSampleCount() != 2 || h.GetSampleSum() != 120.003 {
		t.Errorf("%v", h)
	}
	below := map[float64]uint64{}
	for _, b := range h.GetBucket() {
		below[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	if below[0.0025] != 0 || below[0.005] != 1 || below[30] != 1 {
		t.Errorf("%v", below)
	}
}

func TestMetrics_stayFewWhateverIsAskedFor(t *testing.T) {
	m := metrics.New("1.0", nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 6000 {
				m.Request("GET", "/"+strconv.Itoa(i), 200, 0)
				m.Request("X"+strconv.Itoa(i), "/", 1000+i, 0)
			}
		})
	}
	wg.Wait()
	got := scrape(t, m)
	all, n := 0.0, len(got["skep_requests_total"].GetMetric())
	for _, s := range got["skep_requests_total"].GetMetric() {
		all += s.GetCounter().GetValue()
	}
	if n > 4097 || all != 4*2*6000 {
		t.Errorf("%v requests in %d series", all, n)
	}
	if n := len(got["skep_request_seconds"].GetMetric()); n > 4097 {
		t.Errorf("%d histograms", n)
	}
	if s := got.sample("skep_requests_total", "method", "other", "route", "/", "code", "other"); s.GetCounter().GetValue() != 4*6000 {
		t.Errorf("made up methods and statuses: %v", s)
	}
}

// Each request pays for this.
func TestRequest_allocatesNothing(t *testing.T) {
	m := metrics.New("1.0", nil)
	if n := testing.AllocsPerRun(1000, func() { m.Request("GET", "/containers/{name}/json", 200, time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRequest(b *testing.B) {
	m := metrics.New("1.0", nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.Request("GET", "/containers/{name}/json", 200, time.Millisecond)
		}
	})
}

// What the page for operators names is there, and nothing of skep's own is
// left out.
func TestMetrics_areTheOnesOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/service.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Metrics and profiles\n")
	section, _, _ = strings.Cut(section, "\n## ")
	named := map[string]bool{}
	for _, row := range strings.Split(section, "\n") {
		// the first column of the table
		if columns := strings.Split(row, "|"); len(columns) > 2 {
			for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(columns[1], -1) {
				named[name[1]] = true
			}
		}
	}
	m := metrics.New("1.0", busy)
	m.Request("GET", "/", 200, 0)
	got := scrape(t, m)
	if len(named) < 10 {
		t.Fatalf("the table is not found: %v", named)
	}
	for name := range named {
		if got[name] == nil {
			t.Errorf("%s is in the docs alone", name)
		}
	}
	for name := range got {
		if strings.HasPrefix(name, "skep_") && !named[name] {
			t.Errorf("%s is not in the docs", name)
		}
	}
}

func TestHandler_compressesForThoseWhoCanRead(t *testing.T) {
	m := metrics.New("1.0", nil)
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, r)
	body, err := gzip.NewReader(w.Body)
	if err != nil || w.Header().Get("Content-Encoding") != "gzip" {
		t.Fatalf("%v %v", w.Header(), err)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if found, err := parser.TextToMetricFamilies(body); err != nil || found["skep_build_info"] == nil {
		t.Errorf("%v, %v", found, err)
	}
}
