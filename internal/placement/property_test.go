package placement_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/skep/skep/internal/placement"
)

// world draws clusters and requests from so few names and numbers that things
// meet, clash and tie all the time.
type world struct {
	*rapid.T
	ranges bool // of ports; then all are for all interfaces
}

func newWorld(t *rapid.T) world { return world{t, rapid.Bool().Draw(t, "ranges")} }

func (w world) pick(what string, from ...string) string {
	return rapid.SampledFrom(from).Draw(w.T, what)
}

func (w world) number(what string, low, high int) int {
	return rapid.IntRange(low, high).Draw(w.T, what)
}

func (w world) port() placement.Port {
	first := uint16(w.number("first", 1, 5))
	p := placement.Port{First: first, Last: first, Protocol: w.pick("protocol", "tcp", "tcp", "udp")}
	if w.ranges {
		p.Last = min(p.Last+uint16(w.number("more ports", 0, 3)), 6)
	} else {
		p.HostIP = w.pick("ip", "", "", "0.0.0.0", "::", "10.0.0.1", "10.0.0.2", "::1")
	}
	return p
}

func (w world) ports(most int) []placement.Port {
	ports := make([]placement.Port, w.number("ports", 0, most))
	for i := range ports {
		ports[i] = w.port()
	}
	return ports
}

var (
	someIDs   = []string{"", "aaaaaaaaaaaa1111", "aaaaaaaaaaaa2222", "abbbbbbbbbbb", "cccc"}
	someNames = []string{"", "web", "db", "web-1", "cache"}
)

func (w world) workload() *placement.Workload {
	c := &placement.Workload{
		ID: w.pick("id", someIDs...), SwarmID: w.pick("swarm id", someIDs...), Name: w.pick("name", someNames...),
		HostNetwork: w.number("host network", 0, 3) == 0,
		Ports:       w.ports(3),
	}
	if alias := w.pick("alias", someNames...); alias != "" {
		c.Aliases = []string{alias}
	}
	if app := w.pick("app", "", "shop", "bank"); app != "" {
		c.Labels = map[string]string{"app": app}
	}
	return c
}

var someRefs = []string{"busybox:latest", "busybox:1", "busybox@sha256:ffff", "reg:5000/a/b:1", "reg:5000/a/b@sha256:ffff"}

func (w world) node(i int) *placement.Node {
	n := &placement.Node{
		ID: fmt.Sprintf("id%d", i), Name: fmt.Sprintf("n%d", i/2), // two nodes of each name
		Health:     rapid.SampledFrom([]int{0, 67, 100, 100, 100}).Draw(w.T, "health"),
		CPU:        core * int64(w.number("cpu", 0, 4)),
		Memory:     gib * int64(w.number("memory", 0, 4)),
		UsedCPU:    core / 2 * int64(w.number("used cpu", 0, 4)),
		UsedMemory: gib / 2 * int64(w.number("used memory", 0, 4)),
		Labels:     map[string]string{"rack": w.pick("rack", "a", "b", "ab")},
	}
	if slots := w.pick("slots", "", "", "0", "1", "2", "x"); slots != "" {
		n.Labels["containerslots"] = slots
	}
	for range w.number("workloads", 0, 3) {
		n.Workloads = append(n.Workloads, w.workload())
	}
	for range w.number("images", 0, 2) {
		n.Images = append(n.Images, &placement.Image{
			ID:   "sha256:" + w.pick("image", someIDs[1:]...),
			Refs: rapid.SliceOfN(rapid.SampledFrom(someRefs), 0, 2).Draw(w.T, "refs"),
		})
	}
	return n
}

func (w world) nodes() []*placement.Node {
	nodes := make([]*placement.Node, w.number("nodes", 1, 6))
	for i := range nodes {
		nodes[i] = w.node(i)
	}
	return nodes
}

func (w world) expressions(keysAndValues map[string][]string, keys ...string) []placement.Expression {
	var es []placement.Expression
	for range w.number("expressions", 0, 3) {
		key := w.pick("key", keys...)
		s := key + w.pick("operator", "==", "!=") + w.pick("soft", "", "~", "~") + w.pick("value", keysAndValues[key]...)
		e, err := placement.ParseExpression(s)
		if err != nil {
			w.Fatal(err)
		}
		es = append(es, e)
	}
	return es
}

