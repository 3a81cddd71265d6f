package simengine_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/skep/skep/internal/simengine"
)

func TestAttach_bringsTheLineOfAContainerThatStartsAndEndsWithIt(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1})
	c, ctx := connect(t, fleet.Addresses()[0]), within(t)
	for range 50 { // which of start and end is seen first is a race
		made, err := c.ContainerCreate(ctx, client.ContainerCreateOptions{
			Name: "once", Config: &container.Config{Image: "busybox", Cmd: []string{"true"}},
			HostConfig: &container.HostConfig{AutoRemove: true},
		})
		must(t, err)
		stream, err := c.ContainerAttach(ctx, made.ID, client.ContainerAttachOptions{Stream: true, Stdout: true, Stderr: true})
		must(t, err)
		must(t, stream.CloseWrite())
		_, err = c.ContainerStart(ctx, made.ID, client.ContainerStartOptions{})
		must(t, err)
		var out bytes.Buffer
		_, err = stdcopy.StdCopy(&out, io.Discard, stream.Reader)
		must(t, err)
		stream.Close()
		if out.String() != "simulated container once runs on sim-0\n" {
			t.Fatalf("attach brings %q", out.String())
		}
	}
}

func TestRestart_keepsAContainerThatIsRemovedAtItsEnd(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1})
	c, ctx := connect(t, fleet.Addresses()[0]), within(t)
	_, err := c.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name: "web", Config: &container.Config{Image: "busybox"}, HostConfig: &container.HostConfig{AutoRemove: true},
	})
	must(t, err)
	_, err = c.ContainerStart(ctx, "web", client.ContainerStartOptions{})
	must(t, err)
	_, err = c.ContainerRestart(ctx, "web", client.ContainerRestartOptions{})
	must(t, err)
	seen, err := c.ContainerInspect(ctx, "web", client.ContainerInspectOptions{})
	must(t, err)
	if !seen.Container.State.Running {
		t.Errorf("it is %s", seen.Container.State.Status)
	}
	_, err = c.ContainerStop(ctx, "web", client.ContainerStopOptions{})
	must(t, err)
	list, err := c.ContainerList(ctx, client.ContainerListOptions{All: true})
	must(t, err)
	if n := len(list.Items); n != 0 {
		t.Errorf("%d containers are left", n)
	}
}
