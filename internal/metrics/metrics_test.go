package metrics_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type source metrics.Counts

func (s source) Counts() metrics.Counts { return metrics.Counts(s) }

func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if kind := w.Header().Get("Content-Type"); w.Code != 200 || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Fatalf("%d %s", w.Code, kind)
	}
	return w.Body.String()
}

func TestMetrics_saysWhatIsGoingOn(t *testing.T) {
	m := metrics.New("1.0", source{Engines: map[string]int{"Healthy": 3, "Unhealthy": 0}, Containers: map[string]int{"running": 7}, EventListeners: 2, Moved: 1})
	m.Request("GET", "/containers/{name}/json", 200, 3*time.Millisecond)
	m.Request("GET", "/containers/{name}/json", 200, 2*time.Minute)
	m.Request("POST", "/containers/create", 201, time.Millisecond)
	m.Request("POST", "/containers/create", 500, time.Millisecond)
	m.Request("BREW", "", 999, 0)
	got := scrape(t, m)
	for _, line := range []string{
		`skep_build_info{version="1.0",go="`,
		`skep_requests_total{method="GET",route="/containers/{name}/json",code="200"} 2`,
		`skep_requests_total{method="other",route="none",code="other"} 1`,
		`skep_request_seconds_bucket{method="GET",route="/containers/{name}/json",le="0.0025"} 0`,
		`skep_request_seconds_bucket{method="GET",route="/containers/{name}/json",le="0.005"} 1`,
		`skep_request_seconds_bucket{method="GET",route="/containers/{name}/json",le="30"} 1`,
		`skep_request_seconds_bucket{method="GET",route="/containers/{name}/json",le="+Inf"} 2`,
		`skep_request_seconds_count{method="GET",route="/containers/{name}/json"} 2`,
		`skep_placements_total{outcome="placed"} 1`,
		`skep_placements_total{outcome="failed"} 1`,
		`skep_reschedules_total{outcome="moved"} 1`,
		`skep_engines{state="Healthy"} 3`,
		`skep_engines{state="Unhealthy"} 0`,
		`skep_containers{state="running"} 7`,
		`skep_event_listeners 2`,
		`go_goroutines `,
	} {
		if !strings.Contains(got, "\n"+line) {
			t.Errorf("there is no %s", line)
		}
	}
	// every line is one that Prometheus reads
	sample := regexp.MustCompile(`^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{[a-z]+="([^"\\]|\\.)*"(,[a-z]+="([^"\\]|\\.)*")*\})? [-+0-9.eInf]+)$`)
	for _, line := range strings.Split(strings.TrimSuffix(got, "\n"), "\n") {
		if !sample.MatchString(line) {
			t.Errorf("not the text format: %q", line)
		}
	}
}

func TestMetrics_stayFewWhateverIsAskedFor(t *testing.T) {
	m := metrics.New("1.0", nil)
	for i := range 10000 {
		m.Request("GET", "/"+strings.Repeat("x", i%5000), 200, 0)
	}
	if n := strings.Count(scrape(t, m), "\nskep_requests_total{"); n > 4097 {
		t.Errorf("%d series", n)
	}
}

func TestServe_answersUntilItIsStopped(t *testing.T) {
	m := metrics.New("1.0", nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Serve(ctx, l) }()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]string{"/metrics": "skep_build_info", "/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile"} {
		resp, err := client.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 200 || !strings.Contains(string(body), want) {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
