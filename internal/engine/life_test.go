// The race detector of Go 1.26 crashes on timers inside a synctest bubble
// (fixed in Go 1.27), so these tests stay out of the race run.
//go:build !race

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/engine"
)

// inBubble runs a test of an engine on a fake, in virtual time, and lets the
// engine settle first.
func inBubble(t *testing.T, prepare func(*fake, *engine.Config), test func(*testing.T, *fake, *engine.Engine, *recorder)) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		e, o := start(t, f, func(cfg *engine.Config) {
			if prepare != nil {
				prepare(f, cfg)
			}
		})
		settle(100 * time.Millisecond)
		test(t, f, e, o)
	})
}

// settle lets virtual time pass.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestRun_becomesHealthyWithItsInventory(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) {
		f.put(fakeContainer{ID: "c1", Name: "web", Memory: 64})
		f.images = []string{"busybox:latest"}
	}, func(t *testing.T, _ *fake, e *engine.Engine, o *recorder) {
		if got := o.States(); got != "Pending>Healthy" {
			t.Fatalf("states %s", got)
		}
		if s := e.Status(); s.State != engine.Healthy || s.Err != nil || s.Failures != 0 || e.Health() != 100 {
			t.Errorf("status %+v, health %d", s, e.Health())
		}
		if c := e.Container("c1"); c == nil || c.Name() != "web" || c.Host.Memory != 64 || !strings.Contains(string(c.Raw), "12345678901234567") {
			t.Errorf("container %+v", c)
		}
		if e.Images().ByRef("busybox:latest") == nil || len(e.Networks()) != 1 || len(e.Volumes()) != 1 {
			t.Errorf("images %v, networks %v, volumes %v", e.Images(), e.Networks(), e.Volumes())
		}
		if !strings.Contains(string(e.Networks()[0].Raw), `"Later":1`) {
			t.Errorf("a field that is not known is lost: %s", e.Networks()[0].Raw)
		}
	})
}

func TestRun_endsDisconnectedAndEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.put(fakeContainer{ID: "c1"})
		e, o, stop := startStoppable(t, f)
		settle(time.Second)
		stop()
		if e.State() != engine.Disconnected || len(e.Containers()) != 0 || len(e.Networks()) != 0 || len(e.Images().All) != 0 || len(e.Volumes()) != 0 {
			t.Errorf("state %s, containers %v", e.State(), e.Containers())
		}
		if got := o.States(); got != "Pending>Healthy Healthy>Disconnected" {
			t.Errorf("states %s", got)
		}
		if !slices.Equal(o.gone, []string{"c1"}) {
			t.Errorf("told gone: %v", o.gone)
		}
		if err := e.RefreshContainer(t.Context(), "c1"); err == nil || e.Container("c1") != nil {
			t.Errorf("a refresh after the end brought back %v, error %v", e.Container("c1"), err)
		}
	})
}

func TestRun_refusesWhatIsNoEngine(t *testing.T) {
	info := func(key string, value any) func(*fake) { return func(f *fake) { f.info[key] = value } }
	for _, tc := range []struct {
		name   string
		change func(*fake)
		want   string
	}{
		{"no processors", info("NCPU", 0), "cannot get resources for this engine"},
		{"less than no processors", info("NCPU", -1), "cannot get resources for this engine"},
		{"no memory", info("MemTotal", 0), "cannot get resources for this engine"},
		{"a skep manager", info("ServerVersion", "skep/0.1"), "make sure it is a Docker Engine, not a cluster manager"},
		{"a standalone Swarm manager", info("ServerVersion", "swarm/1.2.9"), "make sure it is a Docker Engine, not a cluster manager"},
		{"no ID", info("ID", ""), "the engine has no ID"},
		{"a label without a value", info("Labels", []string{"rack=a", "fast"}), `its label "fast" is not of the form key=value`},
		{"an API from before", func(f *fake) { f.high, f.low = "1.23", "1.12" }, "its API version 1.23 is older than 1.24"},
		{"an API version that is none", func(f *fake) { f.high = "new" }, `API version "new" is not of the form`},
		{"no answer to info", func(f *fake) { f.fail("GET /info", 500, "info is broken") }, "info is broken"},
		{"no JSON", func(f *fake) {
			f.on("GET /version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
		}, "answer to GET /version"},
		{"no event stream", func(f *fake) { f.fail("GET /events", 403, "events are forbidden") }, "open event stream: events are forbidden"},
		{"no list of networks", func(f *fake) { f.fail("GET /networks", 500, "networks are broken") }, "first inventory: networks are broken"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(f *fake, _ *engine.Config) { tc.change(f) }, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
				s := e.Status()
				if s.State != engine.Pending || s.Err == nil || !strings.Contains(s.Err.Error(), tc.want) {
					t.Errorf("%s: %v; want %q", s.State, s.Err, tc.want)
				}
				if o.States() != "" || len(e.Containers()) != 0 || len(e.Networks()) != 0 {
					t.Errorf("states %q, containers %v, networks %v", o.States(), e.Containers(), e.Networks())
				}
			})
		})
	}
}

