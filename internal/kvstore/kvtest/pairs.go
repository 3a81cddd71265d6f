package kvtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/skep/skep/internal/kvstore"
)

func (s Suite) listsNothing(t *testing.T) {
	store := s.open(t)
	pairs, err := store.List(within(t, patience), prefix(t))
	must(t, err)
	if len(pairs) != 0 {
		t.Errorf("got %v", pairs)
	}
}

func (s Suite) listsAnnounced(t *testing.T) {
	store, at := s.open(t), prefix(t)
	want := pairs(at, "10.0.0.1:2375", "[::1]:2375", "a:1")
	for _, p := range []kvstore.Pair{want[2], want[0], want[1]} {
		must(t, store.Announce(within(t, patience), p, time.Minute))
	}
	for _, spelling := range []string{at, at + "/"} {
		got, err := store.List(within(t, patience), spelling)
		must(t, err)
		same(t, want, got)
	}
	withdraw(t, store, want)
}

func (s Suite) listsBelowPathOnly(t *testing.T) {
	store, at := s.open(t), prefix(t)
	near := pairs(at+"-and-more", "b:1")
	must(t, store.Announce(within(t, patience), near[0], time.Minute))
	got, err := store.List(within(t, patience), at)
	must(t, err)
	same(t, nil, got)
	withdraw(t, store, near)
}

func (s Suite) reads(t *testing.T) {
	store, p := s.open(t), pairs(prefix(t), "a:1")[0]
	if value, ok, err := store.Get(within(t, patience), p.Key); err != nil || ok {
		t.Errorf("before it is there: %q, %v, %v", value, ok, err)
	}
	must(t, store.Announce(within(t, patience), p, time.Minute))
	if value, ok, err := store.Get(within(t, patience), p.Key); err != nil || !ok || value != p.Value {
		t.Errorf("got %q, %v, %v", value, ok, err)
	}
	withdraw(t, store, []kvstore.Pair{p})
}

func (s Suite) repeats(t *testing.T) {
	store, at := s.open(t), prefix(t)
	all := pairs(at, "a:1")
	ctx := within(t, patience+2*(s.TTL+s.Slack))
	until := time.Now().Add(s.TTL + s.Slack/2)
	for time.Now().Before(until) {
		must(t, store.Announce(ctx, all[0], s.TTL))
		got, err := store.List(ctx, at)
		must(t, err)
		same(t, all, got)
		pause(ctx, s.TTL/4)
	}
	withdraw(t, store, all)
}

func (s Suite) replaces(t *testing.T) {
	store, reader, at := s.open(t), s.open(t), prefix(t)
	updates := watching(t, reader, at)
	updates.await()
	p := kvstore.Pair{Key: at + "/a", Value: "one"}
	must(t, store.Announce(within(t, patience), p, time.Minute))
	updates.await(p)
	p.Value = "two"
	must(t, store.Announce(within(t, patience), p, time.Minute))
	updates.await(p)
	withdraw(t, store, []kvstore.Pair{p})
}

func (s Suite) expires(t *testing.T) {
	store, reader, at := s.Open(t), s.open(t), prefix(t)
	updates := watching(t, reader, at)
	p := pairs(at, "a:1")
	must(t, store.Announce(within(t, patience), p[0], s.TTL))
	updates.await(p...)
	must(t, store.Close())
	updates.await()
}

func (s Suite) succeeds(t *testing.T) {
	first, second, at := s.Open(t), s.open(t), prefix(t)
	p := pairs(at, "a:1")
	must(t, first.Announce(within(t, patience), p[0], s.TTL))
	must(t, second.Announce(within(t, patience), p[0], time.Minute))
	must(t, first.Close())
	ctx := within(t, patience+s.TTL+s.Slack)
	pause(ctx, s.TTL+s.Slack/2) // when the first would have ended
	got, err := second.List(ctx, at)
	must(t, err)
	same(t, p, got)
	withdraw(t, second, p)
}

