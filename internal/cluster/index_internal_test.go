package cluster

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"pgregory.net/rapid"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
)

// bystander is an observer of engines that are not run.
type bystander struct{}

func (bystander) EngineState(*engine.Engine, engine.State, engine.State, error) {}
func (bystander) EngineContainers(_ *engine.Engine, _, _ []*engine.Container)   {}
func (bystander) EngineObjects(*engine.Engine)                                  {}
func (bystander) EngineEvent(*engine.Engine, engine.Event)                      {}

func idleEngine(t testing.TB, address string) *engine.Engine {
	e, err := engine.New(engine.Config{Address: address, Observer: bystander{}})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func emptyCluster(t testing.TB) *Cluster {
	policy, err := placement.NewPolicy("spread", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The index says what a list of all containers, searched from end to end, says.
func TestIndex_isAsAListOfAll(tb *testing.T) {
	engines := []*engine.Engine{idleEngine(tb, "a:1"), idleEngine(tb, "b:1")}
	// Few letters, so that IDs, swarm IDs, names and beginnings meet.
	letter := rapid.SampledFrom([]string{"a", "b"})
	id := rapid.Custom(func(t *rapid.T) string {
		return strings.Repeat(letter.Draw(t, "first"), 6) + strings.Repeat(letter.Draw(t, "second"), 5) +
			letter.Draw(t, "third") + strings.Repeat(letter.Draw(t, "rest"), 52)
	})
	name := rapid.SampledFrom([]string{"web", "db", "aaaaaa", "aaaaaaaaaaaa", "b", "web/alias"})
	ref := rapid.OneOf(name, id, rapid.Custom(func(t *rapid.T) string {
		return id.Draw(t, "id")[:rapid.IntRange(0, 64).Draw(t, "length")]
	}), rapid.Just("/web"), rapid.Just("nobody"))

	rapid.Check(tb, func(t *rapid.T) {
		c := emptyCluster(tb)
		model := map[string]*Container{}
		check := func(t *rapid.T) {
			var all []*Container
			c.index.byAge.Scan(func(x *Container) bool {
				all = append(all, x)
				return true
			})
			if len(all) != len(model) || c.index.byID.Len() != len(model) {
				t.Fatalf("%d by age, %d by ID, %d there", len(all), c.index.byID.Len(), len(model))
			}
			if !sort.SliceIsSorted(all, func(i, j int) bool { return newer(all[i], all[j]) }) {
				t.Fatal("not by age")
			}
			names, swarmIDs := 0, 0
			for _, x := range model {
				if got, _ := c.index.byID.Get(x.ID); got != x {
					t.Fatalf("%s is not what was put", x.ID)
				}
				for _, n := range x.Names {
					if !slices.Contains(c.index.byName[n], x) {
						t.Fatalf("%s is not found as %s", x.ID, n)
					}
					names++
				}
				if x.SwarmID != "" {
					swarmIDs++
				}
			}
			for n, list := range c.index.byName {
				if names -= len(list); len(list) == 0 {
					t.Fatalf("name %s of nobody", n)
				}
			}
			if names != 0 || c.index.bySwarmID.Len() != swarmIDs {
				t.Fatalf("%d names too few, %d swarm IDs of %d", names, c.index.bySwarmID.Len(), swarmIDs)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": check,
			"put": func(t *rapid.T) {
				ec := &engine.Container{
					ID: id.Draw(t, "id"), Created: time.Unix(rapid.Int64Range(1, 3).Draw(t, "created"), 0),
					Names: rapid.SliceOfNDistinct(name, 0, 2, rapid.ID).Draw(t, "names"), Labels: map[string]string{},
				}
				if rapid.Bool().Draw(t, "swarm") {
					ec.Labels[LabelSwarmID] = id.Draw(t, "swarm ID")
				}
				x := newContainer(rapid.SampledFrom(engines).Draw(t, "engine"), ec)
				c.index.put(x)
				model[x.ID] = x
			},
			"remove": func(t *rapid.T) {
				gone := id.Draw(t, "id")
				c.index.remove(gone)
				delete(model, gone)
			},
			"find": func(t *rapid.T) {
				given := ref.Draw(t, "ref")
				want := naiveFind(model, given)
				found, err := c.Container(given)
				switch {
				case len(want) == 0 && errdefs.IsNotFound(err):
				case len(want) == 1 && err == nil && found == want[0]:
				case len(want) > 1 && errdefs.IsInvalidArgument(err) && strings.Contains(err.Error(), "is ambiguous"):
				default:
					t.Fatalf("%q: %v, %v; %d are meant", given, found, err, len(want))
				}
			},
		})
	})
}

// naiveFind tries one stage after the other on every container.
func naiveFind(all map[string]*Container, given string) []*Container {
	given = strings.TrimPrefix(given, "/")
	whole := len(given) == 64 || len(given) == 12
	for _, stage := range []func(*Container) bool{
		func(x *Container) bool { return whole && strings.HasPrefix(x.ID, given) },
		func(x *Container) bool { return whole && x.SwarmID != "" && strings.HasPrefix(x.SwarmID, given) },
		func(x *Container) bool { return slices.Contains(x.Names, given) },
		func(x *Container) bool {
			return strings.HasPrefix(x.ID, given) || x.SwarmID != "" && strings.HasPrefix(x.SwarmID, given)
		},
	} {
		var found []*Container
		for _, x := range all {
			if given != "" && stage(x) {
				found = append(found, x)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

func TestCompareNatural(t *testing.T) {
	ordered := []string{"", "10", "a", "node-", "node-1", "node-01", "node-1a", "node-2", "node-10", "node-10-2", "node-10-11", "node-99999999999999999999", "node-100000000000000000000", "nodes"}
	slices.SortFunc(ordered[4:6], compareNatural) // which of the two is first is all one
	for i, a := range ordered {
		for j, b := range ordered {
			if got := compareNatural(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
	name := rapid.StringOfN(rapid.SampledFrom([]rune("01a-")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := name.Draw(t, "a"), name.Draw(t, "b"), name.Draw(t, "c")
		ab, bc, ac := compareNatural(a, b), compareNatural(b, c), compareNatural(a, c)
		if ab < 0 != (compareNatural(b, a) > 0) || ab == 0 != (a == b) || ab < 0 && bc < 0 && ac >= 0 {
			t.Fatalf("%q %q %q: %d %d %d", a, b, c, ab, bc, ac)
		}
	})
}

func TestExecIndex_forgetsTheOldestFirst(t *testing.T) {
	x := newExecIndex()
	first, second := idleEngine(t, "a:1"), idleEngine(t, "b:1")
	for i := range manyExecs + 10 {
		x.put(fmt.Sprint(i), first)
	}
	x.put(fmt.Sprint(manyExecs), second) // known: it has moved, and takes no new place
	if len(x.engines) != manyExecs || x.engines["9"] != nil || x.engines["10"] != first || x.engines[fmt.Sprint(manyExecs)] != second {
		t.Errorf("%d are remembered", len(x.engines))
	}
}
