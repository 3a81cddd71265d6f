package simengine_test

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/skep/skep/internal/simengine"
)

func TestCrash_breaksConnectionsAndLeavesDeadContainersForTheStart(t *testing.T) {
	for name, dir := range map[string]string{"over TCP": "", "over sockets": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			fleet := serve(t, simengine.FleetConfig{Engines: 2, Containers: 2, Dir: dir})
			c, ctx := connect(t, fleet.Addresses()[1]), within(t)
			other := connect(t, fleet.Addresses()[0])
			create := func(name string, host container.HostConfig) {
				t.Helper()
				_, err := c.ContainerCreate(ctx, client.ContainerCreateOptions{Name: name, Config: &container.Config{Image: "busybox"}, HostConfig: &host})
				must(t, err)
				_, err = c.ContainerStart(ctx, name, client.ContainerStartOptions{})
				must(t, err)
			}
			create("again", container.HostConfig{RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyAlways}})
			create("gone", container.HostConfig{AutoRemove: true})
			events := c.Events(ctx, client.EventsListOptions{})
			attached, err := c.ContainerAttach(ctx, "again", client.ContainerAttachOptions{Stream: true, Stdout: true})
			must(t, err)

			must(t, fleet.Crash(ctx, "sim-1"))
			if err := <-events.Err; err == nil {
				t.Error("the event stream lives on")
			}
			if _, err := attached.Reader.ReadByte(); err == nil {
				t.Error("the attached stream lives on")
			}
			attached.Close()
			if _, err := c.Ping(ctx, client.PingOptions{}); err == nil {
				t.Error("it answers without power")
			}
			_, err = other.Ping(ctx, client.PingOptions{})
			must(t, err)
			if err := fleet.Crash(ctx, "sim-1"); err == nil || !strings.Contains(err.Error(), "no power already") {
				t.Error(err)
			}

			must(t, fleet.Start(ctx, "sim-1"))
			if err := fleet.Start(ctx, "sim-1"); err == nil || !strings.Contains(err.Error(), "runs already") {
				t.Error(err)
			}
			list, err := c.ContainerList(ctx, client.ContainerListOptions{All: true})
			must(t, err)
			var got []string
			for _, i := range list.Items {
				got = append(got, strings.TrimPrefix(i.Names[0], "/")+" "+string(i.State))
			}
			if got := strings.Join(got, ", "); got != "again running, sim-1-c0 exited" {
				t.Errorf("there are %s", got)
			}
			dead, err := c.ContainerInspect(ctx, "sim-1-c0", client.ContainerInspectOptions{})
			must(t, err)
			if dead.Container.State.ExitCode != 255 {
				t.Errorf("it ended with %d", dead.Container.State.ExitCode)
			}
		})
	}
}

func TestCrash_isCompleteAlsoWhenItsCallerHasGone(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1, Containers: 1})
	c, ctx := connect(t, fleet.Addresses()[0]), within(t)
	for range 20 { // whether the caller notices is a race
		_, err := c.ContainerRestart(ctx, "sim-0-c0", client.ContainerRestartOptions{})
		must(t, err)
		gone, cancel := context.WithCancel(ctx)
		cancel()
		_ = fleet.Crash(gone, "sim-0")
		for err := fleet.Start(ctx, "sim-0"); err != nil; err = fleet.Start(ctx, "sim-0") { // its address is not free yet
			must(t, ctx.Err())
			runtime.Gosched()
		}
		seen, err := c.ContainerInspect(ctx, "sim-0-c0", client.ContainerInspectOptions{})
		must(t, err)
		if seen.Container.State.Running {
			t.Fatal("its container lives on")
		}
	}
}

func TestCrash_ofAnEngineThatIsNotThereNamesThoseThatAre(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 3})
	for _, do := range []error{fleet.Crash(t.Context(), "n1"), fleet.Start(t.Context(), "n1")} {
		if do == nil || do.Error() != `no engine is called "n1"; there are sim-0 to sim-2` {
			t.Error(do)
		}
	}
}

func TestFleet_givesEachEngineItsLabels(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 2, Labels: func(i int) []string { return []string{"rack=" + []string{"a", "b"}[i]} }})
	info, err := connect(t, fleet.Addresses()[1]).Info(within(t), client.InfoOptions{})
	must(t, err)
	if l := info.Info.Labels; len(l) != 1 || l[0] != "rack=b" {
		t.Errorf("labels %q", l)
	}
}
