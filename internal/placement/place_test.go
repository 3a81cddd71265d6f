package placement_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/skep/skep/internal/placement"
)

func TestPlace_ordersByStrategy(t *testing.T) {
	some := func(count int) func(*placement.Node) {
		return func(n *placement.Node) {
			for range count {
				n.Workloads = append(n.Workloads, container("x"))
			}
		}
	}
	for _, tc := range []struct {
		name            string
		req             placement.Request
		nodes           []*placement.Node
		spread, binpack []string
	}{
		{
			name:    "by CPU when CPU is asked for",
			req:     placement.Request{CPU: core},
			nodes:   []*placement.Node{node("a", used(core, 0)), node("b", used(2*core, 0)), node("c")},
			spread:  []string{"c", "a", "b"},
			binpack: []string{"b", "a", "c"},
		},
		{
			name:    "by memory when memory is asked for",
			req:     placement.Request{Memory: gib},
			nodes:   []*placement.Node{node("a", used(0, gib)), node("b", used(3*core, 0)), node("c", used(0, 2*gib))},
			spread:  []string{"b", "a", "c"},
			binpack: []string{"c", "a", "b"},
		},
		{
			name:    "by the sum of both",
			req:     placement.Request{CPU: core, Memory: gib},
			nodes:   []*placement.Node{node("a", used(2*core, 0)), node("b", used(core, gib)), node("c", used(0, 2*gib))},
			spread:  []string{"c", "b", "a"},
			binpack: []string{"a", "b", "c"},
		},
		{
			name:    "by share of the machine, not by amount",
			req:     placement.Request{CPU: core},
			nodes:   []*placement.Node{node("small", machine(2*core, gib)), node("large", machine(16*core, gib), used(4*core, 0))},
			spread:  []string{"large", "small"},
			binpack: []string{"small", "large"},
		},
		{
			name:    "by less than a percent",
			req:     placement.Request{CPU: core},
			nodes:   []*placement.Node{node("a", machine(1000*core, gib), used(2*core, 0)), node("b", machine(1000*core, gib), used(core, 0))},
			spread:  []string{"b", "a"},
			binpack: []string{"a", "b"},
		},
		{
			name:    "not by load that was not asked for",
			req:     placement.Request{},
			nodes:   []*placement.Node{node("a", used(3*core, 7*gib)), node("b")},
			spread:  []string{"a", "b"},
			binpack: []string{"a", "b"},
		},
		{
			name:    "by containers when the load is equal",
			req:     placement.Request{},
			nodes:   []*placement.Node{node("a", some(2)), node("b", some(1)), node("c", some(3))},
			spread:  []string{"b", "a", "c"},
			binpack: []string{"c", "a", "b"},
		},
		{
			name:    "by health before load",
			req:     placement.Request{CPU: core},
			nodes:   []*placement.Node{node("shaky", health(67)), node("sound", used(2*core, 0))},
			spread:  []string{"sound", "shaky"},
			binpack: []string{"sound", "shaky"},
		},
		{
			name:    "by name and then ID when nothing else differs",
			req:     placement.Request{},
			nodes:   []*placement.Node{{ID: "2", Name: "b", Health: 1}, {ID: "1", Name: "b", Health: 1}, {ID: "3", Name: "a", Health: 1}},
			spread:  []string{"a", "b", "b"},
			binpack: []string{"a", "b", "b"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := place(t, policy(t, "spread"), tc.nodes, &tc.req); !slices.Equal(got, tc.spread) {
				t.Errorf("spread: got %v, want %v", got, tc.spread)
			}
			if got := place(t, policy(t, "binpack"), tc.nodes, &tc.req); !slices.Equal(got, tc.binpack) {
				t.Errorf("binpack: got %v, want %v", got, tc.binpack)
			}
		})
	}
}

func TestPlace_breaksTiesByID(t *testing.T) {
	nodes := []*placement.Node{{ID: "2", Name: "n", Health: 1}, {ID: "1", Name: "n", Health: 1}}
	got, err := policy(t, "spread").Place(nodes, &placement.Request{})
	if err != nil || got[0].ID != "1" || got[1].ID != "2" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestPlace_randomShufflesWithTheSourceGiven(t *testing.T) {
	nodes := []*placement.Node{node("c"), node("a"), node("b")}
	p := policy(t, "random")
	if got := place(t, p, nodes, &placement.Request{}); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("without a source: got %v, want the order of the names", got)
	}
	firsts := map[string]int{}
	source := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		firsts[place(t, p, nodes, &placement.Request{Rand: source})[0]]++
	}
	for _, name := range []string{"a", "b", "c"} {
		if firsts[name] < 50 {
			t.Errorf("%s came first %d times of 300", name, firsts[name])
		}
	}
	// No other strategy is moved by it.
	if got := place(t, policy(t, "spread"), nodes, &placement.Request{Rand: source}); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("spread: got %v", got)
	}
}