func (s Suite) withdraws(t *testing.T) {
	store, at := s.open(t), prefix(t)
	p := pairs(at, "a:1", "b:1")
	for _, p := range p {
		must(t, store.Announce(within(t, patience), p, time.Minute))
	}
	must(t, store.Withdraw(within(t, patience), p[0].Key))
	got, err := store.List(within(t, patience), at)
	must(t, err)
	same(t, p[1:], got)
	withdraw(t, store, p) // also what is gone already
}

func (s Suite) withdrawsNothing(t *testing.T) {
	must(t, s.open(t).Withdraw(within(t, patience), prefix(t)+"/a:1"))
}

func (s Suite) watches(t *testing.T) {
	store, reader, at := s.open(t), s.open(t), prefix(t)
	all := pairs(at, "a:1", "b:1")
	must(t, store.Announce(within(t, patience), all[0], time.Minute))
	updates := watching(t, reader, at)
	updates.await(all[0])
	must(t, store.Announce(within(t, patience), all[1], time.Minute))
	updates.await(all...)
	withdraw(t, store, all[:1])
	updates.await(all[1])
	withdraw(t, store, all[1:])
	updates.await()
}

func (s Suite) watchesSlowly(t *testing.T) {
	store, at := s.open(t), prefix(t)
	updates := watching(t, store, at)
	all := pairs(at, "a:1", "b:1", "c:1", "d:1")
	for _, p := range all {
		must(t, store.Announce(within(t, patience), p, time.Minute))
	}
	updates.await(all...)
	withdraw(t, store, all)
}

func (s Suite) watchEnds(t *testing.T) {
	store := s.open(t)
	ctx, cancel := context.WithCancel(context.Background())
	updates := store.Watch(ctx, prefix(t), time.Second)
	<-updates
	cancel()
	timeout := time.After(patience)
	for {
		select {
		case _, open := <-updates:
			if !open {
				return
			}
		case <-timeout:
			t.Fatal("the channel is still open")
		}
	}
}

func pairs(at string, names ...string) []kvstore.Pair {
	var all []kvstore.Pair
	for _, name := range names {
		all = append(all, kvstore.Pair{Key: strings.TrimSuffix(at, "/") + "/" + name, Value: name})
	}
	return all
}

func same(t *testing.T, want, got []kvstore.Pair) {
	t.Helper()
	if len(want) == 0 && len(got) == 0 {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func withdraw(t *testing.T, store kvstore.Store, all []kvstore.Pair) {
	t.Helper()
	for _, p := range all {
		must(t, store.Withdraw(within(t, patience), p.Key))
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// updates are those of a watch.
type updates struct {
	t    *testing.T
	from <-chan kvstore.Snapshot
}

// watching starts a watch that ends with the test.
func watching(t *testing.T, store kvstore.Store, at string) updates {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	from := store.Watch(ctx, at, time.Second)
	t.Cleanup(func() {
		cancel()
		for range from {
			// Until it is closed.
		}
	})
	return updates{t, from}
}

// await reads until the pairs are what is there. Other lists and errors may
// come before.
func (u updates) await(want ...kvstore.Pair) {
	u.t.Helper()
	var last kvstore.Snapshot
	timeout := time.After(2 * patience)
	for {
		select {
		case got, open := <-u.from:
			if !open {
				u.t.Fatal("the channel was closed")
			}
			last = got
			if got.Err == nil && (len(got.Pairs) == 0 && len(want) == 0 || cmp.Equal(want, got.Pairs)) {
				return
			}
		case <-timeout:
			u.t.Fatalf("waited for %v, last got %v, %v", want, last.Pairs, last.Err)
		}
	}
}

// awaitError reads until an error comes.
func (u updates) awaitError() error {
	u.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case got, open := <-u.from:
			if !open {
				u.t.Fatal("the channel was closed")
			}
			if got.Err != nil {
				return got.Err
			}
		case <-timeout:
			u.t.Fatal("no error")
		}
	}
}
