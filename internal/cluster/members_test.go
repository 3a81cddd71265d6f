package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
)

// follow runs a cluster of these engines, none of which it has yet; the lists
// of their addresses are the test's to send.
func follow(t *testing.T, cfg cluster.Config, engines ...*enginetest.Engine) (*cluster.Cluster, chan<- []string) {
	t.Helper()
	if cfg.Policy == nil {
		cfg.Policy = exactly(t, "spread").Policy
	}
	cfg.Dial = enginetest.Dial(engines...)
	c, err := cluster.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	lists, done := make(chan []string), make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx, lists)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return c, lists
}

// rows are an engine's lines of `docker info`, without those that change by
// the clock.
func rows(c *cluster.Cluster, address string) map[string]string {
	out := map[string]string{}
	mine := false
	for _, row := range c.Info().SystemStatus {
		key, isPart := strings.CutPrefix(row[0], "  └ ")
		switch {
		case !isPart:
			if mine = row[1] == address; mine {
				out["Name"] = strings.TrimSpace(row[0])
			}
		case mine && key != "UpdatedAt":
			out[key] = row[1]
		}
	}
	return out
}

func TestMembers_twoEnginesWithOneID(t *testing.T) {
	first := enginetest.Start(t, enginetest.Config{Name: "n1", ID: "SAME", IP: "10.0.0.1"})
	second := enginetest.Start(t, enginetest.Config{Name: "n2", ID: "SAME", IP: "10.0.0.2"})
	first.AddContainer(enginetest.Container{ID: id64("1"), Name: "web", Running: true})
	second.AddContainer(enginetest.Container{ID: id64("2"), Name: "web", Running: true})
	c, lists := follow(t, cluster.Config{}, first, second)
	lists <- []string{first.Address()}
	enginetest.WaitHealthy(t, c, 1)
	lists <- []string{first.Address(), second.Address()}
	enginetest.Eventually(t, "the second is refused", func() bool { return rows(c, second.Address())["Error"] != "" })
	want := map[string]string{
		"Name": "(unknown)", "Status": "Pending",
		"Error": "ID duplicated. SAME shared by this node 10.0.0.2:2375 and another node 10.0.0.1:2375",
	}
	if diff := cmp.Diff(want, rows(c, second.Address())); diff != "" {
		t.Error(diff)
	}
	// Nothing of it is shown, and the first is well.
	if found, err := c.Container("web"); err != nil || found.ID != id64("1") {
		t.Errorf("%v, %v", found, err)
	}
	if info := c.Info(); info.Containers != 1 || rows(c, first.Address())["Status"] != "Healthy" {
		t.Errorf("%d containers, the first is %s", info.Containers, rows(c, first.Address())["Status"])
	}

	lists <- []string{second.Address()}
	began := time.Now()
	enginetest.Eventually(t, "the second is let in", func() bool { return rows(c, second.Address())["Status"] == "Healthy" })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if found, err := c.Container("web"); err != nil || found.ID != id64("2") {
		t.Errorf("%v, %v", found, err)
	}
}

func TestMembers_anEngineThatMoves(t *testing.T) {
	before := enginetest.Start(t, enginetest.Config{Name: "n1", ID: "ONE", IP: "10.0.0.1"})
	after := enginetest.Start(t, enginetest.Config{Name: "n1", ID: "ONE", IP: "10.0.0.2"})
	for _, e := range []*enginetest.Engine{before, after} {
		e.AddContainer(enginetest.Container{ID: id64("1"), Name: "web", Running: true})
	}
	c, lists := follow(t, cluster.Config{}, before, after)
	for i := range 6 {
		from, to := before, after
		if i%2 == 0 {
			from, to = after, before
		}
		lists <- []string{to.Address()}
		enginetest.Eventually(t, "it is known at its new address", func() bool {
			found, err := c.Container("web")
			return err == nil && found.Engine.Address().String() == to.Address() && found.Engine.Answers()
		})
		if got := rows(c, from.Address()); len(got) != 0 {
			t.Fatalf("it is still known at its former address: %v", got)
		}
	}
}

