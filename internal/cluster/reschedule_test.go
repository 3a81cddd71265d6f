package cluster_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/enginetest"
	"github.com/skep/skep/internal/placement"
)

// moving finds failed engines, and moves their containers, within moments.
func moving() cluster.Config {
	cfg := fast()
	cfg.RescheduleAfter = 30 * time.Millisecond
	cfg.Ledger = &memory{}
	return cfg
}

// policy is the label of containers that are to be moved.
func policy(swarmID string, more ...string) map[string]string {
	labels := map[string]string{cluster.LabelReschedule: `["on-node-failure"]`, cluster.LabelSwarmID: id64(swarmID)}
	for i := 0; i < len(more); i += 2 {
		labels[more[i]] = more[i+1]
	}
	return labels
}

// web is a running container that is to be moved.
func web(swarmID string) enginetest.Container {
	return enginetest.Container{Name: "web-" + swarmID, Image: "busybox", Running: true, Labels: policy(swarmID)}
}

// named finds an engine's container by name.
func named(e *enginetest.Engine, name string) *enginetest.Container {
	for _, c := range e.Containers() {
		if c.Name == name {
			return &c
		}
	}
	return nil
}

func runs(e *enginetest.Engine, name string) bool {
	c := named(e, name)
	return c != nil && c.Running
}

// unchanged makes engines say that containers have no files of their own.
func unchanged(engines ...*enginetest.Engine) {
	for _, e := range engines {
		e.Handle("GET", "/containers/{name}/changes", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "null") })
	}
}

// shownIn are the names that docker ps -a shows.
func shownIn(t *testing.T, c *cluster.Cluster) (names []string) {
	t.Helper()
	list, err := listJSON(c, cluster.ListOptions{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range decodeAs[[]struct{ Names []string }](t, list) {
		names = append(names, one.Names...)
	}
	return names
}

// heard collects the cluster's own events as ACTION ATTRIBUTES.
func heard(t *testing.T, c *cluster.Cluster) func() string {
	t.Helper()
	var mu sync.Mutex
	var all strings.Builder
	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Events(ctx, cluster.EventOptions{}, func() { close(started) }, func(raw json.RawMessage) error {
			mu.Lock()
			defer mu.Unlock()
			all.Write(raw)
			return nil
		})
	}()
	<-started
	t.Cleanup(func() { cancel(); <-done })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return all.String()
	}
}

func TestReschedule_aContainerOfAFailedEngineRunsElsewhereAsItWas(t *testing.T) {
	cfg := moving()
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	for _, e := range engines {
		e.AddNetwork(enginetest.Network{Name: "front"})
		e.AddNetwork(enginetest.Network{Name: "back"})
	}
	was := web("a")
	was.HostConfig = map[string]any{"Binds": []string{"data:/data"}, "NetworkMode": "front", "Later": 1.5}
	was.Networks = map[string]any{
		"front": map[string]any{"Aliases": []string{"www"}, "NetworkID": id64("f"), "IPAddress": "10.0.0.2"},
		"back":  map[string]any{"IPAMConfig": map[string]any{"IPv4Address": "10.1.0.9"}, "NetworkID": id64("b")},
	}
	engines[0].AddContainer(was)
	engines[0].AddContainer(enginetest.Container{Name: "stays", Image: "busybox", Running: true})
	stopped := web("b")
	stopped.Running = false
	engines[0].AddContainer(stopped)
	c := enginetest.Cluster(t, cfg, engines...)
	events := heard(t, c)
	recorded(t, cfg, 2)
	engines[0].Down()
	enginetest.Eventually(t, "it runs on n2", func() bool { return runs(engines[1], "web-a") && named(engines[1], "web-b") != nil })
	made := named(engines[1], "web-a")
	body := decodeAs[struct {
		Labels           map[string]string
		HostConfig       json.RawMessage
		NetworkingConfig json.RawMessage
	}](t, made.Config)
	if diff := cmp.Diff(policy("a", cluster.LabelGeneration, "1"), body.Labels); diff != "" {
		t.Error(diff)
	}
	if got := string(body.NetworkingConfig); got != `{"EndpointsConfig":{"front":{"Aliases":["www"]}}}` {
		t.Errorf("made on %s", got)
	}
	if got := string(body.HostConfig); !strings.Contains(got, `"data:/data"`) || !strings.Contains(got, `"Later":1.5`) {
		t.Errorf("made with %s", got)
	}
	if n := len(engines[1].Requests("POST /networks/back/connect")); n != 1 {
		t.Errorf("connected to the second network %d times", n)
	}
	if runs(engines[1], "web-b") {
		t.Error("what did not run was started")
	}
	enginetest.Eventually(t, "an event tells", func() bool {
		return strings.Contains(events(), `"container_rescheduled"`) && strings.Contains(events(), `"from.node":"n1"`)
	})
	if got := c.Stats().Moved; got == 0 {
		t.Error("no move is counted")
	}
	for _, ref := range []string{"web-a", id64("a"), made.ID} {
		if on := nodeOf(t, c, ref); on != "n2" {
			t.Errorf("%s is on %s", ref, on)
		}
	}
	// The engine has the one that is not started a moment before the list does.
	enginetest.Eventually(t, "each is shown once", func() bool {
		shown := shownIn(t, c)
		slices.Sort(shown)
		return slices.Equal(shown, []string{"/n1/stays", "/n2/web-a", "/n2/web-b"})
	})
}

