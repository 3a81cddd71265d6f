package simengine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
	"go.uber.org/goleak"

	"github.com/skep/skep/internal/simengine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a fleet until the test ends.
func serve(t *testing.T, cfg simengine.FleetConfig) *simengine.Fleet {
	t.Helper()
	fleet, err := simengine.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		fleet.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return fleet
}

// connect gives the stock client of the engine at address.
func connect(t *testing.T, address string) *client.Client {
	t.Helper()
	if !strings.Contains(address, "://") {
		address = "tcp://" + address
	}
	c, err := client.New(client.WithHost(address))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFleet_spreadsItsContainersOverEnginesWithNamesAndIDsOfTheirOwn(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 300, Containers: 1000})
	ids, total := map[string]bool{}, 0
	for n, address := range fleet.Addresses() {
		info, err := connect(t, address).Info(within(t), client.InfoOptions{})
		must(t, err)
		i := info.Info
		total += i.Containers
		ids[i.ID] = true
		if i.Name != fmt.Sprintf("sim-%d", n) || i.Containers < 3 || i.Containers > 4 || i.ContainersRunning != i.Containers || i.NCPU != 8 {
			t.Errorf("info says %s, %d of %d running, %d processors", i.Name, i.ContainersRunning, i.Containers, i.NCPU)
		}
	}
	if total != 1000 || len(ids) != 300 {
		t.Errorf("%d containers, %d IDs", total, len(ids))
	}
}

func TestFleet_listensOnSocketsInADirectory(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 2, Dir: t.TempDir()})
	_, err := connect(t, fleet.Addresses()[1]).Ping(within(t), client.PingOptions{})
	must(t, err)
}

func TestListen_refusesWhatItCannotDo(t *testing.T) {
	if _, err := simengine.Listen(simengine.FleetConfig{}); err == nil || !strings.Contains(err.Error(), "ask for 1 to") {
		t.Error(err)
	}
	if _, err := simengine.Listen(simengine.FleetConfig{Engines: 2, Dir: "/nowhere"}); err == nil || !strings.Contains(err.Error(), "simulated engine 1 of 2") {
		t.Error(err)
	}
}

func TestContainer_livesAsOnARealEngine(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1})
	c, ctx := connect(t, fleet.Addresses()[0]), within(t)
	events := c.Events(ctx, client.EventsListOptions{Filters: make(client.Filters).Add("type", "container")})
	made, err := c.ContainerCreate(ctx, client.ContainerCreateOptions{
		Name:       "web",
		Config:     &container.Config{Image: "busybox", Cmd: []string{"sleep", "60"}, Labels: map[string]string{"a": "b"}, Env: []string{"X=ü\""}},
		HostConfig: &container.HostConfig{Resources: container.Resources{Memory: 1 << 20}},
	})
	must(t, err)
	_, err = c.ContainerStart(ctx, "web", client.ContainerStartOptions{})
	must(t, err)
	waited := c.ContainerWait(ctx, "web", client.ContainerWaitOptions{Condition: container.WaitConditionNextExit})

	seen, err := c.ContainerInspect(ctx, made.ID[:12], client.ContainerInspectOptions{})
	must(t, err)
	if i := seen.Container; !i.State.Running || i.Name != "/web" || i.HostConfig.Memory != 1<<20 || i.Config.Labels["a"] != "b" || i.Config.Env[0] != `X=ü"` {
		t.Errorf("inspect says %s", seen.Raw)
	}
	logs, err := c.ContainerLogs(ctx, "web", client.ContainerLogsOptions{ShowStdout: true})
	must(t, err)
	defer logs.Close()
	var out bytes.Buffer
	_, err = stdcopy.StdCopy(&out, io.Discard, logs)
	must(t, err)
	if out.String() != "simulated container web runs on sim-0\n" {
		t.Errorf("logs say %q", out.String())
	}
	if _, err := c.ContainerRemove(ctx, "web", client.ContainerRemoveOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("a running container is removed without force: %v", err)
	}
	_, err = c.ContainerPause(ctx, "web", client.ContainerPauseOptions{})
	must(t, err)
	_, err = c.ContainerUnpause(ctx, "web", client.ContainerUnpauseOptions{})
	must(t, err)
	_, err = c.ContainerKill(ctx, "web", client.ContainerKillOptions{Signal: "SIGTERM"})
	must(t, err)
	select {
	case end := <-waited.Result:
		if end.StatusCode != 143 {
			t.Errorf("wait says %d", end.StatusCode)
		}
	case err := <-waited.Error:
		t.Fatal(err)
	}
	_, err = c.ContainerRemove(ctx, "web", client.ContainerRemoveOptions{})
	must(t, err)
	if _, err := c.ContainerInspect(ctx, made.ID, client.ContainerInspectOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("it is still there: %v", err)
	}
	for _, want := range []string{"create", "start", "pause", "unpause", "kill", "die", "destroy"} {
		select {
		case ev := <-events.Messages:
			if string(ev.Action) != want || ev.Actor.ID != made.ID || ev.Actor.Attributes["name"] != "web" || ev.Actor.Attributes["a"] != "b" {
				t.Fatalf("the event is %+v, not %s", ev, want)
			}
		case err := <-events.Err:
			t.Fatal(err)
		}
	}
}