func TestRun_waitsLongerAfterEachFailedAttempt(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) { f.net.Cut(true) }, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		settle(10 * time.Minute)
		// 1, 2, 4, 8, 16 and then 30 seconds on average.
		if n := f.net.Dials(); n < 15 || n > 50 {
			t.Errorf("%d attempts in ten minutes", n)
		}
		f.set(func() { f.net.refuse = false })
		settle(46 * time.Second)
		if e.State() != engine.Healthy {
			t.Errorf("state %s after it is there: %v", e.State(), e.Status().Err)
		}
	})
}

func TestAdmit_aRefusalIsShownAndTriedAgain(t *testing.T) {
	refusal := errors.New("ID duplicated")
	var mu sync.Mutex
	inBubble(t, func(_ *fake, cfg *engine.Config) {
		cfg.Admit = func(_ *engine.Engine, id *engine.Identity) error {
			mu.Lock()
			defer mu.Unlock()
			if id.ID != "ENGINE-A" {
				t.Errorf("asked about %s", id.ID)
			}
			return refusal
		}
	}, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		settle(time.Minute)
		if s := e.Status(); s.State != engine.Pending || !errors.Is(s.Err, refusal) || e.Identity() != nil || f.asked("GET /events") > 0 {
			t.Fatalf("%+v, identity %v", s, e.Identity())
		}
		mu.Lock()
		refusal = nil
		mu.Unlock()
		e.Poke()
		settle(time.Second)
		if e.State() != engine.Healthy || o.States() != "Pending>Healthy" {
			t.Errorf("after a poke: %s", e.State())
		}
	})
}

func TestProbes_condemnAfterSoManyInARow(t *testing.T) {
	inBubble(t, func(f *fake, cfg *engine.Config) {
		cfg.FailureRetry = 4
		f.put(fakeContainer{ID: "c1"})
	}, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		f.net.Cut(true)
		began := time.Now()
		seen := map[int]bool{}
		for e.State() == engine.Healthy {
			s := e.Status()
			seen[s.Failures] = true
			if want := max(1, 100-25*s.Failures); e.Health() != want {
				t.Fatalf("health %d after %d failures", e.Health(), s.Failures)
			}
			settle(10 * time.Millisecond)
		}
		if took := time.Since(began); !seen[1] || !seen[2] || !seen[3] || took > 8*time.Second {
			t.Errorf("failures seen %v, it took %s", seen, took)
		}
		if s := e.Status(); s.State != engine.Unhealthy || !strings.Contains(s.Err.Error(), "4 probes in a row failed") || !strings.Contains(s.Err.Error(), "refused") {
			t.Errorf("%+v", s)
		}
		if e.Health() != 0 || e.Container("c1") == nil {
			t.Errorf("health %d; what it held is to stay known: %v", e.Health(), e.Container("c1"))
		}
		dials := f.net.Dials()
		settle(5 * time.Minute)
		if n := f.net.Dials() - dials; n > 400 {
			t.Errorf("%d attempts in five minutes: a dead engine is asked too often", n)
		}
		if got := o.States(); got != "Pending>Healthy Healthy>Unhealthy" {
			t.Errorf("states %s", got)
		}
	})
}

