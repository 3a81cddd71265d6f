package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawReplicas makes replicas of one swarm ID on different engines.
func drawReplicas(t *rapid.T) []replica {
	n := rapid.IntRange(0, 4).Draw(t, "replicas")
	out := make([]replica, n)
	for i := range out {
		running := rapid.Bool().Draw(t, "running")
		out[i] = replica{
			id: fmt.Sprint("c", i), name: "web", engine: fmt.Sprint("e", i),
			host:       hostState(rapid.IntRange(0, 2).Draw(t, "host")),
			generation: rapid.IntRange(0, 3).Draw(t, "generation"),
			running:    running, started: running || rapid.Bool().Draw(t, "started"),
			created: time.Unix(int64(rapid.IntRange(0, 3).Draw(t, "created")), 0),
		}
	}
	return out
}

func TestDecide_neverTakesAwayTheOnlyOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		replicas := drawReplicas(t)
		d := decide(replicas)
		at := map[string]replica{}
		for _, r := range replicas {
			at[r.id] = r
		}
		taken := map[string]bool{}
		for _, a := range d.actions {
			switch a.step {
			case stepSupersede, stepDiscard:
				taken[a.of.id] = true
				if at[a.of.id].host != hostAnswers || at[a.by.id].host != hostAnswers {
					t.Fatalf("%s is done where no engine answers: %+v", a.step, a)
				}
				if a.of.running && !a.by.running {
					t.Fatalf("what runs is taken away for what does not: %+v", a)
				}
				if a.step == stepDiscard && (a.of.started || a.of.generation == 0) {
					t.Fatalf("removed what has run, or what a user made: %+v", a)
				}
			}
		}
		for _, a := range d.actions {
			if taken[a.by.id] {
				t.Fatalf("what is to stay is taken away: %+v", d.actions)
			}
		}
	})
}

func TestDecide_movesOnlyWhatIsNowhereElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		replicas := drawReplicas(t)
		d := decide(replicas)
		alone := len(replicas) > 0
		for _, r := range replicas {
			alone = alone && r.host == hostFailed
		}
		moves := 0
		for _, a := range d.actions {
			if a.step == stepMove {
				moves++
			}
		}
		if alone != (moves == 1) || moves > 1 {
			t.Fatalf("%d moves of %+v", moves, replicas)
		}
	})
}

func TestDecide_doesNothingWhileAnEngineMayComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		replicas := drawReplicas(t)
		if !slices.ContainsFunc(replicas, func(r replica) bool { return r.host == hostUnsure }) {
			return
		}
		if d := decide(replicas); len(d.actions) > 0 {
			t.Fatalf("%+v", d.actions)
		}
	})
}

func TestDecide_doesNotDependOnTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		replicas := drawReplicas(t)
		shuffled := rapid.Permutation(replicas).Draw(t, "shuffled")
		if a, b := fmt.Sprint(decide(replicas)), fmt.Sprint(decide(shuffled)); sortedText(a) != sortedText(b) {
			t.Fatalf("%s\n%s", a, b)
		}
	})
}

func sortedText(s string) string {
	b := []byte(s)
	slices.Sort(b)
	return string(b)
}

// TestDecide_comesToAnEnd carries out what is decided, as engines come and go,
// until nothing is left to do: then at most one that can be told from others by
// its generation is there on engines that answer.
func TestDecide_comesToAnEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		run := rapid.Bool().Draw(t, "it runs")
		world := []replica{{id: "c0", name: "web", engine: "e0", host: hostAnswers, running: run, started: true}}
		for i := range rapid.IntRange(1, 12).Draw(t, "changes") {
			at := rapid.IntRange(0, len(world)-1).Draw(t, "which")
			host := hostState(rapid.IntRange(0, 2).Draw(t, "host"))
			world[at].host = host
			for range rapid.IntRange(0, 3).Draw(t, "steps in between") {
				world = carryOutOne(world, decide(world), fmt.Sprint("c", i, "-", len(world)))
			}
		}
		for i := range world {
			world[i].host = hostAnswers
		}
		for steps := 0; ; steps++ {
			d := decide(world)
			if len(d.actions) == 0 {
				break
			}
			if steps > 20 {
				t.Fatalf("it goes on and on: %+v", world)
			}
			world = carryOutOne(world, d, fmt.Sprint("end", steps))
		}
		if len(world) != 1 {
			t.Fatalf("%d are left: %+v", len(world), world)
		}
		if d := decide(world); len(d.hidden) > 0 {
			t.Fatalf("the only one is hidden")
		}
	})
}

