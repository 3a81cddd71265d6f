package dockerapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/dockerapi"
)

// echoVersion answers with the version and path that a handler sees.
func echoVersion(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	fmt.Fprintf(w, "%s %s %s", dockerapi.VersionOf(r), r.URL.Path, vars["name"])
	return nil
}

func TestVersion_isReadFromThePath(t *testing.T) {
	d := open(t, route("GET", "/info", echoVersion), route("GET", "/volumes/{name:.*}", echoVersion))
	const bad = `API version "%s" is not of the form MAJOR.MINOR`
	for _, tc := range []struct {
		name, path string
		status     int
		want       string // the body, or its message
	}{
		{"none is the newest", "/info", 200, "1.41 /info "},
		{"one that all know", "/v1.40/info", 200, "1.40 /info "},
		{"the oldest", "/v1.24/info", 200, "1.24 /info "},
		{"newer than the engines, known to skep", "/v1.51/info", 200, "1.51 /info "},
		{"too old", "/v1.23/info", 400, "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"},
		{"much too old", "/v0.9/info", 400, "client version 0.9 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"},
		{"too new", "/v1.52/info", 400, "client version 1.52 is too new. Maximum supported API version is 1.51"},
		{"of another age", "/v2.0/info", 400, "client version 2.0 is too new. Maximum supported API version is 1.51"},
		{"a number beyond all bounds", "/v99999999999.1/info", 400, fmt.Sprintf(bad, "99999999999.1")},
		{"no minor", "/v1/info", 400, fmt.Sprintf(bad, "1")},
		{"three parts", "/v1.41.1/info", 400, fmt.Sprintf(bad, "1.41.1")},
		{"a dot", "/v./info", 400, fmt.Sprintf(bad, ".")},
		{"an error on a route that is none", "/v1.23/nothing", 400, "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"},
		{"no path behind it", "/v1.41", 404, "page not found"},
		{"nothing behind it", "/v1.41/", 404, "page not found"},
		{"only v", "/v/info", 404, "page not found"},
		{"a word that begins with v", "/volumes/x", 200, "1.41 /volumes/x x"},
		{"twice", "/v1.41/v1.41/info", 404, "page not found"},
		{"a capital", "/V1.41/info", 404, "page not found"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, body := d.get("GET", tc.path)
			if resp.StatusCode != tc.status {
				t.Errorf("status %d", resp.StatusCode)
			}
			if tc.status >= 400 {
				body = messageIn(t, resp, body)
			}
			if body != tc.want {
				t.Errorf("got  %q\nwant %q", body, tc.want)
			}
		})
	}
}

// messageIn checks that an answer is an error as engines write it.
func messageIn(t *testing.T, resp *http.Response, body string) string {
	t.Helper()
	var m map[string]string
	if err := json.Unmarshal([]byte(body), &m); err != nil || len(m) != 1 || !strings.HasSuffix(body, "\n") || resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("an error as %q, %v", body, resp.Header)
	}
	return m["message"]
}

func TestHeaders_areOnEveryAnswer(t *testing.T) {
	d := open(t,
		route("GET", "/ok", echoVersion),
		route("GET", "/error", func(http.ResponseWriter, *http.Request, map[string]string) error { return errors.New("no") }),
		route("GET", "/fault", func(http.ResponseWriter, *http.Request, map[string]string) error { panic("oops") }),
		route("GET", "/silent", func(http.ResponseWriter, *http.Request, map[string]string) error { return nil }),
	)
	for path, status := range map[string]int{
		"/ok": 200, "/v1.30/ok": 200, "/error": 500, "/fault": 500, "/silent": 200, "/nothing": 404, "/v1.1/ok": 400, "/v9.9.9/ok": 400,
	} {
		for _, method := range []string{"GET", "HEAD"} {
			if method == "HEAD" && status < 404 {
				continue // not routed
			}
			resp, _ := d.get(method, path)
			if method == "GET" && resp.StatusCode != status {
				t.Errorf("%s: status %d", path, resp.StatusCode)
			}
			for name, want := range map[string]string{
				"Server": "skep/1 (linux)", "Api-Version": "1.41", "Ostype": "linux", "Docker-Experimental": "false",
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s %s: %s is %q", method, path, name, got)
				}
			}
			if len(resp.Header.Get("X-Request-Id")) != 16 {
				t.Errorf("%s %s: request ID %q", method, path, resp.Header.Get("X-Request-Id"))
			}
			if cors := resp.Header.Get("Access-Control-Allow-Origin"); cors != "" {
				t.Errorf("%s %s: CORS %q was not asked for", method, path, cors)
			}
		}
	}
}

