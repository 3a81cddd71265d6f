package cluster_test

import (
	"strings"
	"testing"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

func TestStats_countEnginesAndContainersByState(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	c := enginetest.Cluster(t, cluster.Config{}, engines...)
	if s := c.Stats(); s.Engines["Healthy"] != 2 || s.Engines["Unhealthy"] != 0 || s.Containers["running"] != 0 {
		t.Errorf("%+v", s)
	}
	for range 3 {
		engines[0].AddContainer(enginetest.Container{Image: "x"})
	}
	enginetest.Eventually(t, "containers are counted", func() bool {
		s := c.Stats()
		return s.Containers["running"]+s.Containers["paused"]+s.Containers["stopped"] == 3
	})
	if s := c.Stats(); s.Reservations != 0 || s.EventListeners != 0 || s.EventsQueued != 0 {
		t.Errorf("%+v", s)
	}
}

func TestListRefresh_readsTheEnginesThatAListIsToBeFreshOf(t *testing.T) {
	for _, tc := range []struct {
		name    string
		refresh cluster.ListRefresh
		filter  apifilter.Args
		want    [2]bool // which engines are read again
	}{
		{"not unless it is asked for", cluster.ListRefresh{}, apifilter.New("node=engine1"), [2]bool{}},
		{"the engine of the node filter", cluster.ListRefresh{ByNode: true}, apifilter.New("node=x"), [2]bool{true, false}},
		{"no engine without a node filter", cluster.ListRefresh{ByNode: true}, apifilter.New("name=web"), [2]bool{}},
		{"all engines for the name", cluster.ListRefresh{Name: "web"}, apifilter.New("name=web"), [2]bool{true, true}},
		{"none for another name", cluster.ListRefresh{Name: "web"}, apifilter.New("name=web2"), [2]bool{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			engines := enginetest.StartMany(t, 2)
			c := enginetest.Cluster(t, cluster.Config{ListRefresh: tc.refresh}, engines...)
			filter := tc.filter
			if filter.Contains("node") {
				filter = filter.Without("node").With("node", engines[0].Name())
			}
			before := [2]int{reads(engines[0]), reads(engines[1])}
			if _, err := listJSON(c, cluster.ListOptions{All: true, Filters: filter}); err != nil {
				t.Fatal(err)
			}
			for i, e := range engines {
				if again := reads(e) > before[i]; again != tc.want[i] {
					t.Errorf("engine %d: read again: %v, want %v", i, again, tc.want[i])
				}
			}
		})
	}
}

func reads(e *enginetest.Engine) (n int) {
	for _, r := range e.Requests("") {
		if strings.Contains(r, "/containers/json") {
			n++
		}
	}
	return n
}
