// The race detector of Go 1.26 crashes on timers inside a synctest bubble
// (fixed in Go 1.27), so these tests stay out of the race run.
//go:build !race

package engine_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/skep/skep/internal/engine"
)

func TestEvents_ofWhatHasBeenReadSinceAskNothing(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		asked := func() int { return f.asked("GET /v1.44/containers/") + f.asked("GET /v1.44/volumes") }

		before := asked()
		f.put(fakeContainer{ID: "c1", State: "created"})
		f.emit("create", "c1")
		settle(time.Millisecond) // the event is there before the answer to the create
		if err := e.RefreshContainer(t.Context(), "c1"); err != nil {
			t.Fatal(err)
		}
		settle(time.Second)
		if n := asked() - before; n != 2 || e.Container("c1") == nil {
			t.Errorf("a create led to %d requests, want a list and an inspect", n)
		}

		before = asked()
		f.remove("c1")
		f.emit("destroy", "c1")
		settle(time.Millisecond)
		e.ForgetContainer("c1")
		settle(time.Second)
		if n := asked() - before; n != 0 || e.Container("c1") != nil {
			t.Errorf("a removal that the engine has confirmed led to %d requests", n)
		}

		// The event may be late, too.
		f.put(fakeContainer{ID: "c2", State: "created"})
		if err := e.RefreshContainer(t.Context(), "c2"); err != nil {
			t.Fatal(err)
		}
		before = asked()
		f.emit("create", "c2")
		settle(time.Second)
		f.remove("c2")
		e.ForgetContainer("c2")
		f.emit("destroy", "c2")
		settle(time.Second)
		if n := asked() - before; n != 0 || e.Container("c2") != nil {
			t.Errorf("late events led to %d requests", n)
		}
	})
}

func TestEvents_ofWhatNobodyHasReadAreReadSoon(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		f.put(fakeContainer{ID: "c1", State: "created"})
		f.emit("create", "c1")
		settle(50 * time.Millisecond)
		if e.Container("c1") == nil {
			t.Fatal("a container that was made behind skep's back is not shown")
		}
		f.put(fakeContainer{ID: "c1", State: "running"})
		f.emit("start", "c1")
		settle(50 * time.Millisecond)
		if !e.Container("c1").State.Running {
			t.Error("its start is not shown")
		}
		f.remove("c1")
		f.emit("destroy", "c1")
		settle(50 * time.Millisecond)
		if e.Container("c1") != nil {
			t.Error("its end is not shown")
		}
	})
}

// An answer to a question from before the removal must not bring it back.
func TestForgetContainer_isNotUndoneByAnEarlierAnswer(t *testing.T) {
	inBubble(t, func(f *fake, _ *engine.Config) { f.put(fakeContainer{ID: "c1"}) },
		func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
			f.set(func() { f.gate = func() { time.Sleep(time.Second) } })
			done := make(chan error, 1)
			go func() { done <- e.RefreshContainer(t.Context(), "c1") }()
			settle(500 * time.Millisecond) // it has been listed, and is being inspected
			e.ForgetContainer("c1")
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if e.Container("c1") != nil {
				t.Error("it is back")
			}
		})
}

// Nor may one to the question that its creation has led to.
func TestEvents_aContainerThatWasRemovedWhileItWasReadIsGone(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		f.set(func() { f.gate = func() { time.Sleep(time.Second) } })
		f.put(fakeContainer{ID: "c1", State: "created"})
		f.emit("create", "c1")
		settle(500 * time.Millisecond) // it is being read
		f.remove("c1")
		f.emit("destroy", "c1")
		settle(5 * time.Second)
		if e.Container("c1") != nil {
			t.Error("it is shown")
		}
	})
}

func TestVolumes_areReadWhenAContainerComesOrGoesThatHasSome(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		read := func() int { return f.asked("GET /v1.44/volumes") }
		for _, tc := range []struct {
			name, id, mounts string
			want             int // more lists of volumes, each time
		}{
			{"none", "c1", `[]`, 0},
			{"a path of the host", "c2", `[{"Type":"bind","Source":"/etc"}]`, 0},
			{"a volume without a name", "c3", `[{"Type":"volume","Name":"0123"}]`, 1},
		} {
			f.on("GET /containers/json", func(w http.ResponseWriter, r *http.Request) {
				f.mu.Lock()
				there := f.containers[tc.id] != nil
				f.mu.Unlock()
				list := []map[string]any{}
				if there {
					list = append(list, map[string]any{"Id": tc.id, "Names": []string{"/web"}, "State": "created", "Mounts": json.RawMessage(tc.mounts)})
				}
				writeJSON(w, list)
			})
			before := read()
			f.put(fakeContainer{ID: tc.id, Name: "web", State: "created"})
			f.emit("create", tc.id)
			settle(time.Second)
			if n := read() - before; n != tc.want {
				t.Errorf("%s: %d lists when it came, want %d", tc.name, n, tc.want)
			}
			before = read()
			f.remove(tc.id)
			f.emit("destroy", tc.id)
			settle(time.Second)
			if n := read() - before; n != tc.want {
				t.Errorf("%s: %d lists when it went, want %d", tc.name, n, tc.want)
			}
		}
	})
}

func TestHealth_isToldWithinAState(t *testing.T) {
	told := make(chan int, 100)
	inBubble(t, func(f *fake, cfg *engine.Config) {
		cfg.FailureRetry = 10
		cfg.Observer = healthObserver{cfg.Observer, told}
	}, func(t *testing.T, f *fake, e *engine.Engine, _ *recorder) {
		for len(told) > 0 {
			<-told
		}
		for _, method := range []string{"GET", "HEAD"} {
			f.fail(method+" /_ping", http.StatusInternalServerError, "out of order")
		}
		settle(4 * time.Second)
		if e.Health() == 100 || e.State() != engine.Healthy {
			t.Fatalf("health %d, %s", e.Health(), e.State())
		}
		last := -1
		for len(told) > 0 {
			last = <-told
		}
		if last != e.Health() {
			t.Errorf("health is %d, and what was told last is %d", e.Health(), last)
		}
		for _, method := range []string{"GET", "HEAD"} {
			f.on(method+" /_ping", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "OK") })
		}
		settle(10 * time.Second)
		for len(told) > 0 {
			last = <-told
		}
		if last != 100 {
			t.Errorf("it is well again, and what was told last is %d", last)
		}
	})
}

// healthObserver notes an engine's health whenever something is told of it.
type healthObserver struct {
	engine.Observer
	told chan int
}

func (o healthObserver) EngineObjects(e *engine.Engine) {
	o.Observer.EngineObjects(e)
	o.told <- e.Health()
}
