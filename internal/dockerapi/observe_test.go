package dockerapi_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/skep/skep/internal/dockerapi"
)

func TestObserve_tellsEachRequestByItsRoute(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	o := options()
	o.Observe = func(ob dockerapi.Observation) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, fmt.Sprintf("%s %s %d", ob.Method, ob.Class, ob.Status))
	}
	nothing := func(http.ResponseWriter, *http.Request, map[string]string) error { return nil }
	h := dockerapi.NewHandler(o, routes{
		route("GET", "/containers/{name:.*}/json", nothing),
		route("DELETE", "/containers/{name:.*}/checkpoints/{checkpoint}", func(w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
			w.WriteHeader(http.StatusNoContent)
			return nil
		}),
		route("GET", "/bad", func(http.ResponseWriter, *http.Request, map[string]string) error { return dockerapi.Invalid("no") }),
		route("GET", "/fault", func(http.ResponseWriter, *http.Request, map[string]string) error { panic("fault") }),
	})
	for _, tc := range []struct{ method, path, want string }{
		{"GET", "/v1.41/containers/node/web/json", "GET /containers/{name}/json 200"},
		{"DELETE", "/containers/web/checkpoints/a", "DELETE /containers/{name}/checkpoints/{checkpoint} 204"},
		{"GET", "/bad", "GET /bad 400"},
		{"GET", "/fault", "GET /fault 500"},
		{"GET", "/nowhere", "GET  404"},
		{"GET", "/v1.1/bad", "GET  400"},
	} {
		seen = nil
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(tc.method, tc.path, nil))
		if len(seen) != 1 || seen[0] != tc.want {
			t.Errorf("%s: %q, want %q", tc.path, seen, tc.want)
		}
	}
}

func TestObserve_aStreamIsToldWhenItBegins(t *testing.T) {
	began := make(chan dockerapi.Observation, 1)
	goOn := make(chan struct{})
	o := options()
	o.Observe = func(ob dockerapi.Observation) { began <- ob }
	d := openHandler(t, dockerapi.NewHandler(o, routes{route("GET", "/events", func(w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
		if err := http.NewResponseController(w).Flush(); err != nil {
			return err
		}
		<-goOn
		return nil
	})}))
	resp := d.do(httptest.NewRequest("GET", "/events", nil))
	if ob := <-began; ob.Status != 200 || ob.Class != "/events" {
		t.Errorf("%+v", ob)
	}
	close(goOn)
	_, _ = io.ReadAll(resp.Body)
}

// A connection that was taken over is none of the HTTP server's business, and
// yet nothing may run when Serve has returned.
func TestServe_returnsWhenTakenConnectionsHaveEnded(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer close(left)
		defer conn.Close()
		close(arrived)
		<-r.Context().Done()
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := dockerapi.NewServer(h, slog.New(slog.DiscardHandler))
	s.Grace = 100 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	select {
	case <-left:
	default:
		t.Error("it goes on")
	}
}

func TestServe_aRequestThatDoesNotEndDoesNotKeepItFromEnding(t *testing.T) {
	arrived, goOn := make(chan struct{}), make(chan struct{})
	ended := make(chan struct{})
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		defer close(ended)
		close(arrived)
		<-goOn // deaf to all contexts
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := dockerapi.NewServer(h, slog.New(slog.DiscardHandler))
	s.Grace = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	close(goOn)
	<-ended
}
