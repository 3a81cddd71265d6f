//go:build !race

// The timers of testing/synctest crash under the race detector before Go 1.27.

package election_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/skep/skep/internal/election"
)

// event is something that happens to a manager's link to the store.
type event struct {
	Manager int
	Cut     bool
	Delay   time.Duration
	Restart bool
	Then    time.Duration // how long it lasts before the next event
}

func events(t *rapid.T) []event {
	one := rapid.Custom(func(t *rapid.T) event {
		return event{
			Manager: rapid.IntRange(0, 1).Draw(t, "manager"),
			Cut:     rapid.Bool().Draw(t, "cut"),
			Delay:   time.Duration(rapid.IntRange(0, 900).Draw(t, "delay")) * time.Millisecond,
			Restart: rapid.IntRange(0, 9).Draw(t, "restart") == 0,
			Then:    time.Duration(rapid.IntRange(1, 1500).Draw(t, "then")) * time.Millisecond,
		}
	})
	return rapid.SliceOfN(one, 1, 25).Draw(t, "events")
}

// However links break, hang and heal: never do two managers act at a time, nor
// is the work of one under way when the other acts; and when all is well again,
// one of them acts.
func TestElection_neverLetsTwoManagersActAtATime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := events(rt)
		var fault string
		synctest.Test(t, func(t *testing.T) { fault = play(t, plan) })
		if fault != "" {
			rt.Fatal(fault)
		}
	})
}

func play(t *testing.T, plan []event) (fault string) {
	s := newServer()
	// Without time to settle, the lock alone must keep them apart: in a bubble no
	// goroutine is late.
	strict := func(c *election.Config) { c.Settle = -1 }
	managers := []*manager{join(t, s, first, strict), join(t, s, second, strict)}
	work := []context.Context{managers[0].ActingContext(), managers[1].ActingContext()}
	look := func() {
		synctest.Wait()
		acting := 0
		for i, m := range managers {
			if m.Acting() {
				work[i] = m.ActingContext()
			}
			if work[i].Err() == nil {
				acting++
			}
		}
		if acting > 1 && fault == "" {
			fault = fmt.Sprintf("two managers act, %s into the play", time.Since(begin))
		}
	}
	for _, ev := range plan {
		m := managers[ev.Manager]
		m.link.set(ev.Cut, ev.Delay)
		if ev.Restart {
			m.stop()
			look()
			managers[ev.Manager] = join(t, s, []string{first, second}[ev.Manager], strict)
		}
		for range ev.Then / time.Millisecond {
			time.Sleep(time.Millisecond)
			look()
		}
	}
	for _, m := range managers {
		m.link.set(false, 0)
	}
	for range (2*ttl + 4*time.Second) / (10 * time.Millisecond) {
		time.Sleep(10 * time.Millisecond)
		look()
	}
	if fault == "" && !managers[0].Acting() && !managers[1].Acting() {
		fault = "nobody acts though all is well"
	}
	for _, m := range managers {
		m.stop()
	}
	return fault
}

// begin is when time starts in a bubble.
var begin = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func bubble(t *testing.T, test func(t *testing.T, s *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newServer()) })
}

func TestElection_takesOverWithinTheTTL_whenThePrimaryFallsSilent(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		a := join(t, s, first)
		a.await(t, "the first acts", a.Acting)
		b := join(t, s, second)
		time.Sleep(10 * ttl)
		silent := time.Now()
		a.link.set(true, 0)
		b.await(t, "the second takes over", b.Acting)
		if took := time.Since(silent); took > ttl+50*time.Millisecond {
			t.Errorf("the take-over took %s, the TTL is %s and the time to settle 50ms", took, ttl)
		}
	})
}

func TestElection_campaignsAgainSoon_whenTheStoreComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		a := join(t, s, first)
		a.await(t, "the manager acts", a.Acting)
		a.link.set(true, 0)
		time.Sleep(time.Hour)
		if a.Acting() {
			t.Fatal("a manager acts an hour after it has lost the store")
		}
		back := time.Now()
		a.link.set(false, 0)
		a.await(t, "the manager acts again", a.Acting)
		if took := time.Since(back); took > 2*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestElection_keepsFollowing_whileTheStoreIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		a := join(t, s, first)
		a.await(t, "the first acts", a.Acting)
		b := join(t, s, second)
		b.await(t, "the second follows", b.follows(first))
		b.link.set(true, 0)
		time.Sleep(time.Minute)
		if !b.follows(first)() {
			t.Error("a replica that has lost the store forgets who leads")
		}
		a.stop()
		c := join(t, s, "192.0.2.3:3376")
		c.await(t, "a third leads", c.Acting)
		b.link.set(false, 0)
		b.await(t, "the second follows the third", b.follows("192.0.2.3:3376"))
	})
}

func TestElection_settlesBeforeItActs(t *testing.T) {
	bubble(t, func(t *testing.T, s *server) {
		began := time.Now()
		a := join(t, s, first, func(c *election.Config) { c.Settle = 3 * time.Second })
		time.Sleep(2 * time.Second)
		if _, ok := a.Primary(); ok || a.Acting() {
			t.Error("a manager acts before it has settled")
		}
		a.await(t, "it acts", a.Acting)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it acts after %s", took)
		}
	})
}
