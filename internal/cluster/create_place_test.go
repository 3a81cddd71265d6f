package cluster_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

func crowdOf(e *enginetest.Engine, n int) {
	for i := range n {
		e.AddContainer(enginetest.Container{Name: fmt.Sprint(e.Name(), "-", i), Image: "busybox", Running: true})
	}
}

func TestCreate_avoidsAnEngineThatFailsNowAndThen(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	crowdOf(engines[1], 500)
	cfg := exactly(t, "spread")
	cfg.ProbeInterval, cfg.FailureRetry = 20*time.Millisecond, 100
	c := enginetest.Cluster(t, cfg, engines...)
	if id, err := create(t.Context(), c, "", `{"Image":"busybox"}`); err != nil || nodeOf(t, c, id) != "n1" {
		t.Fatalf("%v: the first goes to the other", err)
	}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		engines[0].Fail(method, "/_ping", http.StatusInternalServerError, "out of order")
	}
	enginetest.Eventually(t, "the crowded one is preferred", func() bool {
		id, err := create(t.Context(), c, "", `{"Image":"busybox"}`)
		return err == nil && nodeOf(t, c, id) == "n2"
	})
	if status, made := rows(c, engines[0].Address())["Status"], len(engines[0].Containers()); status != "Healthy" || made > 250 {
		t.Errorf("the other is %s and has %d containers", status, made)
	}
}

func TestCreate_countsWhatOthersDoOnAnEngine(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	c := enginetest.Cluster(t, exactly(t, "spread"), engines...)
	if id, err := create(t.Context(), c, "", `{"Image":"busybox"}`); err != nil || nodeOf(t, c, id) != "n1" {
		t.Fatalf("%v: the first goes elsewhere", err)
	}
	var strangers []string
	for i := range 3 {
		strangers = append(strangers, engines[1].AddContainer(enginetest.Container{Name: fmt.Sprint("stranger", i), Image: "busybox"}))
	}
	enginetest.Eventually(t, "they are known", func() bool { _, err := c.Container("stranger2"); return err == nil })
	if id, err := create(t.Context(), c, "", `{"Image":"busybox"}`); err != nil || nodeOf(t, c, id) != "n1" {
		t.Errorf("%v: the second goes where there are three", err)
	}
	for _, id := range strangers {
		engines[1].RemoveContainer(id)
	}
	enginetest.Eventually(t, "they are gone", func() bool { return c.Info().Containers == 2 })
	if id, err := create(t.Context(), c, "", `{"Image":"busybox"}`); err != nil || nodeOf(t, c, id) != "n2" {
		t.Errorf("%v: the third goes where there are two", err)
	}
}

func TestCreate_choosesAmongTheEnginesThatAreThere(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	crowdOf(engines[1], 5)
	c, lists := follow(t, cluster.Config{}, engines...)
	there := func(these ...*enginetest.Engine) {
		addresses := make([]string, len(these))
		for i, e := range these {
			addresses[i] = e.Address()
		}
		lists <- addresses
		enginetest.WaitHealthy(t, c, len(these))
		enginetest.Eventually(t, "the others have left", func() bool { return c.Info().SystemStatus[3][1] == fmt.Sprint(len(these)) })
	}
	for _, step := range []struct {
		engines []*enginetest.Engine
		want    string
	}{
		{engines, "n1"},
		{engines[1:], "n2"},
		{engines, "n1"},
		{engines[:1], "n1"},
	} {
		there(step.engines...)
		if id, err := create(t.Context(), c, "", `{"Image":"busybox"}`); err != nil || nodeOf(t, c, id) != step.want {
			t.Errorf("%d engines: %v, want it on %s", len(step.engines), err, step.want)
		}
	}
}

func TestCreate_findsOutWhereALocalImageIsNow(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	crowdOf(engines[0], 5)
	local := enginetest.Image{Tags: []string{"mine:latest"}}
	engines[0].AddImage(local)
	c := enginetest.Cluster(t, exactly(t, "spread"), engines...)
	made := func() string {
		id, err := create(t.Context(), c, "", `{"Image":"mine"}`)
		if err != nil {
			t.Fatal(err)
		}
		return nodeOf(t, c, id)
	}
	if at := made(); at != "n1" {
		t.Errorf("made on %s, and only n1 has the image", at)
	}
	engines[2].AddImage(local)
	enginetest.Eventually(t, "the image is known there, too", func() bool { return made() == "n3" })
	engines[1].AddImage(local)
	enginetest.Eventually(t, "it is known on all", func() bool { return made() == "n2" })
}

func TestRemove_isSeenAtOnceAndAsksNoMore(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	withBusybox(e)
	c := enginetest.Cluster(t, cluster.Config{}, e)
	id, err := create(t.Context(), c, "web", `{"Image":"busybox"}`)
	if err != nil {
		t.Fatal(err)
	}
	e.Fail(http.MethodGet, "/containers/json", http.StatusInternalServerError, "it is not needed")
	if err := c.Remove(t.Context(), id, nil); err != nil {
		t.Fatal(err)
	}
	if found, err := c.Container("web"); err == nil {
		t.Errorf("%s is still found", found.Name())
	}
}

func TestRemove_ofALinkLeavesTheContainer(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	withBusybox(e)
	c := enginetest.Cluster(t, cluster.Config{}, e)
	if _, err := create(t.Context(), c, "web", `{"Image":"busybox"}`); err != nil {
		t.Fatal(err)
	}
	e.Handle(http.MethodDelete, "/containers/{name}", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	if err := c.Remove(t.Context(), "web", url.Values{"link": {"1"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Container("web"); err != nil {
		t.Error(err)
	}
}

// BenchmarkCreate makes and removes containers. The engines are in this
// process, so the figure says how creates compare, not what skep adds.
func BenchmarkCreate(b *testing.B) {
	for _, n := range []int{10, 100} {
		b.Run(fmt.Sprintf("engines=%d", n), func(b *testing.B) {
			engines := enginetest.StartMany(b, n)
			withBusybox(engines...)
			for _, e := range engines {
				crowdOf(e, 30)
			}
			c := enginetest.Cluster(b, cluster.Config{ProbeInterval: time.Hour, RefreshMin: time.Hour}, engines...)
			b.ReportAllocs()
			for b.Loop() {
				id, err := create(b.Context(), c, "", `{"Image":"busybox"}`)
				if err == nil {
					err = c.Remove(b.Context(), id, nil)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
