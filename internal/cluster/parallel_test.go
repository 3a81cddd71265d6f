package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/enginetest"
)

// All that users may ask, from many at once, while engines come and go and tell
// of changes: it is for the race detector. Errors are to be expected of a
// cluster that changes so; in the end it knows what is there.
func TestCluster_everythingAtOnce(t *testing.T) {
	engines := enginetest.StartMany(t, 4)
	withBusybox(engines...)
	for i, e := range engines {
		for j := range 5 {
			e.AddContainer(enginetest.Container{Name: fmt.Sprintf("old-%d-%d", i, j), Image: "busybox", Running: true})
		}
	}
	c, lists := follow(t, cluster.Config{}, engines...)
	lists <- addresses(engines...)
	enginetest.WaitHealthy(t, c, len(engines))

	ask := func(ctx context.Context, worker, round int) {
		name := fmt.Sprintf("new-%d-%d", worker, round)
		_, _ = create(ctx, c, name, `{"Image":"busybox","HostConfig":{"Memory":1024}}`)
		if found, err := c.Container(name); err == nil {
			_ = found.Engine.Call(ctx, engine.Request{Method: http.MethodPost, Path: "/containers/" + found.ID + "/start"}, nil, nil)
			c.Refresh(ctx, found.Engine, found.ID)
			_, _, _ = found.FullName(), found.State.Running, found.Labels
			c.RememberExec(id64(fmt.Sprint(worker, round)), found.Engine)
		}
		_, _ = c.ExecEngine(ctx, id64(fmt.Sprint(worker, round)))
		_, _ = c.Inspect(ctx, name, nil, apiversion.Max)
		_, _ = c.List(ctx, cluster.ListOptions{All: true, Filters: apifilter.New("ancestor=busybox")})
		_ = c.Rename(ctx, name, name+"-x")
		_, _, _, _ = c.Info(), c.Stats(), c.APIVersion(), c.BuilderVersion(ctx)
		_, _ = c.CreateNetwork(ctx, fmt.Appendf(nil, `{"Name":%q}`, name), apiversion.Max)
		_, _ = c.InspectNetwork(ctx, name, nil, apiversion.Max)
		_ = c.RemoveNetwork(ctx, name)
		_, _ = c.CreateVolume(ctx, fmt.Appendf(nil, `{"Name":%q}`, name), apiversion.Max)
		_, _ = c.ListVolumes(apifilter.Args{})
		_ = c.RemoveVolume(ctx, name, true)
		_, _ = c.ListImages(ctx, cluster.ImageListOptions{})
		_, _ = c.DiskUsage(ctx, nil, apiversion.Max)
		_, _ = c.AnyEngine()
		if worker%2 == 0 {
			_ = c.Remove(ctx, name+"-x", url.Values{"force": {"1"}})
		}
	}
	const workers, rounds = 5, 5
	var users, others sync.WaitGroup
	over := make(chan struct{})
	others.Go(func() { // discovery, which does not know what it wants
		for i := 0; ; i++ {
			list := engines
			if i%2 == 0 {
				list = engines[:3]
			}
			select {
			case lists <- addresses(list...):
			case <-over:
				return
			}
		}
	})
	others.Go(func() { // an engine where things happen
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			default:
			}
			id := engines[0].AddContainer(enginetest.Container{Name: fmt.Sprint("passing-", i), Running: true})
			engines[0].Emit("container", "health_status: healthy", id, nil)
			engines[0].RemoveContainer(id)
		}
	})
	others.Go(func() { // someone who listens
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() { <-over; cancel() }()
		_ = c.Events(ctx, cluster.EventOptions{}, func() {}, func(json.RawMessage) error { return nil })
	})
	for worker := range workers {
		users.Go(func() {
			for round := range rounds {
				ask(t.Context(), worker, round)
			}
		})
	}
	users.Wait()
	close(over)
	others.Wait()

	lists <- addresses(engines...)
	enginetest.WaitHealthy(t, c, len(engines))
	enginetest.Eventually(t, "the list shows what is there", func() bool {
		there := 0
		for _, e := range engines {
			there += len(e.Containers())
		}
		return len(shownIn(t, c)) == there && c.Info().Containers == there
	})
}
