// The race detector of Go 1.26 crashes on timers inside a synctest bubble
// (fixed in Go 1.27), so these tests stay out of the race run.
//go:build !race

package engine_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/engine"
)

func TestInventory_inspectsABoundedNumberAtATime(t *testing.T) {
	for _, tc := range []struct {
		name        string
		limit, want int
	}{
		{"of one engine", 0, 8},
		{"over all engines that share a limit", 3, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(f *fake, cfg *engine.Config) {
				if tc.limit > 0 {
					cfg.Inspects = engine.NewLimiter(tc.limit)
				}
				f.gate = func() { time.Sleep(time.Second) }
				for i := range 40 {
					f.put(fakeContainer{ID: fmt.Sprint("c", i)})
				}
			}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
				settle(30 * time.Second)
				if n := len(e.Containers()); n != 40 || f.mostInspect != tc.want {
					t.Errorf("%d containers, %d inspects at once", n, f.mostInspect)
				}
			})
		})
	}
}

func TestInventory_inspectsAgainOnlyWhatHasChanged(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) {
		f.put(fakeContainer{ID: "c1", Status: "Up 1 second"})
		f.put(fakeContainer{ID: "c2", Status: "Up 1 second (health: starting)"})
		f.put(fakeContainer{ID: "c3", Status: "Exited (0) 1 second ago", State: "exited"})
	}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		inspects := func() string {
			var out []string
			f.set(func() {
				for _, r := range f.requests {
					if _, id, ok := strings.Cut(r, "/containers/"); ok && strings.HasSuffix(id, "/json") {
						out = append(out, strings.TrimSuffix(id, "/json"))
					}
				}
				f.requests = nil
			})
			slices.Sort(out)
			return strings.Join(out, " ")
		}
		inspects()
		refresh := func() {
			if err := e.RefreshAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		f.set(func() {
			f.containers["c1"].Status = "Up About an hour"
			f.containers["c2"].Status = "Up 3 hours (health: starting)"
			f.containers["c3"].Status = "Exited (0) 5 days ago"
		})
		refresh()
		if got := inspects(); got != "" {
			t.Errorf("inspected %s though only the time has changed", got)
		}
		f.set(func() {
			f.containers["c2"].Status = "Up 3 hours (unhealthy)"
			f.containers["c3"].Status = "Exited (137) 5 days ago"
		})
		refresh()
		if got := inspects(); got != "c2 c3" {
			t.Errorf("inspected %q, not those whose health and exit code have changed", got)
		}
	})
}

func TestInventory_aContainerThatVanishesMeanwhileIsLeftOut(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) {
		f.put(fakeContainer{ID: "c1"})
		f.put(fakeContainer{ID: "c2"})
		f.hooks["GET /containers/c1/json"] = func(w http.ResponseWriter, _ *http.Request) {
			f.remove("c1")
			f.inspect(w, "c1")
		}
	}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		if e.State() != engine.Healthy || e.Container("c1") != nil || e.Container("c2") == nil {
			t.Errorf("%s, %v, %v", e.State(), e.Containers(), e.Status().Err)
		}
	})
}

