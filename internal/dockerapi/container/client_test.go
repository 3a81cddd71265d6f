package container_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/dockerapi/container"
	"github.com/skep/skep/internal/dockerapi/routertest"
	"github.com/skep/skep/internal/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client asks the container routes of a cluster.
type client struct {
	*routertest.FrontDoor
	t *testing.T
}

func open(t *testing.T, engines ...*enginetest.Engine) *client {
	t.Helper()
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	d := routertest.Open(t, dockerapi.Options{APIVersion: c.APIVersion}, container.New(c))
	d.Header = http.Header{"Content-Type": {"application/json"}}
	return &client{d, t}
}

// ask sends "METHOD /path" and gives status and body of the answer.
func (c *client) ask(request, body string) (int, string) {
	c.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	return c.Call(method, path, strings.NewReader(body))
}

// message is what an error says; an error that is not in Docker's form fails
// the test.
func (c *client) message(body string) string {
	c.t.Helper()
	var m map[string]string
	if err := json.Unmarshal([]byte(body), &m); err != nil || len(m) != 1 || m["message"] == "" {
		c.t.Errorf("an error as %q", body)
	}
	return m["message"]
}

// A name may be a word of the path that it stands in.
func TestContainers_mayBeNamedLikePartsOfPaths(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	names := []string{"v1", "v1.41", "containers", "c", "json", "create", "logs", "stop", "exec", "prune"}
	ids := map[string]string{}
	for i, name := range names {
		ids[name] = engines[i%2].AddContainer(enginetest.Container{Name: name, Running: true})
	}
	for _, e := range engines {
		e.Handle("GET", "/containers/{name}/logs", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, strings.Split(r.URL.Path, "/")[2])
		})
	}
	c := open(t, engines...)
	for _, name := range names {
		for _, prefix := range []string{"", "/v1.41", "/v1.30"} {
			if status, body := c.ask("GET "+prefix+"/containers/"+name+"/logs?stdout=1", ""); status != http.StatusOK || body != ids[name] {
				t.Errorf("logs of %s by %q: %d %s", name, prefix, status, body)
			}
			if status, body := c.ask("GET "+prefix+"/containers/"+name+"/json", ""); status != http.StatusOK || !strings.Contains(body, ids[name]) {
				t.Errorf("inspect of %s by %q: %d %s", name, prefix, status, body)
			}
		}
		if status, body := c.ask("POST /v1.41/containers/"+name+"/stop", ""); status != http.StatusNoContent {
			t.Errorf("stop of %s: %d %s", name, status, body)
		}
		if status, body := c.ask("DELETE /v1.41/containers/"+name, ""); status != http.StatusNoContent {
			t.Errorf("removal of %s: %d %s", name, status, body)
		}
	}
	if left := len(engines[0].Containers()) + len(engines[1].Containers()); left != 0 {
		t.Errorf("%d containers are left", left)
	}
}

// Scripts tell errors apart by status; the CLI shows the message alone.
func TestErrors_areTheEnginesInDockersForm(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	e.AddImage(enginetest.Image{Tags: []string{"busybox:latest"}})
	e.AddContainer(enginetest.Container{Name: "web", Running: true})
	c := open(t, e)
	for _, status := range []int{400, 403, 404, 409, 500} {
		const said = "the engine's own words"
		for request, path := range map[string]string{
			"POST /containers/web/stop":          "/containers/{name}/stop",
			"POST /containers/web/start":         "/containers/{name}/start",
			"POST /containers/web/exec":          "/containers/{name}/exec",
			"POST /containers/create":            "/containers/create",
			"DELETE /containers/web":             "/containers/{name}",
			"GET /containers/web/json":           "/containers/{name}/json",
			"GET /containers/web/logs":           "/containers/{name}/logs",
			"POST /containers/web/rename?name=x": "/containers/{name}/rename",
		} {
			method, _, _ := strings.Cut(request, " ")
			e.Fail(method, path, status, said)
			body := ""
			if method == "POST" {
				body = `{"Image":"busybox"}`
			}
			got, answer := c.ask(request, body)
			if got != status || c.message(answer) != said {
				t.Errorf("%s refused with %d: answered %d %s", request, status, got, answer)
			}
			e.Handle(method, path, nil)
		}
	}
}

func TestErrors_ofTheClusterHaveTheStatusOfTheirKind(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", Labels: []string{"rack=a"}})
	e.AddImage(enginetest.Image{Tags: []string{"busybox:latest"}})
	e.AddContainer(enginetest.Container{Name: "web", Running: true})
	c := open(t, e)
	for _, tc := range []struct {
		name, request, body string
		status              int
		message             string // a part of it
	}{
		{"a container that is none", "GET /containers/nobody/json", "", 404, "No such container: nobody"},
		{"a name in use", "POST /containers/create?name=web", `{"Image":"busybox"}`, 409, "is already in use"},
		{"no JSON", "POST /containers/create", `{`, 400, "JSON"},
		{"an expression without an operator", "POST /containers/create", `{"Image":"busybox","Env":["constraint:rack"]}`, 400, "One of operator"},
		{"a regular expression that is none", "POST /containers/create", `{"Image":"busybox","Env":["constraint:rack==/[/"]}`, 400, ""},
		{"two policies", "POST /containers/create", `{"Image":"busybox","Env":["reschedule:off","reschedule:on-node-failure"]}`, 400, "too many reschedule policies"},
		{"a condition that no engine meets", "POST /containers/create", `{"Image":"busybox","Env":["constraint:rack==z"]}`, 503, "rack==z"},
		{"an image that is nowhere", "POST /containers/create", `{"Image":"nowhere"}`, 404, "No such image: nowhere"},
		{"a filter that is none", `GET /containers/json?filters={"color":["red"]}`, "", 400, "invalid filter 'color'"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if status, body := c.ask(tc.request, tc.body); status != tc.status || !strings.Contains(c.message(body), tc.message) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

// Each request is sent on in its own version, however many come at once.
func TestVersions_ofRequestsAtOnceAreNotMixedUp(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", API: "1.44"})
	id := e.AddContainer(enginetest.Container{Name: "web", Running: true})
	// The fake cuts the version off before a handler sees it: it is read from
	// the request's first line.
	e.Handle("GET", "/containers/{name}/top", func(w http.ResponseWriter, r *http.Request) {
		version, _, _ := strings.Cut(strings.TrimPrefix(r.RequestURI, "/v"), "/containers/"+id)
		fmt.Fprint(w, version+" "+r.URL.Query().Get("ps_args"))
	})
	c := open(t, e)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			version := fmt.Sprint("1.", 30+i)
			for range 25 {
				if _, body := c.ask("GET /v"+version+"/containers/web/top?ps_args="+version, ""); body != version+" "+version {
					t.Errorf("sent on as %q", body)
				}
			}
		})
	}
	wg.Wait()
}
