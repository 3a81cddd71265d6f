package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/enginetest"
	"github.com/skep/skep/internal/placement"
)

// exactly places without overcommit.
func exactly(t *testing.T, strategy string) cluster.Config {
	t.Helper()
	policy, err := placement.NewPolicy(strategy, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return cluster.Config{Policy: policy}
}

// create creates a container and gives its ID.
func create(ctx context.Context, c *cluster.Cluster, name, body string) (string, error) {
	query := url.Values{}
	if name != "" {
		query.Set("name", name)
	}
	answer, err := c.Create(ctx, cluster.CreateOptions{Query: query, Body: []byte(body)})
	if err != nil {
		return "", err
	}
	var created struct {
		ID string `json:"Id"`
	}
	return created.ID, json.Unmarshal(answer, &created)
}

// nodeOf is the engine that a container of the cluster is on.
func nodeOf(t *testing.T, c *cluster.Cluster, ref string) string {
	t.Helper()
	found, err := c.Container(ref)
	if err != nil {
		t.Fatal(err)
	}
	return found.Engine.Name()
}

func withBusybox(engines ...*enginetest.Engine) {
	for _, e := range engines {
		e.AddImage(enginetest.Image{Tags: []string{"busybox:latest"}, Digests: []string{"busybox@sha256:" + id64("b")}})
	}
}

func TestCreate_whatTheEnvironmentSaysToPlacementBecomesLabels(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", Labels: []string{"rack=a"}})
	withBusybox(e)
	c := enginetest.Cluster(t, cluster.Config{}, e)
	id, err := create(t.Context(), c, "web", `{"Image":"busybox","Env":["A=b","constraint:rack==a","affinity:image==~busybox","reschedule:on-node-failure","whitelist:node==n1|n2","B=constraint:x"],
		"Labels":{"mine":"<1>","com.docker.swarm.constraints":"[\"node==n1\"]"},"HostConfig":{"New":1.50},"Later":null}`)
	if err != nil {
		t.Fatal(err)
	}
	sent := string(e.Containers()[id].Config)
	swarmID := regexp.MustCompile(`"com.docker.swarm.id":"([0-9a-f]{64})",`)
	if !swarmID.MatchString(sent) {
		t.Errorf("no swarm ID in %s", sent)
	}
	want := `{"Image":"busybox","Env":["A=b","B=constraint:x"],"Labels":{"com.docker.swarm.affinities":"[\"image==~busybox\"]",` +
		`"com.docker.swarm.constraints":"[\"node==n1\",\"rack==a\"]","com.docker.swarm.reschedule-policies":"[\"on-node-failure\"]",` +
		`"com.docker.swarm.whitelists":"[\"node==n1|n2\"]","mine":"<1>"},"HostConfig":{"New":1.50},"Later":null}`
	if diff := cmp.Diff(want, swarmID.ReplaceAllString(sent, "")); diff != "" {
		t.Error(diff)
	}
	// It is found by the swarm ID, and there it stays.
	found, err := c.Container(swarmID.FindStringSubmatch(sent)[1])
	if err != nil || found.ID != id {
		t.Errorf("%v, %v", found, err)
	}
	kept, err := create(t.Context(), c, "moved", `{"Image":"busybox","Labels":{"com.docker.swarm.id":"`+id64("1d")+`"}}`)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := c.Container(id64("1d")); err != nil || found.ID != kept {
		t.Errorf("a swarm ID that was given: %v, %v", found, err)
	}
}

func TestCreate_aNameIsGivenOnce(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	engines[0].AddContainer(enginetest.Container{ID: id64("1"), Name: "taken"})
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	for _, name := range []string{"taken", "/taken"} {
		_, err := create(t.Context(), c, name, `{"Image":"busybox"}`)
		if !errdefs.IsConflict(err) || !strings.HasPrefix(errText(err), `Conflict. The container name "/taken" is already in use by container "`+id64("1")+`" on node n1. You have to remove (or rename) that container`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(engines[1].Requests("POST /containers/create")); n != 0 {
		t.Errorf("%d engines were asked", n)
	}

	// A name that is on its way is taken, too.
	arrived, goOn := make(chan struct{}, 1), make(chan int)
	for _, e := range engines {
		e.Handle("POST", "/containers/create", func(w http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			w.WriteHeader(<-goOn)
			fmt.Fprint(w, `{"message":"broken"}`)
		})
	}
	first := make(chan error, 1)
	go func() {
		_, err := create(t.Context(), c, "coming", `{"Image":"busybox"}`)
		first <- err
	}()
	<-arrived
	if _, err := create(t.Context(), c, "coming", `{"Image":"busybox"}`); !errdefs.IsConflict(err) || !strings.Contains(errText(err), "that is being created") {
		t.Errorf("a name that is on its way: %v", err)
	}
	if err := c.Rename(t.Context(), "taken", "coming"); !errdefs.IsConflict(err) {
		t.Errorf("rename to a name that is on its way: %v", err)
	}
	goOn <- http.StatusInternalServerError
	if err := <-first; errText(err) != "broken" {
		t.Errorf("the first: %v", err)
	}
	// It has failed: the name is free again.
	for _, e := range engines {
		e.Handle("POST", "/containers/create", nil)
	}
	if _, err := create(t.Context(), c, "coming", `{"Image":"busybox"}`); err != nil {
		t.Errorf("after the first failed: %v", err)
	}
	if err := c.Rename(t.Context(), "coming", "taken"); !errdefs.IsConflict(err) {
		t.Errorf("rename to a name that is taken: %v", err)
	}
	if err := c.Rename(t.Context(), "coming", "coming"); err != nil {
		t.Errorf("rename to its own name: %v", err)
	}
	if err := c.Rename(t.Context(), "coming", "/gone"); err != nil || nodeOf(t, c, "gone") == "" {
		t.Errorf("rename: %v", err)
	}
	if _, err := c.Container("coming"); !errdefs.IsNotFound(err) {
		t.Errorf("its former name: %v", err)
	}
}

func TestCreate_oneNameAtOnceIsGivenOnce(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	withBusybox(engines...)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	var given, refused atomic.Int32
	meeting(16, func(int) {
		switch _, err := create(t.Context(), c, "web", `{"Image":"busybox"}`); {
		case err == nil:
			given.Add(1)
		case errdefs.IsConflict(err):
			refused.Add(1)
		default:
			t.Error(err)
		}
	})
	if given.Load() != 1 || refused.Load() != 15 {
		t.Errorf("given %d times, refused %d times", given.Load(), refused.Load())
	}
}

// A name that an engine has made up must be one of the cluster's, too.
func TestCreate_aNameThatTwoEnginesMakeUp(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	for _, e := range engines {
		e.Handle("POST", "/containers/create", func(w http.ResponseWriter, r *http.Request) {
			id := e.AddContainer(enginetest.Container{Name: "happy_name"})
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"Id":%q}`, id)
		})
	}
	names := map[string]bool{}
	for range 2 {
		ctx, hangUp := context.WithCancel(t.Context())
		hangUp() // it makes no difference
		id, err := create(ctx, c, "", `{"Image":"busybox"}`)
		if err != nil {
			t.Fatal(err)
		}
		found, err := c.Container(id)
		if err != nil {
			t.Fatal(err)
		}
		names[found.Name()] = true
		if want := "happy_name_" + id[:6]; found.Name() != "happy_name" && found.Name() != want {
			t.Errorf("name %s", found.Name())
		}
	}
	if len(names) != 2 {
		t.Errorf("names %v", names)
	}
}

func TestCreate_manyAtOnceOverfillNothing(t *testing.T) {
	const each, gib = 8, 1 << 30
	for round := range 3 {
		engines := make([]*enginetest.Engine, 3)
		for i := range engines {
			engines[i] = enginetest.Start(t, enginetest.Config{Name: fmt.Sprint("n", i), IP: fmt.Sprintf("10.0.%d.%d", round, i), Memory: each * gib})
		}
		withBusybox(engines...)
		c := enginetest.Cluster(t, exactly(t, "spread"), engines...)
		var refused atomic.Int32
		meeting(3*each+6, func(int) {
			if _, err := create(t.Context(), c, "", `{"Image":"busybox","HostConfig":{"Memory":1073741824}}`); err != nil {
				refused.Add(1)
				if !strings.Contains(err.Error(), "no resources available to schedule container") {
					t.Error(err)
				}
			}
		})
		for _, e := range engines {
			if n := len(e.Containers()); n != each {
				t.Errorf("%d containers on %s, which has room for %d", n, e.Name(), each)
			}
		}
		if refused.Load() != 6 {
			t.Errorf("%d were refused", refused.Load())
		}
	}
}

func TestCreate_manyAtOnceAreSpread(t *testing.T) {
	engines := enginetest.StartMany(t, 4)
	withBusybox(engines...)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	meeting(42, func(i int) {
		if _, err := create(t.Context(), c, fmt.Sprint("c", i), `{"Image":"busybox"}`); err != nil {
			t.Error(err)
		}
	})
	least, most := 42, 0
	for _, e := range engines {
		n := len(e.Containers())
		least, most = min(least, n), max(most, n)
	}
	if most-least > 1 {
		t.Errorf("between %d and %d on an engine", least, most)
	}
}

// What the container asks for counts until its engine shows it, also when the
// engine is slow to do so.
func TestCreate_countsUntilTheEngineShowsIt(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1", Memory: 2 << 30})
	withBusybox(e)
	c := enginetest.Cluster(t, exactly(t, "spread"), e)
	const body = `{"Image":"busybox","HostConfig":{"Memory":1610612736}}`
	e.Fail("GET", "/containers/json", http.StatusInternalServerError, "busy")
	if _, err := create(t.Context(), c, "first", body); err != nil {
		t.Fatal(err)
	}
	if _, err := create(t.Context(), c, "second", body); err == nil || !strings.Contains(err.Error(), "no resources") {
		t.Errorf("the second: %v", err)
	}
	if _, err := create(t.Context(), c, "first", body); !errdefs.IsConflict(err) {
		t.Errorf("its name again: %v", err)
	}
	e.Handle("GET", "/containers/json", nil)
	enginetest.Eventually(t, "the first is shown", func() bool { _, err := c.Container("first"); return err == nil })
	if _, err := create(t.Context(), c, "second", body); err == nil {
		t.Error("it counts no more, now that it is shown")
	}
	if err := c.Remove(t.Context(), "first", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := create(t.Context(), c, "second", body); err != nil {
		t.Errorf("it counts twice: %v", err)
	}
}

func TestCreate_anImageThatTheChosenEngineLacks(t *testing.T) {
	pulled := func(e *enginetest.Engine) int { return len(e.Requests("POST /images/create")) }
	for _, tc := range []struct {
		name    string
		image   string
		prepare func(n1, n2 *enginetest.Engine)
		node    string // that the container comes to; "" for none
		err     string
		pulls   int // on n1
	}{
		{"is pulled there", "web:1", func(n1, _ *enginetest.Engine) {
			n1.Publish(enginetest.Image{Tags: []string{"web:1"}})
		}, "n1", "", 1},
		{"is taken where it is if it cannot be pulled", "web:1", func(_, n2 *enginetest.Engine) {
			n2.AddImage(enginetest.Image{Tags: []string{"web:1"}, Digests: []string{"web@sha256:" + id64("1")}})
		}, "n2", "", 1},
		{"is taken where it is, without a pull, if it was never in a registry", "web:1", func(_, n2 *enginetest.Engine) {
			n2.AddImage(enginetest.Image{Tags: []string{"web:1"}})
		}, "n2", "", 0},
		{"is taken where it is, without a pull, if it is asked for by its ID", "sha256:" + id64("feed"), func(_, n2 *enginetest.Engine) {
			n2.AddImage(enginetest.Image{ID: "sha256:" + id64("feed"), Tags: []string{"web:1"}, Digests: []string{"web@sha256:" + id64("1")}})
		}, "n2", "", 0},
		{"is taken where it is, without a pull, if it is asked for by a part of its ID", "feed0000", func(_, n2 *enginetest.Engine) {
			n2.AddImage(enginetest.Image{ID: "sha256:" + id64("feed"), Tags: []string{"web:1"}, Digests: []string{"web@sha256:" + id64("1")}})
		}, "n2", "", 0},
		{"is told with the reason why it cannot be pulled", "web:1", func(n1, _ *enginetest.Engine) {
			n1.Handle("POST", "/images/create", func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, `{"status":"Pulling"}`+"\n"+`{"errorDetail":{"message":"denied"},"error":"denied"}`)
			})
		}, "", "No such image: web:1 (and pulling it has failed: denied)", 1},
		{"is told when the pull breaks off", "web:1", func(n1, _ *enginetest.Engine) {
			n1.Handle("POST", "/images/create", func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, `{"status":"Pulling"}`+"\n"+`{"sta`)
			})
		}, "", "No such image: web:1 (and pulling it has failed: decode progress: unexpected EOF)", 1},
		{"is told when there is no registry", "web:1", func(n1, _ *enginetest.Engine) {
			n1.Fail("POST", "/images/create", 500, "no route to registry")
		}, "", "No such image: web:1 (and pulling it has failed: no route to registry)", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			engines := enginetest.StartMany(t, 2)
			// So that n1 is the one to be chosen.
			engines[1].AddContainer(enginetest.Container{Name: "busy"})
			tc.prepare(engines[0], engines[1])
			c := enginetest.Cluster(t, cluster.Config{}, engines...)
			_, err := create(t.Context(), c, "web", fmt.Sprintf(`{"Image":%q}`, tc.image))
			if errText(err) != tc.err || tc.err != "" && !errdefs.IsNotFound(err) {
				t.Fatalf("error %v", err)
			}
			if tc.err == "" && nodeOf(t, c, "web") != tc.node {
				t.Errorf("on %s", nodeOf(t, c, "web"))
			}
			if n := pulled(engines[0]); n != tc.pulls || pulled(engines[1]) != 0 {
				t.Errorf("%d pulls on n1, %d on n2", n, pulled(engines[1]))
			}
		})
	}
}