func TestMembers_comeAndGo(t *testing.T) {
	engines := enginetest.StartMany(t, 12)
	var addresses []string
	for i, e := range engines {
		e.AddContainer(enginetest.Container{Name: fmt.Sprint("c", i), Running: true})
		addresses = append(addresses, e.Address())
	}
	c, lists := follow(t, cluster.Config{}, engines...)
	lists <- append([]string{"no address", "unix://relative", "nowhere.invalid:1"}, addresses...)
	enginetest.WaitHealthy(t, c, 12)
	var names []string
	for _, row := range c.Info().SystemStatus[4:] {
		if !strings.Contains(row[0], "└") {
			names = append(names, strings.TrimSpace(row[0]))
		}
	}
	// Those without a name first, then as people count.
	if got := strings.Join(names, " "); got != "(unknown) n1 n2 n3 n4 n5 n6 n7 n8 n9 n10 n11 n12" {
		t.Errorf("order %s", got)
	}
	lists <- addresses[:3]
	enginetest.Eventually(t, "nine have left", func() bool {
		body, err := listJSON(c, cluster.ListOptions{All: true})
		return err == nil && len(decodeAs[[]any](t, body)) == 3
	})
	if n := c.Info().Containers; n != 3 {
		t.Errorf("%d containers", n)
	}
	lists <- nil
	enginetest.Eventually(t, "all have left", func() bool { return len(c.Info().SystemStatus) == 4 })
	lists <- addresses
	enginetest.WaitHealthy(t, c, 12)
	if c.Info().Containers != 12 {
		t.Errorf("%d containers", c.Info().Containers)
	}
}

func TestMembers_aDiscoveryThatEndsEndsNoEngine(t *testing.T) {
	engines := enginetest.StartMany(t, 1)
	c, lists := follow(t, cluster.Config{}, engines...)
	lists <- []string{engines[0].Address()}
	close(lists)
	enginetest.WaitHealthy(t, c, 1)
}