func TestProbes_aSingleFailureIsForgotten(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		for range 20 {
			f.fail("GET /_ping", 500, "hiccup")
			for e.Status().Failures < 2 {
				settle(10 * time.Millisecond)
			}
			if err := e.Status().Err; err == nil || err.Error() != "hiccup" {
				t.Fatalf("error %v", err)
			}
			f.on("GET /_ping", nil)
			for e.Status().Failures > 0 {
				settle(10 * time.Millisecond)
			}
			if err := e.Status().Err; err != nil {
				t.Fatalf("error %v after a success", err)
			}
		}
		if got := o.States(); got != "Pending>Healthy" {
			t.Errorf("states %s", got)
		}
	})
}

func TestProbes_findAnEngineThatHangs(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		f.set(func() { f.silent = true })
		began := time.Now()
		for e.State() == engine.Healthy && time.Since(began) < time.Minute {
			settle(50 * time.Millisecond)
		}
		// At most 4.5 s to the first probe, three of 2 s, and the pauses between.
		if took := time.Since(began); took > 12*time.Second {
			t.Errorf("it took %s", took)
		}
		if err := e.Status().Err; err == nil || !strings.Contains(err.Error(), "no answer within 2s") {
			t.Errorf("error %v", err)
		}
	})
}

func TestProbes_manyFailedRequestsAtOnceCondemnNobody(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		for range 50 {
			f.net.Cut(true)
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if resp, err := e.Do(t.Context(), engine.Request{Method: "GET", Path: "/images/json"}); err == nil {
						resp.Body.Close()
						t.Error("a request has come through")
					}
				})
			}
			wg.Wait()
			settle(100 * time.Millisecond)
			f.set(func() { f.net.refuse = false })
			settle(3 * time.Second)
		}
		if got := o.States(); got != "Pending>Healthy" {
			t.Errorf("states %s", got)
		}
	})
}

func TestProbes_aFailedRequestBringsTheProbeForward(t *testing.T) {
	inBubble(t, func(_ *fake, cfg *engine.Config) { cfg.ProbeInterval = time.Hour }, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		settle(time.Second)
		f.fail("GET /_ping", 500, "down")
		f.on("GET /images/json", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		if err := e.Call(t.Context(), engine.Request{Method: "GET", Path: "/images/json"}, nil, nil); err == nil {
			t.Fatal("the call succeeded")
		}
		settle(2 * time.Second)
		if e.State() != engine.Unhealthy {
			t.Errorf("state %s", e.State())
		}
	})
}

func TestRecovery_comesWithARefreshedInventory(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) {
		f.put(fakeContainer{ID: "old"})
		f.put(fakeContainer{ID: "stays", State: "running"})
	}, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		f.net.Cut(true)
		settle(time.Minute)
		if e.State() != engine.Unhealthy {
			t.Fatalf("state %s", e.State())
		}
		// What happened meanwhile nobody tells: the engine has no event of it.
		f.remove("old")
		f.put(fakeContainer{ID: "new"})
		f.put(fakeContainer{ID: "stays", State: "exited"})
		f.set(func() { f.net.refuse = false })
		for e.State() != engine.Healthy {
			settle(time.Millisecond)
		}
		if e.Container("old") != nil || e.Container("new") == nil || e.Container("stays").State.Status != "exited" {
			t.Errorf("at the moment of recovery: %v", e.Containers())
		}
		if got := o.States(); got != "Pending>Healthy Healthy>Unhealthy Unhealthy>Healthy" {
			t.Errorf("states %s", got)
		}
	})
}

