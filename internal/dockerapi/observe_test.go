package dockerapi_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

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