func TestReschedule_whatReturnsWhileItsReplacementRunsIsStoppedAndKept(t *testing.T) {
	cfg := moving()
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	data := web("a")
	data.Mounts = []map[string]any{{"Type": "volume", "Name": id64("aa"), "Destination": "/data"}}
	holds := engines[0].AddContainer(data)
	empty := web("b")
	empty.HostConfig = map[string]any{"Binds": []string{"named:/data"}}
	empty.Mounts = []map[string]any{{"Type": "volume", "Name": "named", "Destination": "/data"}}
	engines[0].AddContainer(empty)
	written := engines[0].AddContainer(web("c"))
	c := enginetest.Cluster(t, cfg, engines...)
	events := heard(t, c)
	recorded(t, cfg, 3)
	engines[0].Down()
	enginetest.Eventually(t, "all run on n2", func() bool {
		return runs(engines[1], "web-a") && runs(engines[1], "web-b") && runs(engines[1], "web-c")
	})
	engines[0].Up()
	unchanged(engines[0])
	engines[0].Handle("GET", "/containers/"+written+"/changes", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[{"Path":"/x","Kind":1}]`) })
	enginetest.Eventually(t, "all is settled on n1", func() bool {
		return len(engines[0].Containers()) == 2 &&
			named(engines[0], "web-a-superseded-"+holds[:12]) != nil && named(engines[0], "web-c-superseded-"+written[:12]) != nil
	})
	for _, kept := range engines[0].Containers() {
		if kept.Running {
			t.Errorf("%s runs", kept.Name)
		}
	}
	if got := engines[0].Requests("DELETE /containers/"); len(got) != 1 || strings.Contains(got[0], "v=") || strings.Contains(got[0], "force") {
		t.Errorf("removed with %q", got)
	}
	for _, name := range []string{"web-a", "web-b", "web-c"} {
		if !runs(engines[1], name) {
			t.Errorf("%s does not run any more", name)
		}
	}
	enginetest.Eventually(t, "events tell", func() bool {
		return strings.Count(events(), `"Action":"container_superseded"`) == 3 && strings.Contains(events(), `"kept":"web-a-superseded-`+holds[:12]+`"`)
	})
	// The one that was kept can be found, and is nobody's copy.
	enginetest.Eventually(t, "docker ps shows both", func() bool {
		return strings.Contains(fmt.Sprint(shownIn(t, c)), "/n1/web-a-superseded-"+holds[:12]) && strings.Contains(fmt.Sprint(shownIn(t, c)), "/n2/web-a")
	})
	if on := nodeOf(t, c, id64("a")); on != "n2" {
		t.Errorf("the swarm ID is on %s", on)
	}
}

func TestReschedule_whatReturnsBeforeItsReplacementRunsStays(t *testing.T) {
	cfg := moving()
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	engines[0].AddContainer(web("a"))
	engines[1].Fail("POST", "/containers/{name}/start", http.StatusInternalServerError, "port is in use")
	c := enginetest.Cluster(t, cfg, engines...)
	recorded(t, cfg, 1)
	engines[0].Down()
	enginetest.Eventually(t, "it is made on n2", func() bool { return named(engines[1], "web-a") != nil })
	engines[0].Up()
	enginetest.Eventually(t, "the replacement is gone", func() bool { return named(engines[1], "web-a") == nil })
	enginetest.Eventually(t, "it is shown on n1", func() bool { return fmt.Sprint(shownIn(t, c)) == "[/n1/web-a]" })
	if !runs(engines[0], "web-a") {
		t.Error("the only one was stopped")
	}
}

func TestReschedule_isTriedAgainUntilThereIsRoom(t *testing.T) {
	cfg := moving()
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	engines[0].AddContainer(web("a"))
	engines[1].Fail("POST", "/containers/create", http.StatusInternalServerError, "no space left on device")
	enginetest.Cluster(t, cfg, engines...)
	recorded(t, cfg, 1)
	engines[0].Down()
	enginetest.Eventually(t, "it was tried twice", func() bool { return len(engines[1].Requests("POST /containers/create")) >= 2 })
	engines[1].Up()
	enginetest.Eventually(t, "it runs on n2", func() bool { return runs(engines[1], "web-a") })
}

func TestReschedule_conditionsApplyAgain(t *testing.T) {
	cfg := moving()
	n1 := enginetest.Start(t, enginetest.Config{Name: "n1", Labels: []string{"rack=a"}})
	n2 := enginetest.Start(t, enginetest.Config{Name: "n2", Labels: []string{"rack=b"}})
	n3 := enginetest.Start(t, enginetest.Config{Name: "n3", Labels: []string{"rack=a"}})
	withBusybox(n1, n2, n3)
	hard, soft := web("a"), web("b")
	hard.Labels[cluster.LabelConstraints] = `["node==n1"]`
	soft.Labels[cluster.LabelConstraints] = `["rack==a","node==~n1"]`
	n1.AddContainer(hard)
	n1.AddContainer(soft)
	c := enginetest.Cluster(t, cfg, n1, n2, n3)
	recorded(t, cfg, 2)
	n1.Down()
	enginetest.Eventually(t, "the one that may go elsewhere does", func() bool { return runs(n3, "web-b") })
	if named(n2, "web-a") != nil || named(n3, "web-a") != nil || named(n2, "web-b") != nil {
		t.Error("a condition was not met")
	}
	if on := nodeOf(t, c, "web-a"); on != "n1" {
		t.Errorf("the one that may not is shown on %s", on)
	}
}

func TestReschedule_onlyWhoActsMoves(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	engines[0].AddContainer(web("a"))
	var acting atomic.Bool
	var asked atomic.Int64
	cfg := moving()
	cfg.Term = func(ctx context.Context) (context.Context, bool) { asked.Add(1); return ctx, acting.Load() }
	c := enginetest.Cluster(t, cfg, engines...)
	recorded(t, cfg, 1)
	engines[0].Down()
	enginetest.WaitUnhealthy(t, c, 1)
	enginetest.Eventually(t, "it was asked some times", func() bool { return asked.Load() > 5 })
	if n := len(engines[1].Requests("POST ")); n != 0 {
		t.Errorf("a replica has asked %d things of n2", n)
	}
	acting.Store(true)
	enginetest.Eventually(t, "it runs on n2", func() bool { return runs(engines[1], "web-a") })
}

// memory is a ledger for one test.
type memory struct {
	mu      sync.Mutex
	records map[string]cluster.Record
}

func (m *memory) Load() (all []cluster.Record, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.records {
		text, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		var read cluster.Record
		if err := json.Unmarshal(text, &read); err != nil {
			return nil, err
		}
		all = append(all, read)
	}
	return all, nil
}

func (m *memory) Apply(put []cluster.Record, gone []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = map[string]cluster.Record{}
	}
	for _, r := range put {
		m.records[r.ID] = r
	}
	for _, id := range gone {
		delete(m.records, id)
	}
	return nil
}

func (m *memory) complete(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.records[id].Body) > 0
}

func (m *memory) size() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.records)
}

// recorded waits until all is known of n containers that it takes to move them.
func recorded(t *testing.T, cfg cluster.Config, n int) {
	t.Helper()
	ledger := cfg.Ledger.(*memory)
	enginetest.Eventually(t, "the containers are recorded", func() bool {
		ledger.mu.Lock()
		defer ledger.mu.Unlock()
		complete := 0
		for _, r := range ledger.records {
			if len(r.Body) > 0 && r.Networks != nil {
				complete++
			}
		}
		return complete == n
	})
}

// manage runs a cluster until stop, with lists of engines as they are given.
func manage(t *testing.T, cfg cluster.Config, alive []*enginetest.Engine, known ...*enginetest.Engine) (c *cluster.Cluster, lists chan<- []string, stop func()) {
	t.Helper()
	p, err := placement.NewPolicy("spread", nil, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Policy, cfg.Dial = p, enginetest.Dial(alive...)
	c, err = cluster.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	updates, done := make(chan []string, 1), make(chan struct{})
	updates <- addresses(known...)
	go func() {
		defer close(done)
		c.Run(ctx, updates)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return c, updates, stop
}

func addresses(engines ...*enginetest.Engine) (list []string) {
	for _, e := range engines {
		list = append(list, e.Address())
	}
	return list
}

func TestReschedule_aManagerThatStartsWhileAnEngineIsDownMovesItsContainers(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	id := engines[0].AddContainer(web("a"))
	cfg := moving()
	ledger := &memory{}
	cfg.Ledger = ledger
	_, _, stop := manage(t, cfg, engines, engines...)
	enginetest.Eventually(t, "the container is recorded", func() bool { return ledger.complete(id) })
	stop()
	if !ledger.complete(id) {
		t.Fatal("the record went with the manager")
	}
	c, _, _ := manage(t, cfg, engines[1:], engines...)
	enginetest.Eventually(t, "it runs on n2", func() bool { return runs(engines[1], "web-a") })
	if got := decodeAs[struct{ Labels map[string]string }](t, named(engines[1], "web-a").Config).Labels[cluster.LabelSwarmID]; got != id64("a") {
		t.Errorf("its swarm ID is %s", got)
	}
	if on := nodeOf(t, c, "web-a"); on != "n2" {
		t.Errorf("it is on %s", on)
	}
}

func TestReschedule_anEngineThatIsTakenOutHasNotFailed(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	id := engines[0].AddContainer(web("a"))
	cfg := moving()
	ledger := &memory{}
	cfg.Ledger = ledger
	c, lists, _ := manage(t, cfg, engines, engines...)
	enginetest.WaitHealthy(t, c, 2)
	enginetest.Eventually(t, "the container is recorded", func() bool { return ledger.complete(id) })
	lists <- addresses(engines[1])
	enginetest.Eventually(t, "its record is dropped", func() bool { return ledger.size() == 0 })
	if named(engines[1], "web-a") != nil || !runs(engines[0], "web-a") {
		t.Error("it was moved")
	}
}

func TestReschedule_goesOnWhenTheFailedEngineLeavesTheDiscovery(t *testing.T) {
	cfg := moving()
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	engines[0].AddContainer(web("a"))
	engines[1].Fail("POST", "/containers/create", http.StatusInternalServerError, "no space left on device")
	c, lists, _ := manage(t, cfg, engines, engines...)
	enginetest.WaitHealthy(t, c, 2)
	recorded(t, cfg, 1)
	engines[0].Down()
	enginetest.Eventually(t, "it was tried", func() bool { return len(engines[1].Requests("POST /containers/create")) >= 1 })
	lists <- addresses(engines[1])
	enginetest.Eventually(t, "n1 is gone", func() bool { return len(shownIn(t, c)) == 0 })
	engines[1].Up()
	enginetest.Eventually(t, "it runs on n2", func() bool { return runs(engines[1], "web-a") })
}

func TestReschedule_movesInParallelButBounded(t *testing.T) {
	cfg := moving()
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	const many = 20
	for i := range many {
		engines[0].AddContainer(web(fmt.Sprintf("%02x", i+16)))
	}
	arrived, goOn := make(chan struct{}, many), make(chan struct{})
	engines[1].Handle("POST", "/containers/{name}/start", func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-goOn
		w.WriteHeader(http.StatusNoContent)
	})
	t.Cleanup(sync.OnceFunc(func() { close(goOn) }))
	enginetest.Cluster(t, cfg, engines...)
	recorded(t, cfg, many)
	engines[0].Down()
	enginetest.Eventually(t, "eight are under way", func() bool { return len(arrived) == 8 })
	if n := len(engines[1].Requests("POST /containers/create")); n != 8 {
		t.Errorf("%d were made", n)
	}
}

func TestReschedule_theGenerationIsNotTheUsersToSay(t *testing.T) {
	cfg := moving()
	e := enginetest.Start(t, enginetest.Config{})
	withBusybox(e)
	c := enginetest.Cluster(t, cfg, e)
	first, err := create(t.Context(), c, "one", `{"Image":"busybox","Env":["reschedule:on-node-failure"]}`)
	if err != nil {
		t.Fatal(err)
	}
	labels := e.Containers()[first].Labels
	labels[cluster.LabelGeneration] = "7"
	text, err := json.Marshal(map[string]any{"Image": "busybox", "Labels": labels})
	if err != nil {
		t.Fatal(err)
	}
	second, err := create(t.Context(), c, "two", string(text))
	if err != nil {
		t.Fatal(err)
	}
	copied := e.Containers()[second].Labels
	if _, there := copied[cluster.LabelGeneration]; there || copied[cluster.LabelSwarmID] == labels[cluster.LabelSwarmID] {
		t.Errorf("the copy passes for the first: %v", copied)
	}
}

func TestCreate_whatAnEngineMadeWithoutAnAnswerIsRemoved(t *testing.T) {
	cfg := moving()
	engines := enginetest.StartMany(t, 1)
	withBusybox(engines...)
	e := engines[0]
	// It makes the container, and the connection breaks before the answer.
	var once atomic.Bool
	e.Handle("POST", "/containers/create", func(w http.ResponseWriter, r *http.Request) {
		if once.CompareAndSwap(false, true) {
			var body struct{ Labels map[string]string }
			_ = json.NewDecoder(r.Body).Decode(&body)
			e.AddContainer(enginetest.Container{Name: r.URL.Query().Get("name"), Image: "busybox", Labels: body.Labels})
			panic(http.ErrAbortHandler)
		}
		http.Error(w, `{"message":"not twice"}`, http.StatusInternalServerError)
	})
	c := enginetest.Cluster(t, cfg, e)
	if _, err := create(t.Context(), c, "lost", `{"Image":"busybox"}`); err == nil {
		t.Fatal("no error")
	}
	enginetest.Eventually(t, "the container that nobody was told of is gone", func() bool { return len(e.Containers()) == 0 })
	enginetest.Eventually(t, "it is not shown", func() bool { return len(shownIn(t, c)) == 0 })
}

func TestCreate_aRetryAfterAnUnknownOutcomeLeavesOne(t *testing.T) {
	engines := enginetest.StartMany(t, 2)
	withBusybox(engines...)
	var lost atomic.Pointer[enginetest.Engine]
	for _, e := range engines {
		e.Handle("POST", "/containers/create", func(w http.ResponseWriter, r *http.Request) {
			var body struct{ Labels map[string]string }
			_ = json.NewDecoder(r.Body).Decode(&body)
			id := e.AddContainer(enginetest.Container{Name: r.URL.Query().Get("name"), Image: "busybox", Labels: body.Labels})
			if lost.CompareAndSwap(nil, e) {
				e.Down()
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"Id":%q}`, id)
		})
	}
	cfg := moving()
	cfg.CreateRetry = 20
	c := enginetest.Cluster(t, cfg, engines...)
	id, err := create(t.Context(), c, "one", `{"Image":"busybox"}`)
	for err != nil { // until the engine is known not to answer
		id, err = create(t.Context(), c, "one", `{"Image":"busybox"}`)
	}
	lost.Load().Up()
	enginetest.Eventually(t, "the first one is gone", func() bool { return len(lost.Load().Containers()) == 0 })
	enginetest.Eventually(t, "its name means the one that was acknowledged", func() bool {
		on, err := c.Container("one")
		return err == nil && on.ID == id
	})
}
