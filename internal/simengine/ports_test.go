package simengine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/skep/skep/internal/simengine"
)

func TestPorts_areOnTheBooksWhileTheContainerRuns(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1})
	c, ctx := connect(t, fleet.Addresses()[0]), within(t)
	create := func(name string, ports network.PortMap) {
		t.Helper()
		_, err := c.ContainerCreate(ctx, client.ContainerCreateOptions{
			Name: name, Config: &container.Config{Image: "busybox"}, HostConfig: &container.HostConfig{PortBindings: ports},
		})
		must(t, err)
	}
	start := func(name string) error {
		_, err := c.ContainerStart(ctx, name, client.ContainerStartOptions{})
		return err
	}
	shown := func(name string) string {
		t.Helper()
		list, err := c.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("name", name)})
		must(t, err)
		inspected, err := c.ContainerInspect(ctx, name, client.ContainerInspectOptions{})
		must(t, err)
		var out []string
		for _, p := range list.Items[0].Ports {
			out = append(out, fmt.Sprintf("%d:%d/%s", p.PublicPort, p.PrivatePort, p.Type))
			found := false
			for _, b := range inspected.Container.NetworkSettings.Ports[network.MustParsePort(fmt.Sprintf("%d/%s", p.PrivatePort, p.Type))] {
				found = found || b.HostPort == fmt.Sprint(p.PublicPort)
			}
			if !found {
				t.Errorf("inspect does not show %s: %v", out[len(out)-1], inspected.Container.NetworkSettings.Ports)
			}
		}
		return strings.Join(out, " ")
	}
	web := network.MustParsePort("80/tcp")
	create("one", network.PortMap{web: {{HostPort: "8080"}, {HostPort: "8081"}}, network.MustParsePort("53/udp"): {{}}})
	create("two", network.PortMap{web: {{HostPort: "8080"}}})
	if got := shown("one"); got != "" {
		t.Errorf("it shows %s before it runs", got)
	}
	must(t, start("one"))
	if got := shown("one"); got != "32768:53/udp 8080:80/tcp 8081:80/tcp" {
		t.Errorf("it shows %s", got)
	}
	if err := start("two"); err == nil || !strings.Contains(err.Error(), "Bind for 0.0.0.0:8080 failed: port is already allocated") {
		t.Errorf("two have one port: %v", err)
	}
	_, err := c.ContainerStop(ctx, "one", client.ContainerStopOptions{})
	must(t, err)
	must(t, start("two"))
	if got := shown("two"); got != "8080:80/tcp" {
		t.Errorf("it shows %s", got)
	}
}