var (
	constraintValues = map[string][]string{
		"node": {"n0", "n1", "id2", "n*", "*", "/[01]/"},
		"rack": {"a", "b", "a*", "*b", "*", "/^a/", "/a|c/", "a.", "?"},
		"zone": {"x", "*", "/^$/"},
	}
	affinityValues = map[string][]string{
		"container": {"web", "db", "web*", "aaaaaaaaaaaa1111", "aaaaaaaaaaaa", "aaaa", "cccc", "cccc*", "n0/web", "/web|db/", "*", "/"},
		"image":     {"busybox", "busybox:1", "busy*", "reg:5000/a/b", "reg:5000/a/b:1", "reg", "sha256:cccc", "cccc", "aaaaaaaaaaaa", "sha256:aaaaaaaaaaaa", "docker.io/library/busybox", "/box/", "*@sha256*"},
		"app":       {"shop", "*", "/^$/", "b*k"},
	}
)

func (w world) request() *placement.Request {
	req := &placement.Request{
		HostNetwork: w.number("host network", 0, 3) == 0,
		Ports:       w.ports(3),
		Constraints: w.expressions(constraintValues, "node", "rack", "zone"),
		Affinities:  w.expressions(affinityValues, "container", "image", "app"),
	}
	if rapid.Bool().Draw(w.T, "asks for resources") {
		req.CPU = core / 2 * int64(w.number("asked cpu", 0, 4))
		req.Memory = gib / 2 * int64(w.number("asked memory", 0, 4))
	}
	if w.number("any port", 0, 3) == 0 {
		req.Ports = append(req.Ports, placement.Port{Protocol: "tcp"})
	}
	if w.number("dependency", 0, 4) == 0 {
		kind := w.pick("kind", "--link", "--volumes-from", "--net")
		ref := w.pick("ref", "web", "db", "aaaa", "aaaaaaaaaaaa", "a", "cccc", "n0/web", "n1/db", "")
		switch kind {
		case "--link":
			ref += ":alias"
		case "--volumes-from":
			ref += w.pick("mode", "", ":ro")
		case "--net":
			ref = "container:" + ref
		}
		req.Dependencies = []placement.Dependency{{Kind: kind, Ref: ref}}
	}
	if w.number("whitelist", 0, 4) == 0 {
		req.Whitelists = [][]string{{"n0", "n2"}, {"n0", "n1"}}[:w.number("lists", 1, 2)]
	}
	return req
}

func (w world) policy() (*placement.Policy, naive) {
	m := naive{
		strategy:   w.pick("strategy", "spread", "binpack", "random"),
		overcommit: int64(w.number("overcommit", -1, 1)) * 25,
	}
	filters := rapid.Permutation(allFilters).Draw(w.T, "filters")
	m.filters = filters[:w.number("filters", 1, len(filters))]
	p, err := placement.NewPolicy(m.strategy, m.filters, float64(m.overcommit)/100)
	if err != nil {
		w.Fatal(err)
	}
	return p, m
}

func TestPlace_agreesWithTheNaiveModel(t *testing.T) {
	placed, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		nodes, req := w.nodes(), w.request()
		p, model := w.policy()

		got, err := p.Place(nodes, req)
		want := model.place(nodes, req)
		if !slices.Equal(got, want) {
			t.Fatalf("got %v (%v), want %v", describe(got), err, describe(want))
		}
		if err == nil {
			placed++
			return
		}
		refused++
		if !errdefs.IsUnavailable(err) || len(err.Error()) > 2000 {
			t.Fatalf("error %q", err)
		}
		var e *placement.UnplaceableError
		if e, _ = err.(*placement.UnplaceableError); e == nil {
			t.Fatalf("error %T", err)
		}
		counted := 0
		for _, reason := range e.Reasons {
			counted += reason.Nodes
		}
		if len(e.Reasons) > 0 && counted != len(nodes) {
			t.Fatalf("%d of %d nodes have a reason: %v", counted, len(nodes), e)
		}
	})
	if !t.Failed() && (placed == 0 || refused == 0) {
		t.Errorf("%d placed, %d refused: the worlds say nothing", placed, refused)
	}
}

func TestBest_isTheFirstThatPlaceGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		nodes, req := w.nodes(), w.request()
		p, model := w.policy()
		var again *placement.Request
		if seed := uint64(w.number("seed", 0, 3)); seed > 0 {
			req.Rand = rand.New(rand.NewPCG(seed, 2))
			second := *req
			second.Rand = rand.New(rand.NewPCG(seed, 2))
			again = &second
		} else {
			again = req
		}
		all, err := p.Place(nodes, req)
		best, bestErr := p.Best(nodes, again)
		if fmt.Sprint(err) != fmt.Sprint(bestErr) {
			t.Fatalf("Place: %v, Best: %v", err, bestErr)
		}
		if err != nil {
			return
		}
		if nodes[best] != all[0] {
			t.Fatalf("Best: %s, Place: %v", nodes[best].ID, describe(all))
		}
		if want := model.place(nodes, req); req.Rand == nil && nodes[best] != want[0] {
			t.Fatalf("Best: %s, the model: %v", nodes[best].ID, describe(want))
		}
	})
}

func TestPlace_neverUsesANodeThatAHardRuleForbids(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		nodes, req := w.nodes(), w.request()
		p, model := w.policy()
		got, _ := p.Place(nodes, req)
		for _, n := range got {
			if !model.accepts(n, req) {
				t.Fatalf("%s was returned", n.ID)
			}
		}
	})
}

func TestPlace_returnsEveryNodeThatWillDoWhenNothingIsSoft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		nodes, req := w.nodes(), w.request()
		p, model := w.policy()
		for i := range req.Constraints {
			req.Constraints[i].Soft = false
		}
		for i := range req.Affinities {
			req.Affinities[i].Soft = false
		}
		got, _ := p.Place(nodes, req)
		for _, n := range nodes {
			if model.accepts(n, req) != slices.Contains(got, n) {
				t.Fatalf("%s: model %v, returned %v", n.ID, model.accepts(n, req), slices.Contains(got, n))
			}
		}
	})
}

func TestPlace_softExpressionsNeverMakeItFail(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		nodes, req := w.nodes(), w.request()
		p, _ := w.policy()
		hard := *req
		hard.Constraints = slices.DeleteFunc(slices.Clone(req.Constraints), func(e placement.Expression) bool { return e.Soft })
		hard.Affinities = slices.DeleteFunc(slices.Clone(req.Affinities), func(e placement.Expression) bool { return e.Soft })

		got, err := p.Place(nodes, req)
		all, hardErr := p.Place(nodes, &hard)
		if (err == nil) != (hardErr == nil) {
			t.Fatalf("with soft ones: %v, without: %v", err, hardErr)
		}
		if err != nil && err.Error() != hardErr.Error() {
			t.Fatalf("with soft ones:\n%v\nwithout:\n%v", err, hardErr)
		}
		for _, n := range got {
			if !slices.Contains(all, n) {
				t.Fatalf("%s is there only because of soft ones", n.ID)
			}
		}
	})
}

func TestPlace_doesNotDependOnTheOrderOfNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		nodes, req := w.nodes(), w.request()
		p, _ := w.policy()
		shuffled := rapid.Permutation(nodes).Draw(t, "shuffled")

		req.Rand = rand.New(rand.NewPCG(1, 2))
		got, err := p.Place(nodes, req)
		req.Rand = rand.New(rand.NewPCG(1, 2))
		again, errAgain := p.Place(shuffled, req)
		if !slices.Equal(got, again) || fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Fatalf("got %v (%v), then %v (%v)", describe(got), err, describe(again), errAgain)
		}
		req.Rand = rand.New(rand.NewPCG(1, 2))
		if best, err := p.Best(shuffled, req); err == nil && shuffled[best] != got[0] {
			t.Fatalf("got %v, the best is %s", describe(got), shuffled[best].ID)
		}
	})
}