func TestMembers_aRenamedEngineRenamesItsContainers(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	e.AddContainer(enginetest.Container{Name: "web", Running: true})
	c := enginetest.Cluster(t, cluster.Config{}, e)
	e.Handle("GET", "/info", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"ID":"ID-n1","Name":"renamed","NCPU":1,"MemTotal":1}`)
	})
	e.Emit("daemon", "reload", "ID-n1", nil)
	enginetest.Eventually(t, "it is found under its new name", func() bool { _, err := c.Container("renamed/web"); return err == nil })
	if _, err := c.Container("n1/web"); err == nil {
		t.Error("it is found under its former name")
	}
	if list, err := listJSON(c, cluster.ListOptions{}); err != nil || !strings.Contains(string(list), `"Names":["/renamed/web"]`) {
		t.Errorf("%s, %v", list, err)
	}
}

func TestInfo(t *testing.T) {
	healthy := enginetest.Start(t, enginetest.Config{Name: "n1", IP: "10.0.0.1", CPUs: 2, Memory: 2 << 30, Labels: []string{"rack=a"}, API: "1.43"})
	down := enginetest.Start(t, enginetest.Config{Name: "n2", IP: "10.0.0.2", CPUs: 4, Memory: 1 << 30})
	pending := enginetest.Start(t, enginetest.Config{Name: "n3", IP: "10.0.0.3", CPUs: 8})
	healthy.AddImage(enginetest.Image{Tags: []string{"a:1", "b:1"}})
	healthy.AddImage(enginetest.Image{})
	serveRaw(healthy,
		rawContainer{`{"Id":"c1","State":"running"}`, `{"Name":"/c1","State":{"Status":"running","Running":true},"HostConfig":{"NanoCpus":500000000,"Memory":20971520}}`},
		rawContainer{`{"Id":"c2","State":"paused"}`, `{"Name":"/c2","State":{"Status":"paused","Running":true,"Paused":true},"HostConfig":{"CpuShares":512}}`},
		rawContainer{`{"Id":"c3","State":"exited"}`, `{"Name":"/c3","State":{"Status":"exited"},"HostConfig":{"Memory":1024}}`},
	)
	down.AddContainer(enginetest.Container{Name: "lost", Running: true})
	pending.Fail("GET", "/networks", 500, "networks are\n broken")
	c, lists := follow(t, fast(), healthy, down, pending)
	lists <- []string{healthy.Address(), down.Address(), pending.Address()}
	enginetest.WaitHealthy(t, c, 2)
	down.Fail("GET", "/_ping", 500, "down")
	enginetest.WaitUnhealthy(t, c, 1)
	enginetest.Eventually(t, "the third has said why", func() bool { return rows(c, pending.Address())["Error"] != "" })

	info := c.Info()
	got := map[string]int64{
		"containers": int64(info.Containers), "running": int64(info.ContainersRunning), "paused": int64(info.ContainersPaused),
		"stopped": int64(info.ContainersStopped), "images": int64(info.Images), "cpus": int64(info.NCPU), "memory": info.MemTotal,
	}
	want := map[string]int64{"containers": 4, "running": 2, "paused": 1, "stopped": 1, "images": 1, "cpus": 6, "memory": 3 << 30}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if info.ID == "" || info.OSType != "linux" || info.ServerVersion != cluster.ServerVersion || info.Swarm.LocalNodeState != "inactive" {
		t.Errorf("%+v", info)
	}
	head := [][2]string{{"Role", "primary"}, {"Strategy", "spread"}, {"Filters", "health, port, containerslots, dependency, affinity, constraint, whitelist"}, {"Nodes", "3"}}
	if diff := cmp.Diff(head, info.SystemStatus[:4]); diff != "" {
		t.Error(diff)
	}
	for address, want := range map[string]map[string]string{
		healthy.Address(): {
			"Name": "n1", "ID": "ID-n1", "Status": "Healthy", "Containers": "3 (1 Running, 1 Paused, 1 Stopped)",
			"Reserved CPUs": "1 / 2", "Reserved Memory": "20MiB / 2GiB", "ServerVersion": "27.0.0",
			"Labels": "kernelversion=6.0.0, operatingsystem=Fake Linux, ostype=linux, rack=a, storagedriver=overlay2",
		},
		down.Address(): {
			"Name": "n2", "ID": "ID-n2", "Status": "Unhealthy", "Containers": "1", "Reserved CPUs": "0 / 4", "Reserved Memory": "0B / 1GiB",
			"Error": "1 probes in a row failed, the last: down", "ServerVersion": "27.0.0",
			"Labels": "kernelversion=6.0.0, operatingsystem=Fake Linux, ostype=linux, storagedriver=overlay2",
		},
		pending.Address(): {"Name": "(unknown)", "Status": "Pending", "Error": "first inventory: networks are broken", "ServerVersion": "27.0.0"},
	} {
		if diff := cmp.Diff(want, rows(c, address)); diff != "" {
			t.Errorf("%s: %s", address, diff)
		}
	}
	// What is advertised all engines speak; one that is not in does not count.
	if got := c.APIVersion().String(); got != "1.41" {
		t.Errorf("API %s", got)
	}
	lists <- []string{healthy.Address()}
	enginetest.Eventually(t, "the newer one is alone", func() bool { return c.APIVersion().String() == "1.43" })
}

func TestExecEngine(t *testing.T) {
	engines := enginetest.StartMany(t, 3)
	c := enginetest.Cluster(t, fast(), engines...)
	execOn := func(e *enginetest.Engine, id string) {
		e.Handle("GET", "/exec/"+id+"/json", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	}
	asked := func(id string) int {
		n := 0
		for _, e := range engines {
			n += len(e.Requests("GET /exec/" + id))
		}
		return n
	}
	made, forgotten := id64("1"), id64("2")
	e, err := c.Container("none")
	if err == nil {
		t.Fatal(e)
	}
	execOn(engines[1], made)
	execOn(engines[2], forgotten)

	// One that another manager made is looked for, once.
	for range 3 {
		found, err := c.ExecEngine(t.Context(), forgotten)
		if err != nil || found.Name() != "n3" {
			t.Fatalf("%v, %v", found, err)
		}
	}
	if n := asked(forgotten); n > 3 {
		t.Errorf("asked %d times", n)
	}
	// One that this manager made is not looked for.
	on, err := c.ExecEngine(t.Context(), forgotten)
	if err != nil {
		t.Fatal(err)
	}
	c.RememberExec(made, on)
	if found, err := c.ExecEngine(t.Context(), made); err != nil || found != on || asked(made) != 0 {
		t.Errorf("%v, %v, asked %d times", found, err, asked(made))
	}
	for _, id := range []string{"short", id64("9")} {
		if _, err := c.ExecEngine(t.Context(), id); errText(err) != "No such exec instance: "+id {
			t.Errorf("%s: %v", id, err)
		}
	}
	if asked("short") != 0 {
		t.Error("engines are asked for what cannot be an ID")
	}
	engines[2].Fail("GET", "/_ping", 500, "down")
	enginetest.WaitUnhealthy(t, c, 1)
	if _, err := c.ExecEngine(t.Context(), forgotten); err == nil || !strings.HasPrefix(err.Error(), "Exec "+forgotten+" is on unhealthy node n3: ") {
		t.Errorf("on an engine that is down: %v", err)
	}
}

// The engine that it was on has left, and is back as another member.
func TestExecEngine_ofAnEngineThatWasAway(t *testing.T) {
	e := enginetest.Start(t, enginetest.Config{Name: "n1"})
	id := id64("1")
	e.Handle("GET", "/exec/"+id+"/json", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") })
	c, lists := follow(t, cluster.Config{}, e)
	lists <- []string{e.Address()}
	enginetest.WaitHealthy(t, c, 1)
	if _, err := c.ExecEngine(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	lists <- nil
	enginetest.Eventually(t, "it has left", func() bool { return len(c.Info().SystemStatus) == 4 })
	lists <- []string{e.Address()}
	enginetest.WaitHealthy(t, c, 1)
	if found, err := c.ExecEngine(t.Context(), id); err != nil || !found.Answers() {
		t.Errorf("%v, %v", found, err)
	}
}