func TestCreate_aPullHasTheUsersCredentialsAndPlatform(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{})
	e.Publish(enginetest.Image{Tags: []string{"reg.example/web:1"}})
	c := enginetest.Cluster(t, cluster.Config{}, e)
	var asked string
	e.Handle("POST", "/images/create", func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery + " " + r.Header.Get("X-Registry-Auth")
		fmt.Fprint(w, `{"error":"no"}`)
	})
	_, err := c.Create(t.Context(), cluster.CreateOptions{
		Query: url.Values{"platform": {"linux/arm64"}}, Body: []byte(`{"Image":"reg.example/web:1"}`), RegistryAuth: "secret",
	})
	if !errdefs.IsNotFound(err) || asked != "fromImage=reg.example%2Fweb%3A1&platform=linux%2Farm64 secret" {
		t.Errorf("asked %s, %v", asked, err)
	}
}

func TestCreate_theEnginesRefusalIsKept(t *testing.T) {
	for _, tc := range []struct {
		status  int
		message string
	}{
		{400, "invalid reference format"},
		{404, "network web not found"},
		{404, "No such container: x"},
		{409, "Conflict. The container name is in use"},
		{500, "no space left on device"},
		{418, "tea"},
	} {
		t.Run(fmt.Sprint(tc.status, " ", tc.message), func(t *testing.T) {
			engines := enginetest.StartMany(t, 2)
			withBusybox(engines...)
			c := enginetest.Cluster(t, cluster.Config{}, engines...)
			for _, e := range engines {
				e.Fail("POST", "/containers/create", tc.status, tc.message)
			}
			_, err := create(t.Context(), c, "web", `{"Image":"busybox"}`)
			var status *engine.StatusError
			if !errors.As(err, &status) || status.Status != tc.status || err.Error() != tc.message {
				t.Errorf("error %v", err)
			}
			asked := len(engines[0].Requests("POST /containers/create")) + len(engines[1].Requests("POST /containers/create"))
			if pulls := engines[0].Requests("POST /images/create"); asked != 1 || len(pulls) != 0 {
				t.Errorf("asked %d times, pulled %v", asked, pulls)
			}
		})
	}
}

