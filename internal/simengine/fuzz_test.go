package simengine_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/volume"

	"github.com/skep/skep/internal/simengine"
)

// ask gives an engine's answer. The request has ended before it begins, so that
// streams bring what they have and end.
func ask(t *testing.T, e *simengine.Engine, method, path, query, body string) *httptest.ResponseRecorder {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := (&http.Request{
		Method: method, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{},
		Body: http.NoBody, ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if body != "" {
		r.Body = io.NopCloser(strings.NewReader(body))
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	if w.Code >= 400 {
		var said struct{ Message string }
		if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || said.Message == "" {
			t.Fatalf("%s %s?%s: %d without a sentence: %s", method, path, query, w.Code, w.Body)
		}
	}
	return w
}

// read decodes what is at path as a client does.
func read(t *testing.T, e *simengine.Engine, path string, into any) {
	t.Helper()
	w := ask(t, e, http.MethodGet, path, "all=1", "")
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		t.Fatalf("a client cannot read %s: %v: %s", path, err, w.Body)
	}
}

// readAll decodes everything that the engine lists, and each container.
func readAll(t *testing.T, e *simengine.Engine) {
	t.Helper()
	var containers []container.Summary
	read(t, e, "/containers/json", &containers)
	for _, c := range containers {
		var one container.InspectResponse
		read(t, e, "/containers/"+c.ID+"/json", &one)
		if one.ID != c.ID || one.Name != c.Names[0] {
			t.Fatalf("the list says %s %s, inspect %s %s", c.ID, c.Names[0], one.ID, one.Name)
		}
	}
	read(t, e, "/images/json", &[]image.Summary{})
	read(t, e, "/networks", &[]network.Summary{})
	read(t, e, "/volumes", &volume.ListResponse{})
}

// Whatever is asked, the answer is one that a client can read, and so is what
// the engine says of itself afterwards.
func FuzzEngine_answersWhateverIsAsked(f *testing.F) {
	for _, seed := range [][4]string{
		{"GET", "/v1.47/containers/json", `filters={"label":{"app=sim":true}}&limit=2`, ""},
		{"GET", "/containers/json", `filters={"name":["a"],"status":["exited"]}`, ""},
		{"GET", "/v1.24/events", "since=1.5&until=2026-01-01T00:00:00Z&filters={\"event\":[\"die\"]}", ""},
		{"GET", "/containers/fuzz-c0/logs", "stdout=1&tail=0&follow=1", ""},
		{"POST", "/containers/fuzz-c0/attach", "stdout=1&stream=1", ""},
		{"POST", "/containers/fuzz-c0/wait", "condition=next-exit", ""},
		{"POST", "/containers/fuzz-c0/kill", "signal=SIGTERM", ""},
		{"POST", "/containers/fuzz-c0/rename", "name=%00", ""},
		{"DELETE", "/containers/fuzz-c0", "force=1", ""},
		{"POST", "/containers/create", "name=x1", `{"Image":"busybox","Cmd":["true"],"HostConfig":{"AutoRemove":true}}`},
		{"POST", "/images/create", "fromImage=a/b&tag=sha256:00", ""},
		{"POST", "/images/busybox/tag", "repo=x&tag=y", ""},
		{"DELETE", "/images/alpine", "", ""},
		{"POST", "/networks/create", "", `{"Name":"n","Labels":{"a":"b"}}`},
		{"DELETE", "/networks/bridge", "", ""},
		{"POST", "/volumes/create", "", `{"Name":"v","DriverOpts":{"a":"b"}}`},
		{"GET", "/v1.99999999999999999999/info", "", ""},
		{"GET", "//", "%zz", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		e := simengine.New(simengine.Config{Name: "fuzz", Containers: 2})
		ask(t, e, method, path, query, body)
		readAll(t, e)
	})
}

// What a create takes can be started, listed and inspected; what it refuses is
// the caller's fault.
func FuzzCreate_takesOnlyWhatInspectCanGiveBack(f *testing.F) {
	for _, body := range []string{
		`{"Image":"busybox","Env":["A=b"],"Labels":{"k":"v"},"HostConfig":{"Memory":4,"PortBindings":{"80/tcp":[{"HostPort":"80"}]}}}`,
		`{"Image":"busybox","Env":"A=b"}`, `{"Image":"busybox","HostConfig":null}`, `{"Image":"busybox","HostConfig":[]}`,
		`{"Image":"busybox","HostConfig":{"PortBindings":{"80/x":[{"HostIp":"x","HostPort":"99999"}]}}}`,
		`{"Image":"busybox","Tty":true,"Cmd":["\u0000\"","é"],"Unknown":{"x":[1]}}`, `null`, `{}`, `[]`, `{"image":"busybox"}`, ``,
		`{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"fe80::1%\u0001","HostPort":"80"}]}}}`,
		`{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":""},{"HostPort":"1-5"}],"80/udp":[{}]}}}`,
	} {
		f.Add("web", body)
	}
	f.Fuzz(func(t *testing.T, name, body string) {
		e := simengine.New(simengine.Config{Name: "fuzz"})
		w := ask(t, e, http.MethodPost, "/containers/create", url.Values{"name": {name}}.Encode(), body)
		switch w.Code {
		case http.StatusCreated:
			var made container.CreateResponse
			if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil {
				t.Fatal(err)
			}
			readAll(t, e)
			ask(t, e, http.MethodPost, "/containers/"+made.ID+"/start", "", "")
		case http.StatusBadRequest, http.StatusNotFound:
		default:
			t.Fatalf("create answers %d: %s", w.Code, w.Body)
		}
		readAll(t, e)
	})
}