func TestCreate_isRefusedAsOnARealEngine(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1, Containers: 1})
	c, ctx := connect(t, fleet.Addresses()[0]), within(t)
	create := func(name, image string) error {
		_, err := c.ContainerCreate(ctx, client.ContainerCreateOptions{Name: name, Config: &container.Config{Image: image}})
		return err
	}
	if err := create("sim-0-c0", "busybox"); !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "is already in use by container") {
		t.Error(err)
	}
	if err := create("web", "nginx"); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "No such image: nginx") {
		t.Error(err)
	}
	pull, err := c.ImagePull(ctx, "nginx:1", client.ImagePullOptions{})
	must(t, err)
	must(t, pull.Wait(ctx))
	must(t, create("web", "nginx:1"))
}

func TestList_showsWhatFits(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1, Containers: 5})
	c, ctx := connect(t, fleet.Addresses()[0]), within(t)
	_, err := c.ContainerStop(ctx, "sim-0-c1", client.ContainerStopOptions{})
	must(t, err)
	for _, tc := range []struct {
		name    string
		options client.ContainerListOptions
		want    string
	}{
		{"those that run, newest first", client.ContainerListOptions{}, "c4 c3 c2 c0"},
		{"all", client.ContainerListOptions{All: true}, "c4 c3 c2 c1 c0"},
		{"the newest two", client.ContainerListOptions{Limit: 2}, "c4 c3"},
		{"by status", client.ContainerListOptions{Filters: make(client.Filters).Add("status", "exited")}, "c1"},
		{"by label", client.ContainerListOptions{Filters: make(client.Filters).Add("label", "app=sim", "tier")}, "c4 c3 c2 c0"},
		{"by a label that none has", client.ContainerListOptions{Filters: make(client.Filters).Add("label", "app=other")}, ""},
		{"by name", client.ContainerListOptions{Filters: make(client.Filters).Add("name", "c3", "c4")}, "c4 c3"},
		{"by exit code", client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("exited", "137")}, "c1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			list, err := c.ContainerList(ctx, tc.options)
			must(t, err)
			var names []string
			for _, i := range list.Items {
				names = append(names, strings.TrimPrefix(i.Names[0], "/sim-0-"))
			}
			if got := strings.Join(names, " "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
	if _, err := c.ContainerList(ctx, client.ContainerListOptions{Filters: make(client.Filters).Add("nonsense", "1")}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("an unknown filter is passed over: %v", err)
	}
}

func TestEvents_tellOfThePastOnce(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1, Containers: 300})
	c, ctx := connect(t, fleet.Addresses()[0]), within(t)
	for i := range 300 {
		_, err := c.ContainerPause(ctx, fmt.Sprintf("sim-0-c%d", i), client.ContainerPauseOptions{})
		must(t, err)
	}
	past := c.Events(ctx, client.EventsListOptions{Since: "1", Until: fmt.Sprint(time.Now().Unix() + 1), Filters: make(client.Filters).Add("event", "pause")})
	count := 0
	for {
		select {
		case <-past.Messages:
			count++
			continue
		case err := <-past.Err:
			if err != io.EOF {
				t.Fatal(err)
			}
		}
		break
	}
	if count != 256 {
		t.Errorf("%d events of the past", count)
	}
}

