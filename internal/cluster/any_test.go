package cluster_test

import (
	"net/http"
	"testing"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// Searches, logins and the like go to any engine that answers, in turns by
// chance; how full it is of containers does not matter.
func TestAnyEngine_isAnyThatAnswers(t *testing.T) {
	engines := make([]*enginetest.Engine, 4)
	for i, ip := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"} {
		engines[i] = enginetest.Start(t, enginetest.Config{Name: "n" + ip[7:], IP: ip, Labels: []string{"containerslots=1"}})
		engines[i].AddContainer(enginetest.Container{Running: true})
	}
	c := enginetest.Cluster(t, fast(), engines...)
	engines[3].Fail("GET", "/_ping", http.StatusInternalServerError, "down")
	enginetest.WaitUnhealthy(t, c, 1)
	if _, err := create(t.Context(), c, "", `{"Image":"busybox"}`); err == nil {
		t.Fatal("an engine has room")
	}
	one, first := map[string]int{}, map[string]int{}
	for range 300 {
		e, err := c.AnyEngine()
		if err != nil {
			t.Fatal(err)
		}
		one[e.Name()]++
		all, err := c.AnyEngines()
		if err != nil || len(all) != 3 {
			t.Fatalf("%d engines, %v", len(all), err)
		}
		first[all[0].Name()]++
	}
	for _, e := range engines[:3] {
		if one[e.Name()] < 40 || first[e.Name()] < 40 {
			t.Errorf("%s was chosen %d times, and first %d times", e.Name(), one[e.Name()], first[e.Name()])
		}
	}
	if one["n4"]+first["n4"] != 0 {
		t.Error("an engine that does not answer was chosen")
	}
}

func TestAnyEngine_whereNoneAnswers(t *testing.T) {
	c := enginetest.Cluster(t, cluster.Config{})
	if _, err := c.AnyEngine(); errText(err) != "No healthy node available in the cluster" {
		t.Errorf("error %v", err)
	}
}