func TestPlace_changesNothingItIsGiven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		nodes, req := w.nodes(), w.request()
		p, _ := w.policy()
		order := slices.Clone(nodes)
		before := copyOf(nodes)
		ports, constraints, affinities := slices.Clone(req.Ports), slices.Clone(req.Constraints), slices.Clone(req.Affinities)

		_, _ = p.Place(nodes, req)
		_, _ = p.Best(nodes, req)
		if !slices.Equal(order, nodes) {
			t.Fatal("the order of the nodes changed")
		}
		if diff := cmp.Diff(before, nodes); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff([]any{ports, constraints, affinities}, []any{req.Ports, req.Constraints, req.Affinities}); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestPlace_acceptsPortsOnlyIfTheyCanBeAssigned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Ranges on mixed interfaces, where assigning is greedy: it may miss a
		// way, but never invent one.
		req := &placement.Request{}
		w := world{t, true}
		for range w.number("ports", 1, 4) {
			p := w.port()
			p.HostIP = w.pick("ip", "", "0.0.0.0", "::", "10.0.0.1", "::1")
			req.Ports = append(req.Ports, p)
		}
		n := node("n")
		for range w.number("taken", 0, 3) {
			p := w.port()
			p.Last = p.First
			p.HostIP = w.pick("ip", "", "10.0.0.1")
			n.Workloads = append(n.Workloads, container("x", publishing(p)))
		}
		if _, err := policyOf("spread", "port").Place([]*placement.Node{n}, req); err == nil && !naivePorts(n, req) {
			t.Fatal("accepted, but there is no way to assign the ports")
		}
	})
}

func TestSpread_keepsEqualNodesWithinOneContainer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := world{T: t}
		nodes := equalNodes(w.number("nodes", 1, 9))
		req := &placement.Request{CPU: core / 100 * int64(w.number("cpu", 0, 3)), Memory: mib * int64(w.number("memory", 0, 3))}
		for i := range w.number("requests", 1, 40) {
			put(t, policyOf("spread"), nodes, req, i)
			counts := make([]int, len(nodes))
			for i, n := range nodes {
				counts[i] = len(n.Workloads)
			}
			if slices.Max(counts)-slices.Min(counts) > 1 {
				t.Fatalf("after %d: %v", i+1, counts)
			}
		}
	})
}

func TestBinpack_fillsANodeBeforeItTakesTheNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := world{T: t}
		nodes := equalNodes(5)
		perNode := w.number("per node", 1, 8)
		req := &placement.Request{CPU: 4 * core / int64(perNode)}
		requests := w.number("requests", 1, 5*perNode)
		for i := range requests {
			put(t, policyOf("binpack"), nodes, req, i)
		}
		inUse := 0
		for _, n := range nodes {
			if len(n.Workloads) > 0 {
				inUse++
			}
		}
		if want := (requests + perNode - 1) / perNode; inUse != want {
			t.Fatalf("%d requests of %d per node use %d nodes, want %d", requests, perNode, inUse, want)
		}
	})
}

// put places req and books it on the node that came first.
func put(t *rapid.T, p *placement.Policy, nodes []*placement.Node, req *placement.Request, number int) {
	got, err := p.Place(nodes, req)
	if err != nil {
		t.Fatal(err)
	}
	after := *got[0]
	after.UsedCPU += req.CPU
	after.UsedMemory += req.Memory
	after.Workloads = append(slices.Clone(after.Workloads), container(fmt.Sprint(number)))
	nodes[slices.Index(nodes, got[0])] = &after
}

func equalNodes(count int) []*placement.Node {
	nodes := make([]*placement.Node, count)
	for i := range nodes {
		nodes[i] = node(fmt.Sprintf("n%d", i))
	}
	return nodes
}

func policyOf(strategy string, filters ...string) *placement.Policy {
	p, err := placement.NewPolicy(strategy, filters, 0)
	if err != nil {
		panic(err)
	}
	return p
}

func copyOf(nodes []*placement.Node) []*placement.Node {
	out := make([]*placement.Node, len(nodes))
	for i, n := range nodes {
		c := *n
		c.Workloads = nil
		for _, w := range n.Workloads {
			d := *w
			d.Ports = slices.Clone(w.Ports)
			c.Workloads = append(c.Workloads, &d)
		}
		out[i] = &c
	}
	return out
}

func describe(nodes []*placement.Node) []string {
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.Name + "(" + n.ID + ")"
	}
	return ids
}
