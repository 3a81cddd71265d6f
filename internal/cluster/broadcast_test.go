package cluster_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

func nowhere([]byte) error { return nil }

func load(t *testing.T, c *cluster.Cluster, archive io.Reader) error {
	t.Helper()
	return c.LoadImages(t.Context(), cluster.LoadOptions{Body: io.NopCloser(archive)}, nowhere)
}

// broadcasts are the operations that go to all engines.
func broadcasts(t *testing.T) map[string]func(*cluster.Cluster) error {
	return map[string]func(*cluster.Cluster) error{
		"pull": func(c *cluster.Cluster) error {
			return c.PullImage(t.Context(), cluster.PullOptions{Query: url.Values{"fromImage": {"web"}, "tag": {"1"}}}, nowhere)
		},
		"load": func(c *cluster.Cluster) error {
			return load(t, c, strings.NewReader(`{"Images":[{"Tags":["web:1"]}]}`))
		},
		"volume create": func(c *cluster.Cluster) error {
			_, err := c.CreateVolume(t.Context(), []byte(`{"Name":"data"}`), apiversion.Max)
			return err
		},
		"volume prune": func(c *cluster.Cluster) error {
			_, err := c.PruneVolumes(t.Context(), apifilter.Args{}, apiversion.Max)
			return err
		},
		"container prune": func(c *cluster.Cluster) error { _, err := c.PruneContainers(t.Context(), apifilter.Args{}); return err },
		"system df":       func(c *cluster.Cluster) error { _, err := c.DiskUsage(t.Context(), nil, apiversion.Max); return err },
	}
}

// What goes to all engines goes to those that answer: the others would only
// make it fail, after a long wait.
func TestBroadcasts_leaveOutEnginesThatDoNotAnswer(t *testing.T) {
	for name, do := range broadcasts(t) {
		t.Run(name, func(t *testing.T) {
			engines := enginetest.StartMany(t, 3)
			for _, e := range engines {
				e.Publish(enginetest.Image{Tags: []string{"web:1"}})
				e.Handle("GET", "/system/df", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) })
			}
			c := enginetest.Cluster(t, fast(), engines...)
			engines[1].Fail("GET", "/_ping", http.StatusInternalServerError, "down")
			enginetest.WaitUnhealthy(t, c, 1)
			asked := func(e *enginetest.Engine) int {
				return len(e.Requests("POST ")) + len(e.Requests("GET /system/df")) + len(e.Requests("GET /volumes/"))
			}
			if err := do(c); err != nil && name != "container prune" && name != "volume prune" {
				t.Errorf("error %v", err)
			}
			if asked(engines[0]) == 0 || asked(engines[1]) != 0 || asked(engines[2]) == 0 {
				t.Errorf("asked n1 %d, n2 %d, n3 %d times", asked(engines[0]), asked(engines[1]), asked(engines[2]))
			}
		})
	}
}

// An engine that hangs in the middle costs the time until its probes have
// failed, and not the outcome on the others.
func TestBroadcasts_areNotHeldUpByAnEngineThatHangs(t *testing.T) {
	for name, do := range broadcasts(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // probes take their time to fail
			engines := enginetest.StartMany(t, 2)
			for _, e := range engines {
				e.Publish(enginetest.Image{Tags: []string{"web:1"}})
				e.Handle("GET", "/system/df", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) })
			}
			c := enginetest.Cluster(t, impatient(), engines...)
			engines[1].Freeze()
			began := time.Now()
			err := do(c)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
			if name != "system df" && (err == nil || !strings.Contains(err.Error(), "n2")) && !strings.HasSuffix(name, "prune") {
				t.Errorf("error %v", err)
			}
			if _, err := c.AnyEngine(); err != nil {
				t.Errorf("the other engine: %v", err)
			}
		})
	}
}

// The archive is sent to each engine for itself: one that breaks off in the
// middle takes nothing from the others.
func TestLoad_anEngineThatBreaksOffTakesNothingFromTheOthers(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	const size = 8 << 20
	broken := make(chan struct{})
	for _, i := range []int{0, 2} {
		engines[i].Handle("POST", "/images/load", func(w http.ResponseWriter, r *http.Request) {
			<-broken // so that most of it comes after
			n, err := io.Copy(io.Discard, r.Body)
			if n != size || err != nil {
				t.Errorf("%s has read %d bytes, %v", engines[i].Name(), n, err)
			}
			fmt.Fprintln(w, `{"stream":"Loaded image: web:1\n"}`)
		})
	}
	engines[1].Handle("POST", "/images/load", func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
		close(broken)
		panic(http.ErrAbortHandler)
	})
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	err := load(t, c, strings.NewReader(strings.Repeat("x", size)))
	if err == nil || !strings.HasPrefix(err.Error(), "n2: ") || strings.Contains(err.Error(), "n1") || strings.Contains(err.Error(), "n3") {
		t.Errorf("error %v", err)
	}
}