func TestPlace_checksResourcesUnderEveryStrategy(t *testing.T) {
	for _, tc := range []struct {
		name string
		node *placement.Node
		want bool
		req  placement.Request
	}{
		{"all that is free fits", node("n", used(3*core, 7*gib)), true, placement.Request{CPU: core, Memory: gib}},
		{"a bit more CPU does not", node("n", used(3*core, 7*gib)), false, placement.Request{CPU: core + 1, Memory: gib}},
		{"nor does a byte more", node("n", used(3*core, 7*gib)), false, placement.Request{CPU: core, Memory: gib + 1}},
		{"nothing fits on a full node", node("n", used(4*core, 8*gib)), true, placement.Request{}},
		{"nothing fits even on an overfull one", node("n", used(40*core, 80*gib)), true, placement.Request{}},
		{"memory fits where the CPU is overfull", node("n", used(40*core, 0)), true, placement.Request{Memory: gib}},
		{"less than nothing is nothing", node("n", used(40*core, 80*gib)), true, placement.Request{CPU: -1, Memory: -1}},
		{"a machine of unknown size has no room", node("n", machine(0, 0)), false, placement.Request{CPU: 1}},
		{"the largest request does not overflow", node("n", used(core, gib)), false, placement.Request{CPU: math.MaxInt64, Memory: math.MaxInt64}},
		{"nor does the largest use", node("n", used(math.MaxInt64, math.MaxInt64)), false, placement.Request{CPU: 1, Memory: 1}},
		{"nor does a use that makes no sense", node("n", used(math.MinInt64, math.MinInt64)), true, placement.Request{CPU: 1, Memory: 1}},
	} {
		for _, strategy := range []string{"spread", "binpack", "random"} {
			t.Run(tc.name+" by "+strategy, func(t *testing.T) {
				_, err := policy(t, strategy).Place([]*placement.Node{tc.node}, &tc.req)
				if got := err == nil; got != tc.want {
					t.Errorf("placed: %v (%v), want %v", got, err, tc.want)
				}
			})
		}
	}
}

func TestPlace_countsTheOvercommit(t *testing.T) {
	p, err := placement.NewPolicy("spread", nil, 0.05)
	if err != nil {
		t.Fatal(err)
	}
	n := node("n", machine(2*core, gib), used(2*core, 0))
	if _, err := p.Place([]*placement.Node{n}, &placement.Request{CPU: core / 10}); err != nil {
		t.Errorf("a tenth of a CPU over two: %v", err)
	}
	if _, err := p.Place([]*placement.Node{n}, &placement.Request{CPU: core/10 + 1}); err == nil {
		t.Error("more than 5 % over was promised")
	}
}

func TestPlace_relaxesSoftExpressionsOneByOne(t *testing.T) {
	db := holding(container("db"))
	a := node("a", label("rack", "1"), label("disk", "ssd"))
	b := node("b", label("rack", "2"), label("disk", "ssd"))
	c := node("c", label("rack", "2"), label("disk", "hdd"), db)
	nodes := []*placement.Node{a, b, c}

	for _, tc := range []struct {
		name                    string
		filters                 []string
		constraints, affinities []string
		want                    []string
	}{
		{"one that can be met is", nil, []string{"rack==~1"}, nil, []string{"a"}},
		{"one that cannot is dropped", nil, []string{"rack==~9"}, nil, []string{"a", "b", "c"}},
		{"and only that one", nil, []string{"rack==~9", "disk==~ssd"}, nil, []string{"a", "b"}},
		{"wherever it stands", nil, []string{"disk==~ssd", "rack==~9"}, nil, []string{"a", "b"}},
		{"the first of two that exclude each other wins", nil, []string{"rack==~1", "rack==~2"}, nil, []string{"a"}},
		{"in the order given", nil, []string{"rack==~2", "rack==~1"}, nil, []string{"b", "c"}},
		{"a hard one holds in any case", nil, []string{"rack==~1", "rack==2"}, nil, []string{"b", "c"}},
		{"a soft != is a wish too", nil, []string{"rack!=~2"}, nil, []string{"a"}},
		{"a soft affinity", nil, nil, []string{"container==~db"}, []string{"c"}},
		{"affinities come before constraints", nil, []string{"rack==~1"}, []string{"container==~db"}, []string{"c"}},
		{"unless the filters are the other way round", []string{"constraint", "affinity"}, []string{"rack==~1"}, []string{"container==~db"}, []string{"a"}},
		{"a filter that is off has no wishes", []string{"affinity"}, []string{"rack==~1"}, nil, []string{"a", "b", "c"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := place(t, policy(t, "spread", tc.filters...), nodes, &placement.Request{
				Constraints: expressions(t, tc.constraints...),
				Affinities:  expressions(t, tc.affinities...),
			})
			slices.Sort(got)
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

func TestPlace_obeysOnlyTheFiltersThatAreOn(t *testing.T) {
	full := node("n", health(0), label("containerslots", "1"), holding(container("a", publishing(port(80)))))
	req := &placement.Request{
		Ports:        []placement.Port{port(80)},
		Dependencies: []placement.Dependency{{Kind: "--link", Ref: "db"}},
		Affinities:   expressions(t, "container!=a"),
		Constraints:  expressions(t, "rack==x"),
		Whitelists:   [][]string{{"other"}},
	}
	for _, name := range allFilters {
		if _, err := policy(t, "spread", name).Place([]*placement.Node{full}, req); err == nil {
			t.Errorf("%s alone let it pass", name)
		}
	}
	if _, err := policy(t, "spread", "health").Place([]*placement.Node{node("n", used(9*core, 0))}, &placement.Request{CPU: 1}); err == nil {
		t.Error("resources were not checked without the other filters")
	}
}

func TestPlace_mayBeCalledByManyAtOnce(t *testing.T) {
	p := policy(t, "spread")
	nodes := []*placement.Node{
		node("a", holding(container("x", publishing(portRange(80, 81))))),
		node("b", label("rack", "1")),
	}
	req := &placement.Request{
		Ports:       []placement.Port{portRange(80, 81), port(82)},
		Constraints: []placement.Expression{{Key: "rack", Value: "1*", Soft: true}},
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if got, err := p.Place(nodes, req); err != nil || len(got) != 1 || got[0].Name != "b" {
					t.Errorf("got %v, %v", names(got), err)
				}
			}
		})
	}
	wg.Wait()
}