func TestRoutes_anUnknownPathOrMethodIsNotFound(t *testing.T) {
	d := open(t, route("GET", "/info", echoVersion))
	for _, r := range []string{"GET /nothing", "POST /info", "DELETE /v1.41/info", "OPTIONS /info", "GET /", "GET /info/"} {
		method, path, _ := strings.Cut(r, " ")
		resp, body := d.get(method, path)
		if resp.StatusCode != http.StatusNotFound || messageIn(t, resp, body) != "page not found" {
			t.Errorf("%s: %d %s", r, resp.StatusCode, body)
		}
	}
}

func TestRoutes_namesAreTakenAsTheyAre(t *testing.T) {
	named := func(what string) dockerapi.Handler {
		return func(w http.ResponseWriter, _ *http.Request, vars map[string]string) error {
			fmt.Fprintf(w, "%s of %q", what, vars["name"])
			return nil
		}
	}
	d := open(t,
		route("GET", "/containers/json", named("list")),
		route("POST", "/containers/create", named("create")),
		route("GET", "/containers/{name:.*}/json", named("inspect")),
		route("GET", "/containers/{name:.*}/attach/ws", named("attach")),
		route("GET", "/containers/{name:.*}/logs", named("logs")),
		route("POST", "/containers/{name:.*}/start", named("start")),
		route("DELETE", "/containers/{name:.*}", named("remove")),
		route("GET", "/exec/{id}/json", named("exec")),
	)
	for _, tc := range []struct{ request, want string }{
		{"GET /containers/json", `list of ""`},
		{"GET /containers/json/json", `inspect of "json"`},
		{"GET /containers/v1/logs", `logs of "v1"`},
		{"GET /v1.41/containers/v1.41/logs", `logs of "v1.41"`},
		{"GET /containers/containers/logs", `logs of "containers"`},
		{"GET /containers/c/json", `inspect of "c"`},
		{"POST /containers/create", `create of ""`},
		{"POST /containers/create/start", `start of "create"`},
		{"GET /containers/n1/web/json", `inspect of "n1/web"`},
		{"GET /containers/n1%2Fweb/json", `inspect of "n1/web"`},
		{"GET /v1.30/containers/n1%2Fweb/json", `inspect of "n1/web"`},
		{"GET /containers//web/json", `inspect of "/web"`},
		{"GET /v1.41/containers//web/json", `inspect of "/web"`},
		{"POST /containers//n1/web/start", `start of "/n1/web"`},
		{"GET /containers/logs/logs", `logs of "logs"`},
		{"GET /containers/n1/json/logs", `logs of "n1/json"`},
		{"GET /containers/a%20b/json", `inspect of "a b"`},
		{"GET /containers/a%3Fb/json", `inspect of "a?b"`},
		{"GET /containers/%2e%2e/json", `inspect of ".."`},
		{"GET /containers/x/attach/ws", `attach of "x"`},
		{"DELETE /containers/n1/web", `remove of "n1/web"`},
		{"DELETE /containers/json", `remove of "json"`},
	} {
		method, path, _ := strings.Cut(tc.request, " ")
		if resp, body := d.get(method, path); resp.StatusCode != http.StatusOK || body != tc.want {
			t.Errorf("%s: %d %s", tc.request, resp.StatusCode, body)
		}
	}
	if resp, _ := d.get("GET", "/exec/a%2Fb/json"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an ID with a slash: %d", resp.StatusCode)
	}
}

