package engine

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// silentObserver counts what it is told.
type silentObserver struct {
	Observer
	moves []string
}

func (o *silentObserver) EngineState(_ *Engine, from, to State, _ error) {
	o.moves = append(o.moves, from.String()+">"+to.String())
}
func (*silentObserver) EngineObjects(*Engine) {}

func TestMove_onlyAsTheTableSays(t *testing.T) {
	states := []State{Pending, Healthy, Unhealthy, Maintenance, Disconnected}
	legalMoves := map[string]bool{
		"Pending>Healthy": true, "Pending>Maintenance": true, "Pending>Disconnected": true,
		"Healthy>Unhealthy": true, "Healthy>Maintenance": true, "Healthy>Pending": true, "Healthy>Disconnected": true,
		"Unhealthy>Healthy": true, "Unhealthy>Maintenance": true, "Unhealthy>Pending": true, "Unhealthy>Disconnected": true,
		"Maintenance>Healthy": true, "Maintenance>Unhealthy": true, "Maintenance>Pending": true, "Maintenance>Disconnected": true,
	}
	for _, from := range states {
		for _, to := range states {
			for _, cause := range []error{nil, errors.New("reason")} {
				name := from.String() + ">" + to.String()
				o := &silentObserver{}
				e, err := New(Config{Address: "a:1", Observer: o})
				if err != nil {
					t.Fatal(err)
				}
				e.state, e.failures, e.lastErr = from, 2, errors.New("before")
				before := e.Status()
				e.move(to, cause)
				after := e.Status()
				if from.CanBecome(to) != legalMoves[name] {
					t.Errorf("%s: CanBecome says %t", name, from.CanBecome(to))
				}
				switch {
				case from == to:
					if len(o.moves) != 0 || after.State != from || !errors.Is(after.Err, cause) {
						t.Errorf("%s: told %v, status %+v", name, o.moves, after)
					}
				case legalMoves[name]:
					if !slices.Equal(o.moves, []string{name}) || after.State != to || !errors.Is(after.Err, cause) || (cause == nil) != (after.Failures == 0) {
						t.Errorf("%s: told %v, status %+v", name, o.moves, after)
					}
				case len(o.moves) != 0 || after != before:
					t.Errorf("%s is no legal move: told %v, status %+v", name, o.moves, after)
				}
				answers := after.State == Healthy || after.State == Maintenance
				if answers != e.Answers() || from != to && answers && legalMoves[name] && e.aliveContext().Err() != nil {
					t.Errorf("%s: answers %t, alive %v", name, e.Answers(), e.aliveContext().Err())
				}
			}
		}
	}
}

func TestStateString(t *testing.T) {
	if got := State(9).String(); got != "State(9)" {
		t.Error(got)
	}
}

// truth is what an engine held when a question was asked: versions of
// containers, which only grow.
type truth struct {
	seq      uint64
	versions map[string]int
}

// Answers come in any order, and the table ends with what the last question
// saw; a container that has gone does not come back, at no moment.
func TestContainerTable_endsWithTheLastQuestion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ids := []string{"a", "b", "c", "d"}
		held := map[string]int{}
		gone := map[string]bool{} // IDs are never used again
		version := 0
		var questions []truth
		for seq := uint64(1); seq <= 12; seq++ {
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				id := rapid.SampledFrom(ids).Draw(t, "id")
				version++
				switch {
				case gone[id]:
				case held[id] == 0 || rapid.Bool().Draw(t, "change"):
					held[id] = version
				default:
					delete(held, id)
					gone[id] = true
				}
			}
			questions = append(questions, truth{seq, maps.Clone(held)})
		}
		last := map[string]truth{} // the last question about each
		mirror := map[string]int{} // what the observer was told
		table := newContainerTable(func(put, left []*Container) {
			for _, c := range put {
				mirror[c.ID] = int(c.Host.Memory)
			}
			for _, c := range left {
				delete(mirror, c.ID)
			}
		})
		vanished := map[string]uint64{} // the question that found it gone
		order := rapid.Permutation(questions).Draw(t, "order of answers")
		for _, q := range order {
			about := ids
			if rapid.Bool().Draw(t, "targeted") {
				about = rapid.SliceOfNDistinct(rapid.SampledFrom(ids), 1, 3, rapid.ID).Draw(t, "about")
				var missing []string
				for _, id := range about {
					if q.versions[id] == 0 {
						missing = append(missing, id)
					}
				}
				table.put(q.seq, q.answer(about), missing)
			} else {
				listed := map[string]bool{}
				for id := range q.versions {
					listed[id] = true
				}
				// What the list shows as it is known is not inspected.
				table.replace(q.seq, 0, listed, slices.DeleteFunc(q.answer(ids), func(c *Container) bool {
					known := table.get(c.ID)
					return known != nil && known.Host.Memory == c.Host.Memory && rapid.Bool().Draw(t, "not inspected")
				}))
			}
			for _, id := range about {
				if last[id].seq < q.seq {
					last[id] = q
				}
				if q.versions[id] == 0 && last[id].versions[id] == 0 {
					vanished[id] = max(vanished[id], q.seq)
				}
			}
			for id := range gone {
				if c := table.get(id); c != nil && vanished[id] > c.seq {
					t.Fatalf("%s came back with the answer to question %d; question %d had found it gone", id, c.seq, vanished[id])
				}
			}
		}
		for id, q := range last {
			want := q.versions[id]
			got := 0
			if c := table.get(id); c != nil {
				got = int(c.Host.Memory)
			}
			// A targeted question about an ID that was unknown before leaves no
			// trace but for those that come later.
			if got != want {
				t.Fatalf("%s: version %d, the last question (%d) saw %d", id, got, q.seq, want)
			}
		}
		shown := map[string]int{}
		for _, c := range table.all() {
			shown[c.ID] = int(c.Host.Memory)
		}
		if !maps.Equal(shown, mirror) {
			t.Fatalf("the observer was told %v, the table holds %v", mirror, shown)
		}
		// And once it is cleared, nothing of before counts.
		table.clear(100)
		for _, q := range order {
			table.put(q.seq, q.answer(ids), nil)
		}
		if n := len(table.all()); n != 0 || len(mirror) != 0 {
			t.Fatalf("%d containers after clear, told %v", n, mirror)
		}
	})
}