func TestRecovery_ofAnUpgradedEngineThatRefusesTheOldVersion(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) { f.low, f.high = "1.24", "1.41" }, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		if got := e.Identity().API.String(); got != "1.41" {
			t.Fatalf("API %s", got)
		}
		f.set(func() { f.low, f.high = "1.44", "1.52" })
		f.net.Cut(false) // the upgrade is so fast that no probe meets it
		settle(15 * time.Second)
		if e.State() != engine.Healthy || e.Identity().API.String() != "1.52" {
			t.Fatalf("%s, API %s: %v", e.State(), e.Identity().API, e.Status().Err)
		}
		f.put(fakeContainer{ID: "c1"})
		f.emit("create", "c1")
		settle(time.Second)
		if e.Container("c1") == nil || f.asked("GET /v1.51/containers/json") == 0 {
			t.Error("events do not come through after the upgrade")
		}
		if got := o.States(); got != "Pending>Healthy" {
			t.Errorf("states %s", got)
		}
	})
}

func TestIdentity_ofAnotherEngineAtTheAddress(t *testing.T) {
	for _, tc := range []struct {
		name string
		down time.Duration
	}{
		{"after a moment", 0},
		{"after an hour", time.Hour},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var ids []string
			inBubble(t, func(f *fake, cfg *engine.Config) {
				cfg.Admit = func(_ *engine.Engine, id *engine.Identity) error {
					ids = append(ids, id.ID)
					return nil
				}
				f.put(fakeContainer{ID: "c1"})
			}, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
				f.net.Cut(true)
				settle(tc.down)
				f.set(func() {
					f.info["ID"], f.info["Name"] = "ENGINE-B", "n2"
					delete(f.containers, "c1")
					f.containers["c2"] = &fakeContainer{ID: "c2", State: "running"}
					f.net.refuse = false
				})
				settle(time.Minute)
				if e.State() != engine.Healthy || e.Identity().ID != "ENGINE-B" || e.Name() != "n2" {
					t.Fatalf("%s, %+v", e.State(), e.Identity())
				}
				if e.Container("c1") != nil || e.Container("c2") == nil || !slices.Equal(o.gone, []string{"c1"}) {
					t.Errorf("containers %v, told gone %v", e.Containers(), o.gone)
				}
				want := "Pending>Healthy Healthy>Pending Pending>Healthy"
				if tc.down > 0 {
					want = "Pending>Healthy Healthy>Unhealthy Unhealthy>Pending Pending>Healthy"
				}
				if got := o.States(); got != want {
					t.Errorf("states %s", got)
				}
				if diff := cmp.Diff([]string{"ENGINE-A", "ENGINE-B"}, ids); diff != "" {
					t.Error(diff)
				}
				for i, s := range o.states {
					if strings.HasSuffix(s, ">Pending") && !strings.Contains(o.errs[i].Error(), "shows up with another ID: ENGINE-B instead of ENGINE-A") {
						t.Errorf("error %v", o.errs[i])
					}
				}
			})
		})
	}
}

func TestIdentity_ofPodmanStaysTheSame(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) {
		f.version["Components"] = []map[string]string{{"Name": "Podman Engine"}, {"Name": "Conmon"}}
		n := 0
		f.hooks["GET /info"] = func(w http.ResponseWriter, _ *http.Request) {
			n++
			writeJSON(w, map[string]any{"ID": fmt.Sprint("made-up-", n), "Name": "n1", "NCPU": 1, "MemTotal": 1, "DockerRootDir": "/var/lib/containers/storage"})
		}
	}, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		settle(time.Hour)
		if got := o.States(); got != "Pending>Healthy" || e.Identity().ID != "podman:n1:/var/lib/containers/storage" {
			t.Errorf("states %s, ID %s", got, e.Identity().ID)
		}
	})
}

func TestIdentity_isReadAgainNowAndThen(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		f.set(func() { f.info["Name"], f.info["Labels"] = "renamed", []string{"rack=b"} })
		f.emitRaw(`{"Type":"daemon","Action":"reload","Actor":{"ID":"ENGINE-A","Attributes":{}}}`)
		settle(time.Second)
		if e.Name() != "renamed" || e.Identity().Labels["rack"] != "b" {
			t.Errorf("after a reload: %+v", e.Identity())
		}
		f.set(func() { f.info["Name"] = "again" })
		settle(6 * time.Minute)
		if e.Name() != "again" || o.States() != "Pending>Healthy" {
			t.Errorf("after six minutes: %s", e.Name())
		}
	})
}