func TestInventory_aContainerThatCannotBeInspectedHidesNoOther(t *testing.T) {
	for _, tc := range []struct{ name, answer string }{
		{"an error", ""},
		{"no JSON", "oops"},
		{"types that we do not know", `{"State":{"StartedAt":"yesterday"}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(f *fake, _ *engine.Config) {
				f.put(fakeContainer{ID: "c1", Name: "broken", State: "exited"})
				f.put(fakeContainer{ID: "c2"})
				f.hooks["GET /containers/c1/json"] = func(w http.ResponseWriter, _ *http.Request) {
					if tc.answer == "" {
						http.Error(w, `{"message":"RWLayer of container c1 is unexpectedly nil"}`, http.StatusInternalServerError)
					}
					fmt.Fprint(w, tc.answer)
				}
			}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
				c := e.Container("c1")
				if e.State() != engine.Healthy || e.Container("c2") == nil || c == nil || c.Name() != "broken" || c.State.Status != "exited" || c.State.Running {
					t.Fatalf("%s, %+v", e.State(), c)
				}
				// Once it can be inspected the next refresh does so, though the
				// list says the same.
				f.set(func() { delete(f.hooks, "GET /containers/c1/json"); f.containers["c1"].Memory = 5 })
				settle(2 * time.Minute)
				if got := memoryOf(e, "c1"); got != 5 {
					t.Errorf("memory %d", got)
				}
			})
		})
	}
}

func TestRefresh_showsOnesOwnWrites(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) { f.put(fakeContainer{ID: "c1"}) }, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		for i := range int64(20) {
			f.put(fakeContainer{ID: "c1", Memory: i}) // as `docker update`: the list does not show it
			if err := e.RefreshContainer(t.Context(), "c1"); err != nil || memoryOf(e, "c1") != i {
				t.Fatalf("memory %d after it was set to %d, error %v", memoryOf(e, "c1"), i, err)
			}
		}
		f.remove("c1")
		if err := e.RefreshContainer(t.Context(), "c1"); err != nil || e.Container("c1") != nil {
			t.Errorf("after its removal: %v, %v", e.Container("c1"), err)
		}
		f.set(func() { f.images = []string{"new:1"} })
		if err := e.RefreshImages(t.Context()); err != nil || e.Images().ByRef("new:1") == nil {
			t.Errorf("images %v, %v", e.Images(), err)
		}
	})
}

// The answer to an earlier question comes after that to a later one.
func TestRefresh_aLateAnswerOverwritesNothing(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) {
		f.put(fakeContainer{ID: "c1", Memory: 1})
	}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		first := true
		f.gate = func() {
			f.mu.Lock()
			slow := first
			first = false
			f.mu.Unlock()
			if slow {
				time.Sleep(10 * time.Second) // with what it has seen already, see below
			}
		}
		f.on("GET /containers/c1/json", func(w http.ResponseWriter, _ *http.Request) {
			f.mu.Lock()
			memory := f.containers["c1"].Memory
			f.mu.Unlock()
			f.gate()
			fmt.Fprintf(w, `{"Name":"/web","HostConfig":{"Memory":%d}}`, memory)
		})
		var wg sync.WaitGroup
		wg.Go(func() { _ = e.RefreshContainer(t.Context(), "c1") })
		settle(time.Second)
		f.put(fakeContainer{ID: "c1", Memory: 2})
		if err := e.RefreshContainer(t.Context(), "c1"); err != nil || memoryOf(e, "c1") != 2 {
			t.Fatalf("memory %d, %v", memoryOf(e, "c1"), err)
		}
		wg.Wait()
		if got := memoryOf(e, "c1"); got != 2 {
			t.Errorf("memory %d: the late answer has won", got)
		}
	})
}

// A question that was asked before the engine left is answered after it.
func TestRefresh_aLateAnswerFillsNoInventoryThatWasEmptied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t)
		f.put(fakeContainer{ID: "c1"})
		e, o, stop := startStoppable(t, f)
		f.fail("GET /_ping", 500, "down")
		settle(time.Minute)
		if e.State() != engine.Unhealthy {
			t.Fatal(e.State()) // else the question would end with the engine
		}
		f.set(func() { f.gate = func() { time.Sleep(5 * time.Second) } })
		errs := make(chan error, 1)
		go func() { errs <- e.RefreshContainer(t.Context(), "c1") }()
		settle(time.Second)
		stop()
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
		if len(e.Containers()) != 0 || o.put[len(o.put)-1] != "c1" || len(o.put) != 1 {
			t.Errorf("containers %v, told %v", e.Containers(), o.put)
		}
	})
}

func TestEvents_driveTheInventory(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) { f.put(fakeContainer{ID: "c1"}) }, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		began := time.Now()
		f.put(fakeContainer{ID: "c2"})
		f.emit("create", "c2")
		settle(10 * time.Millisecond)
		if e.Container("c2") == nil {
			t.Error("created, not there")
		}
		f.put(fakeContainer{ID: "c1", Memory: 7})
		f.emit("update", "c1")
		settle(10 * time.Millisecond)
		if memoryOf(e, "c1") != 7 {
			t.Error("updated, not seen")
		}
		f.remove("c2")
		f.emit("destroy", "c2")
		settle(10 * time.Millisecond)
		if e.Container("c2") != nil {
			t.Error("destroyed, still there")
		}
		f.set(func() { f.images = []string{"busybox:latest"} })
		f.emitRaw(`{"Type":"image","Action":"pull","Actor":{"ID":"busybox:latest"}}`)
		f.put(fakeContainer{ID: "c1", Memory: 8})
		f.emitRaw(`{"Type":"network","Action":"connect","Actor":{"ID":"net1","Attributes":{"container":"c1"}}}`)
		settle(10 * time.Millisecond)
		if e.Images().ByRef("busybox:latest") == nil || memoryOf(e, "c1") != 8 {
			t.Error("image or network event without an effect")
		}
		if time.Since(began) > time.Second {
			t.Error("it took too long")
		}
		before := f.asked("GET /")
		for _, action := range []string{"exec_create: sh", "exec_start: sh", "exec_die", "top", "attach", "resize", "archive-path"} {
			f.emit(action, "c1")
		}
		settle(10 * time.Millisecond)
		if n := f.asked("GET /") - before; n != 0 {
			t.Errorf("%d requests for events that change nothing", n)
		}
		if got := len(o.Actions()); got != 12 {
			t.Errorf("%d events passed on: %v", got, o.Actions())
		}
	})
}

func TestEvents_aBurstCostsFewRequests(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		f.set(func() { f.requests = nil })
		f.on("GET /containers/json", func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(100 * time.Millisecond)
			f.list(w, r)
		})
		for i := range 1000 {
			id := fmt.Sprint("c", i)
			f.put(fakeContainer{ID: id})
			f.emit("create", id)
			f.emit("start", id)
		}
		settle(5 * time.Second)
		if n := len(e.Containers()); n != 1000 {
			t.Errorf("%d containers", n)
		}
		lists := 0
		for _, r := range f.requests {
			if strings.Contains(r, "/containers/json") {
				lists++
			}
			if len(r) > 64<<10 {
				t.Errorf("a request's first line has %d bytes", len(r))
			}
		}
		if lists > 12 {
			t.Errorf("%d lists for 2000 events", lists)
		}
	})
}

func event(action, id string, at time.Time) string {
	return fmt.Sprintf(`{"Type":"container","Action":%q,"Actor":{"ID":%q,"Attributes":{"name":"x"}},"time":%d,"timeNano":%d}`,
		action, id, at.Unix(), at.UnixNano())
}

func TestEvents_aBrokenStreamIsResumedWithoutLossOrDoubles(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		var want []string
		for i := range 30 {
			before, between, after := fmt.Sprint("before", i), fmt.Sprint("between", i), fmt.Sprint("after", i)
			f.emitRaw(event("start", before, time.Now()))
			settle(time.Duration(i*20) * time.Millisecond)
			f.net.Cut(false)
			f.happen(event("start", between, time.Now()))
			settle(time.Duration(i*300) * time.Millisecond)
			for f.listening() == 0 {
				settle(10 * time.Millisecond)
			}
			f.emitRaw(event("start", after, time.Now()))
			settle(10 * time.Millisecond)
			want = append(want, "start:"+before, "start:"+between, "start:"+after)
		}
		if diff := cmp.Diff(want, o.Actions()); diff != "" {
			t.Error(diff)
		}
		if got := o.States(); got != "Pending>Healthy" {
			t.Errorf("states %s", got)
		}
	})
}

func TestEvents_afterABreakTheInventoryIsReadWhole(t *testing.T) {
	inBubble(t, func(f *fake, cfg *engine.Config) {
		cfg.RefreshMin, cfg.RefreshMax = time.Hour, time.Hour
	}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		f.net.Cut(false)
		f.put(fakeContainer{ID: "c1"}) // and no event of it
		f.set(func() { f.images = []string{"a:1"} })
		settle(10 * time.Second)
		if e.Container("c1") == nil || e.Images().ByRef("a:1") == nil {
			t.Errorf("containers %v, images %v", e.Containers(), e.Images().All)
		}
	})
}

func TestEvents_areResumedByTheEnginesClock(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) {
		f.info["SystemTime"] = time.Now().Add(-time.Hour).Format(time.RFC3339Nano)
	}, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		first := time.Now().Add(-time.Hour)
		f.emitRaw(event("start", "c1", first))
		settle(10 * time.Second)
		f.net.Cut(false)
		f.happen(event("start", "c2", first.Add(10*time.Second)))
		settle(10 * time.Second)
		if diff := cmp.Diff([]string{"start:c1", "start:c2"}, o.Actions()); diff != "" {
			t.Error(diff)
		}
		// The last break asked from two seconds before the last event on.
		f.mu.Lock()
		defer f.mu.Unlock()
		var since []string
		for _, r := range f.requests {
			if u, _ := url.Parse(strings.TrimPrefix(r, "GET ")); strings.HasSuffix(u.Path, "/events") {
				since = append(since, u.Query().Get("since"))
			}
		}
		last := first.Add(-2 * time.Second)
		if want := strconv.FormatInt(last.Unix(), 10) + fmt.Sprintf(".%09d", last.Nanosecond()); since[len(since)-1] != want {
			t.Errorf("resumed since %v, want %s", since, want)
		}
	})
}

func TestEvents_aLineThatIsNoneEndsNothing(t *testing.T) {
	inBubble(t, func(f *fake, cfg *engine.Config) {
		cfg.RefreshMin, cfg.RefreshMax = time.Hour, time.Hour
	}, func(t *testing.T, f *fake, e *engine.Engine, o *recorder) {
		f.emitRaw("no JSON")
		f.emitRaw(`{"Type":"container","Actor":{"Attributes":{"x":1}}}`)
		f.emitRaw("")
		long := strings.Repeat("x", 3<<20)
		f.emitRaw(fmt.Sprintf(`{"Type":"container","Action":"create","Actor":{"ID":"c0","Attributes":{"big":%q}}}`, long))
		f.put(fakeContainer{ID: "c0"})
		f.put(fakeContainer{ID: "c1"})
		f.emit("create", "c1")
		settle(5 * time.Second)
		if diff := cmp.Diff([]string{"create:c1"}, o.Actions()); diff != "" {
			t.Error(diff)
		}
		if e.Container("c0") == nil || e.Container("c1") == nil {
			t.Errorf("containers %v: what a line would have told is to be read", e.Containers())
		}
		if n := f.asked("GET /v1.44/events"); n != 1 {
			t.Errorf("the stream was opened %d times", n)
		}
	})
}

func TestRefresher_whatFailsHoldsUpNothingElse(t *testing.T) {
	inBubble(t, func(f *fake, cfg *engine.Config) {
		cfg.RefreshMin, cfg.RefreshMax = time.Hour, time.Hour
	}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		f.fail("GET /images/json", 500, "images are broken")
		f.emitRaw(`{"Type":"image","Action":"pull","Actor":{"ID":"x"}}`)
		settle(3 * time.Second)
		f.gate = func() { time.Sleep(50 * time.Millisecond) } // slower than the failure
		asked := f.asked("GET /v1.44/images/json")
		for i := range 20 {
			id := fmt.Sprint("c", i)
			f.put(fakeContainer{ID: id})
			f.emit("create", id)
			settle(time.Second)
			if e.Container(id) == nil {
				t.Fatalf("%s is not there: a broken list of images holds up the containers", id)
			}
		}
		if n := f.asked("GET /v1.44/images/json") - asked; n < 1 || n > 6 {
			t.Errorf("asked %d times for images in 20 s", n)
		}
		f.on("GET /images/json", nil)
		f.set(func() { f.images = []string{"x:1"} })
		settle(time.Minute)
		if e.Images().ByRef("x:1") == nil {
			t.Error("what failed is not tried again")
		}
	})
}

func TestRefresher_aMarkIsNotLostInAFullRefresh(t *testing.T) {
	inBubble(t, func(f *fake, cfg *engine.Config) {
		f.put(fakeContainer{ID: "c1"})
	}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		// The stream breaks, and the engine tells of a change that its list
		// does not show: the full refresh alone would not find it.
		f.net.Cut(false)
		f.put(fakeContainer{ID: "c1", Memory: 9})
		f.happen(event("update", "c1", time.Now()))
		settle(10 * time.Second)
		if got := memoryOf(e, "c1"); got != 9 {
			t.Errorf("memory %d", got)
		}
	})
}

func TestPastEvents(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		for i := range 20000 {
			f.happen(event("start", fmt.Sprint("c", i), time.Now()))
		}
		f.on("GET /events", func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			for _, line := range f.events {
				fmt.Fprintln(w, line)
			}
		})
		events, err := e.PastEvents(t.Context(), url.Values{"since": {"0"}, "until": {"1"}})
		if err != nil || len(events) != 8192 || events[8191].Actor.ID != "c19999" || events[0].Actor.ID != "c11808" {
			t.Errorf("%d events, %v", len(events), err)
		}
		if !json.Valid(events[0].Raw) {
			t.Errorf("raw %s", events[0].Raw)
		}
	})
}