func (q truth) answer(about []string) []*Container {
	var out []*Container
	for _, id := range about {
		if v := q.versions[id]; v != 0 {
			out = append(out, &Container{ID: id, Host: HostConfig{Memory: int64(v)}, seq: q.seq})
		}
	}
	return out
}

func TestVersioned_endsWithTheLastQuestion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		told := 0
		v := versioned[uint64]{changed: func() { told++ }}
		seqs := rapid.SliceOfN(rapid.Uint64Range(1, 100), 1, 20).Draw(t, "answers")
		for i, seq := range seqs {
			v.put(seq, seq)
			if got, want := v.get(), slices.Max(seqs[:i+1]); got != want {
				t.Fatalf("holds the answer to %d, not to %d", got, want)
			}
		}
		if told == 0 || told > len(seqs) {
			t.Fatalf("told %d times", told)
		}
	})
}

func TestDirtyQueue_losesNoMark(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newDirtyQueue()
		want, got := map[string]uint64{}, map[string]uint64{}
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "take") {
				set := q.take(containersShare)
				for id, seq := range set.containers {
					got[id] = max(got[id], seq)
				}
				continue
			}
			id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id")
			want[id] = uint64(i)
			q.mark(func(d *dirtySet) { d.container(id, uint64(i)) })
			if len(q.ready[containersShare]) != 1 {
				t.Fatal("no signal")
			}
			if rapid.Bool().Draw(t, "rest") {
				q.mark(func(d *dirtySet) { d.volumes = true })
				if set := q.take(restShare); !set.volumes || set.containers != nil || len(q.ready[restShare]) != 1 {
					t.Fatalf("the rest is %+v", set)
				}
			}
		}
		var rest dirtySet
		rest.add(dirtySet{containers: got})
		rest.add(q.take(containersShare))
		if !maps.Equal(rest.containers, want) {
			t.Fatalf("got %v, want %v", rest.containers, want)
		}
	})
}

func TestEventLog_passesEachEventOnceAndRemembersABoundedNumber(t *testing.T) {
	log := newEventLog(at(1_700_000_000))
	line := func(i int) *Event {
		return &Event{Raw: fmt.Appendf(nil, `{"n":%d}`, i), TimeNano: at(1_700_000_000 + int64(i)).UnixNano()}
	}
	for i := range 5000 {
		if !log.first(line(i)) || log.first(line(i)) {
			t.Fatalf("event %d", i)
		}
		if i > 300 && log.first(line(i-300)) {
			t.Fatalf("event %d was forgotten after 300 others", i-300)
		}
	}
	if len(log.seen) > seenEvents {
		t.Errorf("%d are remembered", len(log.seen))
	}
	if got := log.since(); got != "1700004997.000000000" {
		t.Errorf("since %s", got)
	}
}

func TestReadAtMost(t *testing.T) {
	if b, err := readAtMost(strings.NewReader("12345678"), 8); err != nil || string(b) != "12345678" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := readAtMost(endless{}, 1<<20); err == nil || err.Error() != "answer is larger than 1 MiB" {
		t.Error(err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestReadEvents_skipsWhatIsNone(t *testing.T) {
	long := strings.Repeat("x", maxEvent)
	for _, tc := range []struct {
		name, stream string
		events, bad  int
	}{
		{"nothing", "", 0, 0},
		{"one", "{}\n", 1, 0},
		{"white space between", "\n\r\n {} \r\n\n{}\n", 2, 0},
		{"the beginning of one at the end", "{}\n{\"Type\":\"con", 1, 0},
		{"no JSON", "oops\n{}\n", 1, 1},
		{"too long", `{"Type":"` + long + "\"}\n{}\n", 1, 1},
		{"too long and no end", `{"Type":"` + long, 0, 0},
		{"just short enough", `{"Type":"` + long[:maxEvent-20] + "\"}\n", 1, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			events, bad := 0, 0
			err := readEvents(strings.NewReader(tc.stream), func(Event) { events++ }, func(error) { bad++ })
			if !errors.Is(err, io.EOF) || events != tc.events || bad != tc.bad {
				t.Errorf("%d events, %d bad lines, %v", events, bad, err)
			}
		})
	}
}

func TestLasting(t *testing.T) {
	for given, want := range map[string]string{
		"":                             "",
		"Created":                      "Created",
		"Up Less than a second":        "Up",
		"Up 3 minutes (healthy)":       "Up (healthy)",
		"Up About an hour (Paused)":    "Up (Paused)",
		"Up 2 days (health: starting)": "Up (health: starting)",
		"Exited (137) 2 weeks ago":     "Exited (137)",
		"Restarting (1) 5 seconds ago": "Restarting (1)",
		"Removal In Progress":          "Removal",
		"Odd (a) and (b":               "Odd (a) (b)",
	} {
		if got := lasting(given); got != want {
			t.Errorf("%q: %q", given, got)
		}
	}
}

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }
