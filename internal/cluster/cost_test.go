package cluster_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// crowd is two engines with n containers each, in a cluster that does nothing
// by itself for an hour.
func crowd(t *testing.T, n int) *cluster.Cluster {
	t.Helper()
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	for _, e := range engines {
		for i := range n {
			e.AddContainer(enginetest.Container{Name: fmt.Sprint(e.Name(), "-web-", i), Image: "busybox", Running: true})
		}
	}
	cfg := exactly(t, "spread")
	cfg.ProbeInterval, cfg.RefreshMin = time.Hour, time.Hour
	return enginetest.Cluster(t, cfg, engines...)
}

// allocated is how many bytes a call of do allocates: the least of some calls,
// as others may allocate meanwhile.
func allocated(do func()) uint64 {
	do() // what is made once
	least := uint64(math.MaxUint64)
	for range 20 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// What is asked of one container, or of engines, must not walk over all
// containers. Walking means copying them here, so the bytes tell.
func TestCost_doesNotGrowWithTheContainers(t *testing.T) {
	few, many := crowd(t, 10), crowd(t, 1000)
	refused := errors.New("no error")
	for name, ask := range map[string]func(*cluster.Cluster) error{
		"to find one by its name": func(c *cluster.Cluster) error { _, err := c.Container("n1-web-7"); return err },
		"to find one by NODE/name": func(c *cluster.Cluster) error {
			_, err := c.Container("n2/n2-web-7")
			return err
		},
		"to find one by its ID": func(c *cluster.Cluster) error {
			found, err := c.Container("n1-web-7")
			if err == nil {
				_, err = c.Container(found.ID)
			}
			return err
		},
		"to find one by the beginning of its ID": func(c *cluster.Cluster) error {
			found, err := c.Container("n1-web-7")
			if err == nil {
				_, err = c.Container(found.ID[:11])
			}
			return err
		},
		"to know that a name is taken": func(c *cluster.Cluster) error {
			if _, err := create(t.Context(), c, "n1-web-7", `{"Image":"busybox"}`); err == nil {
				return refused
			}
			return nil
		},
		"to know that no engine will do": func(c *cluster.Cluster) error {
			if _, err := create(t.Context(), c, "new", `{"Image":"busybox","Env":["constraint:rack==z"]}`); err == nil {
				return refused
			}
			return nil
		},
		"to know that no engine has room": func(c *cluster.Cluster) error {
			if _, err := create(t.Context(), c, "new", `{"Image":"busybox","HostConfig":{"Memory":1099511627776}}`); err == nil {
				return refused
			}
			return nil
		},
		"to tell info":  func(c *cluster.Cluster) error { c.Info(); return nil },
		"to choose any": func(c *cluster.Cluster) error { _, err := c.AnyEngine(); return err },
		"to list the last": func(c *cluster.Cluster) error {
			_, err := c.List(t.Context(), cluster.ListOptions{Limit: 3})
			return err
		},
		"to find an exec": func(c *cluster.Cluster) error {
			on, err := c.AnyEngine()
			if err == nil {
				c.RememberExec(id64("e"), on)
				_, err = c.ExecEngine(t.Context(), id64("e"))
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			var failed error
			cost := func(c *cluster.Cluster) uint64 {
				return allocated(func() {
					if err := ask(c); err != nil {
						failed = err
					}
				})
			}
			a, b := cost(few), cost(many)
			if failed != nil {
				t.Fatal(failed)
			}
			if b > a+a/2+2048 {
				t.Errorf("%d bytes among 20 containers, %d among 2000", a, b)
			}
		})
	}
}

// A create asks the engine that it goes to, and no other one.
func TestCost_ofACreateIsRequestsToOneEngine(t *testing.T) {
	engines := enginetest.StartMany(t, 5)
	withBusybox(engines...)
	c := enginetest.Cluster(t, cluster.Config{ProbeInterval: time.Hour, RefreshMin: time.Hour}, engines...)
	before := map[string]int{}
	for _, e := range engines {
		before[e.Name()] = len(e.Requests(""))
	}
	if _, err := create(t.Context(), c, "web", `{"Image":"busybox"}`); err != nil {
		t.Fatal(err)
	}
	on := nodeOf(t, c, "web")
	for _, e := range engines {
		asked := slices.DeleteFunc(e.Requests("")[before[e.Name()]:], func(r string) bool {
			return r == "GET /images/json?all=1" // it has told of its new image
		})
		if e.Name() != on && len(asked) != 0 || len(asked) > 6 {
			t.Errorf("%s was asked %q for a container on %s", e.Name(), asked, on)
		}
	}
}

// An engine that comes back is read again; its containers are not looked for on
// all others one by one.
func TestCost_ofAnEngineThatReturnsIsItsOwnInventory(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	for _, e := range engines {
		for i := range 50 {
			e.AddContainer(enginetest.Container{Name: fmt.Sprint(e.Name(), "-", i), Image: "busybox", Running: true, Labels: policy(fmt.Sprintf("%s%02x", e.Name()[1:], i))})
		}
	}
	cfg := moving()
	cfg.RefreshMin, cfg.RescheduleAfter = time.Hour, time.Hour
	c := enginetest.Cluster(t, cfg, engines...)
	recorded(t, cfg, 150) // what it takes to move them, which is asked once
	engines[0].Fail("GET", "/_ping", 500, "down")
	enginetest.WaitUnhealthy(t, c, 1)
	asked := func(e *enginetest.Engine) int { return -len(e.Requests("GET /_ping")) + len(e.Requests("")) }
	before := []int{asked(engines[1]), asked(engines[2])}
	engines[0].Handle("GET", "/_ping", nil)
	enginetest.WaitHealthy(t, c, 3)
	for i, e := range engines[1:] {
		if n := asked(e) - before[i]; n > 2 {
			t.Errorf("%s was asked %d things", e.Name(), n)
		}
	}
	for _, e := range engines {
		if n := len(e.Requests("DELETE ")); n != 0 || len(e.Containers()) != 50 {
			t.Errorf("%d removals on %s", n, e.Name())
		}
	}
}