func TestCreate_isTriedAgainAsOftenAsConfigured(t *testing.T) {
	for _, tc := range []struct{ retries, failures, asked int }{{0, 1, 1}, {3, 2, 3}, {3, 9, 4}} {
		t.Run(fmt.Sprintf("%d retries, %d failures", tc.retries, tc.failures), func(t *testing.T) {
			e := enginetest.Start(t, enginetest.Config{})
			withBusybox(e)
			cfg := exactly(t, "spread")
			cfg.CreateRetry = tc.retries
			c := enginetest.Cluster(t, cfg, e)
			var mu sync.Mutex
			asked := 0
			e.Handle("POST", "/containers/create", func(w http.ResponseWriter, _ *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if asked++; asked <= tc.failures {
					http.Error(w, `{"message":"not now"}`, http.StatusInternalServerError)
					return
				}
				w.WriteHeader(http.StatusCreated)
				fmt.Fprintf(w, `{"Id":%q}`, e.AddContainer(enginetest.Container{Name: "web"}))
			})
			_, err := create(t.Context(), c, "web", `{"Image":"busybox"}`)
			if asked != tc.asked || (err == nil) != (tc.failures <= tc.retries) {
				t.Errorf("asked %d times, %v", asked, err)
			}
		})
	}
}

func TestCreate_anImageOfAnotherSystemGoesToItsEngine(t *testing.T) {
	linux := enginetest.Start(t, enginetest.Config{Name: "n1", IP: "10.0.0.1"})
	windows := enginetest.Start(t, enginetest.Config{Name: "n2", IP: "10.0.0.2", OSType: "windows"})
	withBusybox(linux, windows)
	windows.AddContainer(enginetest.Container{Name: "busy"})
	c := enginetest.Cluster(t, cluster.Config{}, linux, windows)
	linux.Fail("POST", "/containers/create", 400, `image operating system "windows" cannot be used on this platform: x`)
	if _, err := create(t.Context(), c, "web", `{"Image":"busybox"}`); err != nil || nodeOf(t, c, "web") != "n2" {
		t.Errorf("error %v", err)
	}
}