// carryOutOne does the first step of a decision.
func carryOutOne(world []replica, d decision, id string) []replica {
	if len(d.actions) == 0 {
		return world
	}
	a := d.actions[0]
	world = slices.Clone(world)
	switch a.step {
	case stepMove:
		world = append(world, replica{id: id, name: "web", engine: "e" + id, host: hostAnswers, generation: a.of.generation + 1})
		// It is started with the next step, or not at all if the manager ends.
	case stepFinish:
		i := slices.IndexFunc(world, func(r replica) bool { return r.id == a.by.id })
		world[i].running, world[i].started = true, true
	case stepSupersede, stepDiscard:
		world = slices.DeleteFunc(world, func(r replica) bool { return r.id == a.of.id })
	}
	return world
}

func TestDecide(t *testing.T) {
	on := func(id string, host hostState, generation int, state string) replica {
		return replica{
			id: id, name: "web", engine: "on-" + id, host: host, generation: generation,
			running: state == "running", started: state != "created",
		}
	}
	for _, tc := range []struct {
		name     string
		replicas []replica
		want     []string
		hidden   []string
	}{
		{"one that answers stays", []replica{on("a", hostAnswers, 0, "running")}, nil, nil},
		{"one of a failed engine is moved", []replica{on("a", hostFailed, 0, "running")}, []string{"move a, run"}, nil},
		{"one that did not run is moved and not started", []replica{on("a", hostFailed, 0, "exited")}, []string{"move a"}, nil},
		{"a replacement that was made is started", []replica{on("a", hostFailed, 0, "running"), on("b", hostAnswers, 1, "created")},
			[]string{"finish a by b"}, []string{"a"}},
		{"a replacement that a user has stopped stays stopped", []replica{on("a", hostFailed, 0, "running"), on("b", hostAnswers, 1, "exited")},
			nil, []string{"a"}},
		{"one that comes back is superseded", []replica{on("a", hostAnswers, 0, "running"), on("b", hostAnswers, 1, "running")},
			[]string{"supersede a by b"}, []string{"a"}},
		{"one that comes back before its replacement runs stays", []replica{on("a", hostAnswers, 0, "running"), on("b", hostAnswers, 1, "created")},
			[]string{"discard b by a"}, []string{"b"}},
		{"the engine of the replacement fails, too", []replica{on("a", hostFailed, 0, "running"), on("b", hostFailed, 1, "running")},
			[]string{"move b, run"}, []string{"a"}},
		{"the replacement fails before it started", []replica{on("a", hostFailed, 0, "running"), on("b", hostFailed, 1, "created")},
			[]string{"move b, run"}, []string{"a"}},
		{"the first comes back when the replacement fails", []replica{on("a", hostAnswers, 0, "exited"), on("b", hostFailed, 1, "running")},
			[]string{"finish b by a"}, []string{"b"}},
		{"users may have two of one swarm ID", []replica{on("a", hostAnswers, 0, "running"), on("b", hostAnswers, 0, "running")}, nil, nil},
		{"what a move in doubt has left is removed", []replica{on("a", hostAnswers, 1, "created"), on("b", hostAnswers, 1, "running")},
			[]string{"discard a by b"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := decide(tc.replicas)
			var got []string
			for _, a := range d.actions {
				text := map[step]string{stepMove: "move ", stepFinish: "finish ", stepSupersede: "supersede ", stepDiscard: "discard "}[a.step] + a.of.id
				if a.by.id != "" {
					text += " by " + a.by.id
				}
				if a.run {
					text += ", run"
				}
				got = append(got, text)
			}
			if !slices.Equal(got, tc.want) || !slices.Equal(d.hidden, tc.hidden) {
				t.Errorf("%q hidden %q, want %q hidden %q", got, d.hidden, tc.want, tc.hidden)
			}
		})
	}
}