func TestObjects_ofOtherKindsAreKept(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1})
	c, ctx := connect(t, fleet.Addresses()[0]), within(t)
	_, err := c.VolumeCreate(ctx, client.VolumeCreateOptions{Name: "data", Labels: map[string]string{"k": "v"}})
	must(t, err)
	volumes, err := c.VolumeList(ctx, client.VolumeListOptions{Filters: make(client.Filters).Add("label", "k=v")})
	must(t, err)
	if len(volumes.Items) != 1 || volumes.Items[0].Name != "data" {
		t.Errorf("volumes %+v", volumes.Items)
	}
	net, err := c.NetworkCreate(ctx, "back", client.NetworkCreateOptions{Driver: "bridge"})
	must(t, err)
	networks, err := c.NetworkList(ctx, client.NetworkListOptions{})
	must(t, err)
	if len(networks.Items) != 4 || networks.Items[3].ID != net.ID {
		t.Errorf("networks %+v", networks.Items)
	}
	images, err := c.ImageList(ctx, client.ImageListOptions{})
	must(t, err)
	if len(images.Items) != 2 {
		t.Errorf("images %+v", images.Items)
	}
}

func TestImage_isGoneWithItsLastName(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1, Containers: 1}) // of busybox
	c, ctx := connect(t, fleet.Addresses()[0]), within(t)
	tag := func(source, target string) {
		t.Helper()
		_, err := c.ImageTag(ctx, client.ImageTagOptions{Source: source, Target: target})
		must(t, err)
	}
	tag("busybox", "mine")
	tag("alpine", "mine") // a name means one image
	tag("busybox", "other")
	_, err := c.ImageRemove(ctx, "busybox", client.ImageRemoveOptions{})
	must(t, err)
	if _, err := c.ImageRemove(ctx, "other", client.ImageRemoveOptions{}); !errdefs.IsConflict(err) {
		t.Errorf("the image of a container is removed: %v", err)
	}
	pull, err := c.ImagePull(ctx, "busybox", client.ImagePullOptions{})
	must(t, err)
	must(t, pull.Wait(ctx))
	images, err := c.ImageList(ctx, client.ImageListOptions{})
	must(t, err)
	var names []string
	for _, i := range images.Items {
		names = append(names, strings.Join(i.RepoTags, " "))
	}
	if got := strings.Join(names, ", "); got != "other:latest busybox:latest, alpine:latest mine:latest" {
		t.Errorf("the images are %s", got)
	}
}

func TestUnknown_isRefusedWithASentence(t *testing.T) {
	fleet := serve(t, simengine.FleetConfig{Engines: 1})
	base := "http://" + fleet.Addresses()[0]
	httpClient := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]string{
		"/v1.40/swarm":                            "501 GET /v1.40/swarm: engine sim-0 is simulated, runs no programs",
		"/v1.99/info":                             "400 client version 1.99 is too new",
		"/v1.x/info":                              "400 \\\"1.x\\\" is no API version",
		"/events?since=":                          "200 ",
		"/events?since=x&until=1":                 "400 \\\"x\\\" is no time",
		"/containers/json?filters=[":              "400 invalid filters",
		`/networks?filters={"dangling":["true"]}`: "400 invalid filter 'dangling'",
	} {
		ctx, cancel := context.WithCancel(within(t))
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
		must(t, err)
		resp, err := httpClient.Do(req)
		must(t, err)
		var body []byte
		if resp.StatusCode != http.StatusOK {
			body, err = io.ReadAll(resp.Body)
			must(t, err)
		}
		cancel()
		resp.Body.Close()
		status, words, _ := strings.Cut(want, " ")
		if fmt.Sprint(resp.StatusCode) != status || !strings.Contains(string(body), words) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}
