package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
)

// crew is a cluster that has nothing but a roster of n engines, which never
// change.
func crew(n int) (c *Cluster, members []*member) {
	c = &Cluster{roster: newRoster(), reserved: map[*reservation]struct{}{}}
	for i := range n {
		m := &member{Engine: new(engine.Engine)}
		members = append(members, m)
		c.roster.put(m, &placement.Node{ID: fmt.Sprint(i), Name: fmt.Sprintf("n%04d", i), Health: 100})
	}
	return c, members
}

func testPolicy(t testing.TB) *placement.Policy {
	t.Helper()
	p, err := placement.NewPolicy("spread", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The order of a roster is nobody's business; who stands there is.
func TestRoster_holdsThoseThatWerePutLast(t *testing.T) {
	c, members := crew(20)
	r := &c.roster
	wanted := map[*member]*placement.Node{}
	for i, m := range r.members {
		wanted[m] = r.nodes[i]
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		m := members[random.IntN(len(members))]
		if random.IntN(2) == 0 {
			r.remove(m)
			delete(wanted, m)
		} else {
			wanted[m] = &placement.Node{}
			r.put(m, wanted[m])
		}
		if len(r.nodes) != len(wanted) || len(r.members) != len(wanted) || len(r.at) != len(wanted) {
			t.Fatalf("%d nodes, %d members, %d places, want %d of each", len(r.nodes), len(r.members), len(r.at), len(wanted))
		}
		for i, m := range r.members {
			if r.nodes[i] != wanted[m] || r.at[m] != i {
				t.Fatal("a member has another's node")
			}
		}
	}
}

func TestRoster_forgetsWhoHasLeft(t *testing.T) {
	c, members := crew(2)
	members[0].left.Store(true)
	c.roster.remove(members[0])
	c.roster.mark(members[0]) // as for a reservation that is given back later
	if len(c.roster.outdated) != 0 || slices.Contains(c.roster.members, members[0]) {
		t.Error("it is still there")
	}
}

func TestBest_ofSomeEnginesIsOneOfThem(t *testing.T) {
	c, members := crew(5)
	only := map[*engine.Engine]bool{members[3].Engine: true, members[4].Engine: true}
	for range 2 { // with what the first choice has left behind
		if got, err := c.best(testPolicy(t), only, &placement.Request{}); err != nil || got != members[3] {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if got, err := c.best(testPolicy(t), nil, &placement.Request{}); err != nil || got != members[0] {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := c.best(testPolicy(t), map[*engine.Engine]bool{}, &placement.Request{}); err == nil {
		t.Error("there is one, where none may be chosen")
	}
}

func TestBest_allocatesNoMoreForMoreEngines(t *testing.T) {
	c, members := crew(1000)
	half := map[*engine.Engine]bool{}
	for _, m := range members[:500] {
		half[m.Engine] = true
	}
	p := testPolicy(t)
	for name, only := range map[string]map[*engine.Engine]bool{"all": nil, "half of them": half} {
		got := testing.AllocsPerRun(20, func() {
			if _, err := c.best(p, only, &placement.Request{Memory: 0}); err != nil {
				t.Fatal(err)
			}
		})
		if got > 2 {
			t.Errorf("%v allocations to choose among %s", got, name)
		}
	}
}

func BenchmarkBest(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprintf("engines=%d", n), func(b *testing.B) {
			c, _ := crew(n)
			p := testPolicy(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.best(p, nil, &placement.Request{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