func TestRecover_aFaultIsAnErrorOfThisRequestAlone(t *testing.T) {
	var log bytes.Buffer
	o := options()
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	h := dockerapi.NewHandler(o, routes{
		route("GET", "/fault", func(http.ResponseWriter, *http.Request, map[string]string) error { panic("oops") }),
		route("GET", "/late", func(w http.ResponseWriter, _ *http.Request, _ map[string]string) error {
			fmt.Fprint(w, `[{"a":1}`)
			panic("late oops")
		}),
		route("GET", "/odd", func(http.ResponseWriter, *http.Request, map[string]string) error { panic([]int{1}) }),
		route("GET", "/abort", func(http.ResponseWriter, *http.Request, map[string]string) error { panic(http.ErrAbortHandler) }),
		route("GET", "/ok", echoVersion),
	})
	d := openHandler(t, h)
	for _, path := range []string{"/fault", "/odd"} {
		resp, body := d.get("GET", path)
		if resp.StatusCode != http.StatusInternalServerError || messageIn(t, resp, body) == "" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	// What was begun must not look as if it were whole.
	for _, path := range []string{"/late", "/abort"} {
		if _, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + d.addr + path); err == nil {
			t.Errorf("%s: the answer looks whole", path)
		}
	}
	if resp, body := d.get("GET", "/ok"); resp.StatusCode != http.StatusOK || body == "" {
		t.Errorf("the server is not well: %d", resp.StatusCode)
	}
	d.stop()
	if got := log.String(); strings.Count(got, "fault in a request") != 3 || !strings.Contains(got, "route_test.go") {
		t.Errorf("log: %s", got)
	}
}

func TestCORS(t *testing.T) {
	o := options()
	o.CORS = true
	d := openHandler(t, dockerapi.NewHandler(o, routes{route("GET", "/info", echoVersion)}))
	for r, status := range map[string]int{
		"GET /info": 200, "OPTIONS /info": 200, "OPTIONS /v1.41/info": 200, "GET /nothing": 404, "GET /v1.1/info": 400, "POST /info": 404,
	} {
		method, path, _ := strings.Cut(r, " ")
		resp, _ := d.get(method, path)
		got := []string{resp.Header.Get("Access-Control-Allow-Origin"), resp.Header.Get("Access-Control-Allow-Headers"), resp.Header.Get("Access-Control-Allow-Methods")}
		want := []string{"*", "Origin, X-Requested-With, Content-Type, Accept", "GET, POST, DELETE, PUT, OPTIONS, HEAD"}
		if diff := cmp.Diff(want, got); diff != "" || resp.StatusCode != status {
			t.Errorf("%s: %d %s", r, resp.StatusCode, diff)
		}
	}
}

func TestBool(t *testing.T) {
	for query, want := range map[string]bool{
		"": false, "x": false, "x=": false, "x=0": false, "x=no": false, "x=False": false, "x=NONE": false, "x=%20false%20": false,
		"x=1": true, "x=true": true, "x=yes": true, "x=2": true, "x=on": true, "x=null": true, "x=1&x=0": true, "y=1": false,
	} {
		if got := dockerapi.Bool(httptest.NewRequest("GET", "/?"+query, nil), "x"); got != want {
			t.Errorf("%q: %t", query, got)
		}
	}
}

// A path of a request is whatever the network sends.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/v1.41/info", "/v1", "/v", "//", "/v1.41//containers//json", "/v1.41/../info", "/v\x00.1/x", "/v1.41/%2e%2e/x", "*"} {
		f.Add(s)
	}
	h := dockerapi.NewHandler(options(), routes{
		route("GET", "/info", echoVersion), route("GET", "/containers/{name:.*}/json", echoVersion),
	})
	f.Fuzz(func(t *testing.T, path string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path, r.RequestURI = path, path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if s := w.Code; s != 200 && s != 400 && s != 404 {
			t.Fatalf("%q: status %d, %v", path, s, w.Header())
		}
		if w.Header().Get("Api-Version") == "" {
			t.Fatalf("%q: no version", path)
		}
	})
}