func TestIdentity_clockSkew(t *testing.T) {
	for _, tc := range []struct {
		name string
		off  time.Duration
		want time.Duration
	}{
		{"none", 0, 0},
		{"a second is none", time.Second, 0},
		{"ahead", time.Hour, time.Hour},
		{"behind", -time.Minute, -time.Minute},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(f *fake, _ *engine.Config) {
				f.info["SystemTime"] = time.Now().Add(tc.off).Format(time.RFC3339Nano)
			}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
				if got := e.Identity().Skew; got != tc.want {
					t.Errorf("skew %s", got)
				}
			})
		})
	}
}

// Requests that wait for an engine's answer end when the engine is condemned.
func TestRequests_endEarlyWhenTheEngineStopsAnswering(t *testing.T) {
	wait := map[string]func(*engine.Engine) error{
		"Do": func(e *engine.Engine) error {
			_, err := e.Do(context.Background(), engine.Request{Method: "POST", Path: "/containers/c1/wait"})
			return err
		},
		"Call": func(e *engine.Engine) error {
			return e.Call(context.Background(), engine.Request{Method: "POST", Path: "/containers/c1/stop"}, nil, nil)
		},
		"Hijack": func(e *engine.Engine) error {
			_, err := e.Hijack(context.Background(), engine.Request{Method: "POST", Path: "/containers/c1/attach"})
			return err
		},
	}
	for name, ask := range wait {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
				f.set(func() { f.silent = true })
				errs := make(chan error, 1)
				go func() { errs <- ask(e) }()
				err := <-errs
				var unreachable *engine.UnreachableError
				if !errors.As(err, &unreachable) || err.Error() != "engine n1 (10.0.0.1:2375) cannot be reached: the engine has stopped answering" {
					t.Errorf("error %v", err)
				}
				if e.State() != engine.Unhealthy {
					t.Errorf("state %s", e.State())
				}
			})
		})
	}
}

func TestDo_aBodyThatHasBegunIsNotCutByProbes(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		next := make(chan string)
		f.on("GET /containers/c1/logs", func(w http.ResponseWriter, _ *http.Request) {
			for line := range next {
				fmt.Fprintln(w, line)
				_ = http.NewResponseController(w).Flush()
			}
		})
		go func() { next <- "first" }()
		resp, err := e.Do(t.Context(), engine.Request{Method: "GET", Path: "/containers/c1/logs"})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		f.fail("GET /_ping", 500, "down")
		settle(time.Minute)
		if e.State() != engine.Unhealthy {
			t.Fatalf("state %s", e.State())
		}
		next <- "second"
		close(next)
		if body, err := engine.ReadBody(resp.Body); err != nil || string(body) != "first\nsecond\n" {
			t.Errorf("%q, %v", body, err)
		}
	})
}

func TestMaintenance_isAWishAndSurvivesFailures(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		e.SetMaintenance(true)
		if e.State() != engine.Maintenance || !e.Answers() || e.Health() != 0 {
			t.Errorf("%s, health %d", e.State(), e.Health())
		}
		f.net.Cut(true)
		settle(time.Minute)
		if e.State() != engine.Unhealthy || e.Answers() {
			t.Errorf("while down: %s", e.State())
		}
		f.set(func() { f.net.refuse = false })
		settle(time.Minute)
		if e.State() != engine.Maintenance {
			t.Errorf("when back: %s", e.State())
		}
		e.SetMaintenance(false)
		want := "Pending>Healthy Healthy>Maintenance Maintenance>Unhealthy Unhealthy>Maintenance Maintenance>Healthy"
		if got := o.States(); got != want {
			t.Errorf("states %s", got)
		}
	})
}

func TestMaintenance_wishedForBeforeTheEngineIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.net.Cut(true)
		e, o := start(t, f)
		e.SetMaintenance(true)
		f.set(func() { f.net.refuse = false })
		settle(time.Minute)
		if got := o.States(); got != "Pending>Maintenance" {
			t.Errorf("states %s", got)
		}
	})
}
