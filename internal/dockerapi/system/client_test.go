package system_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/dockerapi/routertest"
	"github.com/skep/skep/internal/dockerapi/system"
	"github.com/skep/skep/internal/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client asks the system routes of a cluster.
type client struct {
	*routertest.FrontDoor
	t *testing.T
}

func open(t *testing.T, c *cluster.Cluster, experimental bool) *client {
	t.Helper()
	return &client{routertest.Open(t, dockerapi.Options{APIVersion: c.APIVersion, Experimental: experimental}, system.New(c)), t}
}

// ask sends a request and reads its answer whole.
func (c *client) ask(method, path, body string) (*http.Response, string) {
	c.t.Helper()
	resp := c.Do(c.t.Context(), method, path, strings.NewReader(body))
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp, string(text)
}

func (c *client) decode(path string, into any) {
	c.t.Helper()
	resp, body := c.ask("GET", path, "")
	if err := json.Unmarshal([]byte(body), into); err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %d %s", path, resp.StatusCode, body)
	}
}

// What a client needs to know of the server before it sends anything else: the
// CLI refuses some commands where it is not told the system.
func TestPing_tellsClientsWhatTheyAskFor(t *testing.T) {
	c := open(t, enginetest.Cluster(t, cluster.Config{}, enginetest.StartMany(t, 1)...), false)
	for _, method := range []string{"GET", "HEAD"} {
		for _, path := range []string{"/_ping", "/v1.30/_ping"} {
			resp, body := c.ask(method, path, "")
			if resp.StatusCode != http.StatusOK || (body == "OK") != (method == "GET") {
				t.Errorf("%s %s: %d %q", method, path, resp.StatusCode, body)
			}
			for name, want := range map[string]string{
				"Ostype": "linux", "Builder-Version": "1", "Docker-Experimental": "false", "Api-Version": "1.41", "Swarm": "inactive",
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s %s: %s is %q, want %q", method, path, name, got, want)
				}
			}
		}
	}
}

func TestExperimental_isSaidWhereClientsLook(t *testing.T) {
	for _, experimental := range []bool{false, true} {
		t.Run(fmt.Sprint(experimental), func(t *testing.T) {
			c := open(t, enginetest.Cluster(t, cluster.Config{Experimental: experimental}), experimental)
			want := fmt.Sprint(experimental)
			for _, path := range []string{"/_ping", "/info", "/version", "/nothing"} {
				if resp, _ := c.ask("GET", path, ""); resp.Header.Get("Docker-Experimental") != want {
					t.Errorf("%s: header %q", path, resp.Header.Get("Docker-Experimental"))
				}
			}
			var info struct{ ExperimentalBuild bool }
			c.decode("/info", &info)
			var version struct {
				Experimental bool
				Components   []struct{ Details struct{ Experimental string } }
			}
			c.decode("/version", &version)
			if info.ExperimentalBuild != experimental || version.Experimental != experimental || version.Components[0].Details.Experimental != want {
				t.Errorf("info %+v, version %+v", info, version)
			}
		})
	}
}

// Clients tell engines apart by their ID, and refuse some commands of a system
// that they do not know.
func TestInfo_hasAnIDAndASystem(t *testing.T) {
	c := open(t, enginetest.Cluster(t, cluster.Config{}, enginetest.StartMany(t, 1)...), false)
	var info struct{ ID, OSType string }
	if c.decode("/info", &info); info.ID == "" || info.OSType != "linux" {
		t.Errorf("%+v", info)
	}
}

// Readers of the stream take it line by line.
func TestEvents_areLinesOfThenThatWereAskedFor(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	c := open(t, enginetest.Cluster(t, cluster.Config{}, e), false)
	hour := time.Now().Add(-time.Hour)
	e.Handle("GET", "/events", func(w http.ResponseWriter, _ *http.Request) {
		for second, action := range []string{"create", "start", "die", "start"} {
			at := hour.Add(time.Duration(second) * time.Second)
			fmt.Fprintf(w, `{"Type":"container","Action":%q,"Actor":{"ID":"c%d","Attributes":{}},"time":%d,"timeNano":%d}`+"\n", action, second, at.Unix(), at.UnixNano())
		}
	})
	for query, want := range map[string]string{
		"":                                       "create c0, start c1, die c2, start c3, ",
		"&filters=" + `{"event":["start"]}`:      "start c1, start c3, ",
		"&filters=" + `{"event":{"die":true}}`:   "die c2, ",
		"&filters=" + `{"container":["nobody"]}`: "",
	} {
		resp, body := c.ask("GET", fmt.Sprintf("/events?since=%d&until=%d%s", hour.Unix()-1, hour.Unix()+60, query), "")
		got := ""
		for line := range strings.Lines(body) {
			var event struct {
				Action string
				Actor  struct{ ID string }
			}
			if err := json.Unmarshal([]byte(line), &event); err != nil || !strings.HasSuffix(line, "\n") {
				t.Fatalf("%q is no line of its own: %v", line, err)
			}
			got += event.Action + " " + event.Actor.ID + ", "
		}
		if got != want || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %q, want %q", query, resp.StatusCode, got, want)
		}
	}
	for _, bad := range []string{"since=x", "until=x", "since=2&until=1", "filters=x", "filters=" + `{"colour":["red"]}`} {
		if resp, body := c.ask("GET", "/events?"+bad, ""); resp.StatusCode != http.StatusBadRequest || !strings.HasPrefix(body, `{"message":`) {
			t.Errorf("%s: %d %s", bad, resp.StatusCode, body)
		}
	}
}

// Engines answer a login with any of their statuses; one that is full of
// containers answers as well as any other.
func TestAuth_isAskedOfAnEngineThatIsFull(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", Labels: []string{"containerslots=1"}})
	e.AddContainer(enginetest.Container{Running: true})
	e.Handle("POST", "/auth", func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		fmt.Fprintf(w, `{"Status":"Login Succeeded","got":%q}`, body.String())
	})
	c := open(t, enginetest.Cluster(t, cluster.Config{}, e), false)
	resp, body := c.ask("POST", "/auth", `{"username":"me"}`)
	if want := `{"Status":"Login Succeeded","got":"{\"username\":\"me\"}"}`; resp.StatusCode != http.StatusOK || strings.TrimSpace(body) != want {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}
