package placement_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/skep/skep/internal/placement"
)

func TestBest_allocatesNoMoreForMoreNodes(t *testing.T) {
	few, many := benchNodes(10), benchNodes(1000)
	for _, tc := range []struct {
		name     string
		strategy string
		most     float64 // allocations
		req      placement.Request
	}{
		{"nothing asked", "spread", 1, placement.Request{}},
		{"resources", "binpack", 1, placement.Request{CPU: core, Memory: gib}},
		{"by chance", "random", 1, placement.Request{Rand: rand.New(rand.NewPCG(1, 2))}},
		{"constraints", "spread", 1, placement.Request{Constraints: expressions(t, "disk==ssd", "rack!=r1*")}},
		{"wishes", "spread", 5, placement.Request{Constraints: expressions(t, "disk==~ssd", "rack==~nowhere"), Affinities: expressions(t, "container!=~db*")}},
		{"ports", "spread", 3, placement.Request{Ports: []placement.Port{port(80), port(443)}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := policy(t, tc.strategy)
			for _, nodes := range [][]*placement.Node{few, many} {
				got := testing.AllocsPerRun(20, func() {
					if _, err := p.Best(nodes, &tc.req); err != nil {
						t.Fatal(err)
					}
				})
				if got > tc.most {
					t.Errorf("%v allocations for %d nodes, want at most %v", got, len(nodes), tc.most)
				}
			}
		})
	}
}

func TestBest_drawsEachNodeAsOftenAsTheOthers(t *testing.T) {
	const draws = 20_000
	nodes := make([]*placement.Node, 10)
	for i := range nodes {
		nodes[i] = node(fmt.Sprintf("n%d", i))
	}
	p, source := policy(t, "random"), rand.New(rand.NewPCG(1, 2))
	won := make([]int, len(nodes))
	for range draws {
		i, err := p.Best(nodes, &placement.Request{Rand: source})
		if err != nil {
			t.Fatal(err)
		}
		won[i]++
	}
	for i, n := range won {
		// 2,000 are expected, with a deviation of 42.
		if n < 1750 || n > 2250 {
			t.Errorf("%s was drawn %d times of %d", nodes[i].Name, n, draws)
		}
	}
}

func TestBest_withoutNodes(t *testing.T) {
	_, err := policy(t, "spread").Best(nil, &placement.Request{})
	if err == nil || err.Error() != "No nodes available in the cluster" {
		t.Errorf("got %v", err)
	}
}
