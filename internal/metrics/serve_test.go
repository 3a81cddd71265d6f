package metrics_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/skep/skep/internal/metrics"
)

// serve shows metrics until the end of the test.
func serve(t *testing.T, m *metrics.Metrics) (url string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Serve(ctx, l); err != nil {
			t.Error(err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return "http://" + l.Addr().String(), stop
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestServe_answersUntilItIsStopped(t *testing.T) {
	url, stop := serve(t, metrics.New("1.0", nil))
	for path, want := range map[string]string{"/metrics": "skep_build_info", "/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile"} {
		if status, body := get(t, url+path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d", path, status)
		}
	}
	stop()
	if _, err := client.Get(url + "/metrics"); err == nil {
		t.Error("it still answers")
	}
}

// slow is a source that does not answer until it is let go.
type slow struct {
	asked *atomic.Int32
	ready chan struct{} // closed when as many have asked as may
	let   chan struct{}
}

func (s slow) Counts() metrics.Counts {
	if s.asked.Add(1) == metrics.Readers {
		close(s.ready)
	}
	<-s.let
	return metrics.Counts{}
}

func TestServe_moreReadersThanThereIsRoomForAreToldToComeAgain(t *testing.T) {
	s := slow{new(atomic.Int32), make(chan struct{}), make(chan struct{})}
	url, _ := serve(t, metrics.New("1.0", s))
	statuses := make(chan int)
	for range metrics.Readers {
		go func() {
			resp, err := client.Get(url + "/metrics")
			if err != nil {
				statuses <- 0
				return
			}
			resp.Body.Close()
			statuses <- resp.StatusCode
		}()
	}
	<-s.ready
	if status, body := get(t, url+"/metrics"); status != 503 || !strings.Contains(body, "try again later") {
		t.Errorf("one more: %d %s", status, body)
	}
	close(s.let)
	for range metrics.Readers {
		if status := <-statuses; status != 200 {
			t.Errorf("status %d", status)
		}
	}
}