// Whoever hangs up may have a container all the same, and it must be known.
func TestCreate_itsOutcomeIsKnownThoughTheUserHangsUp(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{})
	withBusybox(e)
	c := enginetest.Cluster(t, cluster.Config{}, e)
	ctx, hangUp := context.WithCancel(t.Context())
	e.Handle("POST", "/containers/create", func(w http.ResponseWriter, r *http.Request) {
		hangUp()
		if r.Context().Err() != nil {
			t.Error("the engine's request has ended")
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"Id":%q}`, e.AddContainer(enginetest.Container{Name: "web"}))
	})
	id, err := create(ctx, c, "web", `{"Image":"busybox"}`)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := c.Container("web"); err != nil || found.ID != id {
		t.Errorf("%v, %v", found, err)
	}
}

func TestCreate_aPullEndsWithItsUser(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	engines[1].AddImage(enginetest.Image{Tags: []string{"web:1"}, Digests: []string{"web@sha256:" + id64("1")}})
	engines[1].AddContainer(enginetest.Container{Name: "busy"})
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	ctx, hangUp := context.WithCancel(t.Context())
	engines[0].Handle("POST", "/images/create", func(w http.ResponseWriter, r *http.Request) {
		hangUp()
		<-r.Context().Done()
	})
	if _, err := create(ctx, c, "web", `{"Image":"web:1"}`); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if n := len(engines[1].Containers()); n != 1 {
		t.Errorf("%d containers where nobody waits for one", n)
	}
}

func TestCreate_nowhereToGo(t *testing.T) {
	t.Run("no engines", func(t *testing.T) {
		c := enginetest.Cluster(t, cluster.Config{})
		if _, err := create(t.Context(), c, "web", `{"Image":"busybox"}`); errText(err) != "No nodes available in the cluster" {
			t.Error(err)
		}
	})
	t.Run("none is healthy", func(t *testing.T) {
		e := enginetest.Start(t, enginetest.Config{})
		c := enginetest.Cluster(t, fast(), e)
		e.Fail("GET", "/_ping", 500, "down")
		enginetest.WaitUnhealthy(t, c, 1)
		if _, err := create(t.Context(), c, "web", `{"Image":"busybox"}`); err == nil || !strings.HasPrefix(err.Error(), "No healthy node available in the cluster") {
			t.Error(err)
		}
	})
	t.Run("a constraint that none meets", func(t *testing.T) {
		e := enginetest.Start(t, enginetest.Config{})
		c := enginetest.Cluster(t, cluster.Config{}, e)
		_, err := create(t.Context(), c, "web", `{"Image":"busybox","Env":["constraint:rack==z"]}`)
		if err == nil || !strings.Contains(err.Error(), "rack==z") {
			t.Error(err)
		}
	})
	t.Run("an answer that is none", func(t *testing.T) {
		e := enginetest.Start(t, enginetest.Config{})
		withBusybox(e)
		c := enginetest.Cluster(t, cluster.Config{}, e)
		e.Handle("POST", "/containers/create", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"Warnings":[]}`) })
		_, err := create(t.Context(), c, "web", `{"Image":"busybox"}`)
		if err == nil || !strings.Contains(err.Error(), `engine n1: create gave no container ID: {"Warnings":[]}`) {
			t.Error(err)
		}
	})
}
