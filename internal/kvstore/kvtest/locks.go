package kvtest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/skep/skep/internal/kvstore"
)

func (s Suite) locksOut(t *testing.T) {
	a, b := s.open(t), s.open(t)
	key := prefix(t) + "/leader"
	first := s.lock(t, a, key, "a")
	if value, ok, err := b.Get(within(t, patience), key); err != nil || !ok || value != "a" {
		t.Errorf("others read %q, %v, %v", value, ok, err)
	}
	second, err := b.Lock(within(t, s.TTL), kvstore.Pair{Key: key, Value: "b"}, s.TTL)
	if err == nil {
		t.Error("two hold the lock")
		must(t, second.Release(within(t, patience)))
	}
	wantHeld(t, first)
	must(t, first.Release(within(t, patience)))
	if value, ok, err := b.Get(within(t, patience), key); err != nil || ok {
		t.Errorf("after the release, others read %q, %v, %v", value, ok, err)
	}
}

func (s Suite) releases(t *testing.T) {
	a, b := s.open(t), s.open(t)
	key := prefix(t) + "/leader"
	ttl := time.Minute
	first, err := a.Lock(within(t, patience), kvstore.Pair{Key: key, Value: "a"}, ttl)
	must(t, err)
	next := s.locking(t, b, key, "b")
	select {
	case <-next:
		t.Fatal("two hold the lock")
	case <-time.After(500 * time.Millisecond): // so that b waits, most likely
	}
	released := time.Now()
	must(t, first.Release(within(t, patience)))
	wantLost(t, first, time.Second)
	second := <-next
	if took := time.Since(released); took > 5*time.Second {
		t.Errorf("the next one had it after %v", took)
	}
	if value, ok, err := a.Get(within(t, patience), key); err != nil || !ok || value != "b" {
		t.Errorf("others read %q, %v, %v", value, ok, err)
	}
	must(t, second.Release(within(t, patience)))
}

func (s Suite) renews(t *testing.T) {
	a := s.open(t)
	l := s.lock(t, a, prefix(t)+"/leader", "a")
	select {
	case <-l.Lost():
		t.Error("lost")
	case <-time.After(s.TTL + s.Slack/2):
	}
	must(t, l.Release(within(t, patience)))
}

func (s Suite) lockGivesUp(t *testing.T) {
	a, b := s.open(t), s.open(t)
	key := prefix(t) + "/leader"
	first := s.lock(t, a, key, "a")
	ctx, cancel := context.WithCancel(context.Background())
	failed := make(chan error, 1)
	go func() {
		_, err := b.Lock(ctx, kvstore.Pair{Key: key, Value: "b"}, s.TTL)
		failed <- err
	}()
	cancel()
	select {
	case err := <-failed:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Error("it still waits")
	}
	must(t, first.Release(within(t, patience)))
	// Nor has it left anything in the way of others.
	must(t, s.lock(t, a, key, "a").Release(within(t, patience)))
}

func (s Suite) lockEndsWithStore(t *testing.T) {
	a, b := s.Open(t), s.open(t)
	key := prefix(t) + "/leader"
	first := s.lock(t, a, key, "a")
	next := s.locking(t, b, key, "b")
	must(t, a.Close())
	wantLost(t, first, time.Second)
	second := <-next
	must(t, second.Release(within(t, patience)))
}

// closes: the check for leaks follows each test; this one leaves everything
// open that a store can have open.
func (s Suite) closes(t *testing.T) {
	store, at := s.Open(t), prefix(t)
	ctx, cancel := context.WithCancel(context.Background())
	updates := store.Watch(ctx, at, time.Second)
	<-updates
	must(t, store.Announce(within(t, patience), pairs(at, "a:1")[0], s.TTL))
	l := s.lock(t, store, at+"-lock/leader", "a")
	cancel()
	for range updates {
		// Until it is closed.
	}
	must(t, store.Close())
	wantLost(t, l, time.Second)
	if _, err := store.List(within(t, patience), at); err == nil {
		t.Error("a closed store answers")
	}
}

func (s Suite) cutOff(t *testing.T) {
	a, cut := s.OpenCut(t)
	b := s.open(t)
	closeAfter(t, a)
	key := prefix(t) + "/leader"
	first := s.lock(t, a, key, "a")
	next := s.locking(t, b, key, "b")
	began := time.Now()
	cut()
	select {
	case second := <-next:
		select {
		case <-first.Lost():
		default:
			t.Error("two hold the lock")
		}
		t.Logf("taken over %v after the cut", time.Since(began).Round(time.Millisecond))
		must(t, second.Release(within(t, patience)))
	case <-time.After(patience + s.TTL + s.Slack):
		t.Error("nobody took over")
	}
	_ = first.Release(within(t, time.Second)) // it fails, but its goroutines end
}

func (s Suite) hangs(t *testing.T) {
	store, at := s.open(t), prefix(t)
	_, err := store.List(within(t, patience), at)
	must(t, err)
	s.Pause(t)
	defer s.Resume(t)
	for _, call := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"list", func(ctx context.Context) error { _, err := store.List(ctx, at); return err }},
		{"get", func(ctx context.Context) error { _, _, err := store.Get(ctx, at); return err }},
		{"announce", func(ctx context.Context) error { return store.Announce(ctx, pairs(at, "a:1")[0], s.TTL) }},
		{"lock", func(ctx context.Context) error {
			_, err := store.Lock(ctx, kvstore.Pair{Key: at + "/leader", Value: "a"}, s.TTL)
			return err
		}},
	} {
		began := time.Now()
		if err := call.do(context.Background()); err == nil {
			t.Errorf("%s: no error", call.name)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: the error came after %v", call.name, took)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		began = time.Now()
		if err := call.do(ctx); err == nil {
			t.Errorf("%s: no error", call.name)
		}
		// A store may still have to give back what it began.
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("%s: the context ended %v earlier", call.name, took)
		}
		cancel()
	}
}

func (s Suite) lostWhileHung(t *testing.T) {
	a, b := s.open(t), s.open(t)
	key := prefix(t) + "/leader"
	first := s.lock(t, a, key, "a")
	next := s.locking(t, b, key, "b")
	began := time.Now()
	s.Pause(t)
	wantLost(t, first, s.TTL+s.Slack/2)
	t.Logf("lost %v after the pause began", time.Since(began).Round(time.Millisecond))
	select {
	case <-next:
		t.Error("a hung server gave the lock away")
	default:
	}
	s.Resume(t)
	must(t, first.Release(within(t, patience)))
	second := <-next
	must(t, second.Release(within(t, patience)))
}

func (s Suite) watchesHung(t *testing.T) {
	store, at := s.open(t), prefix(t)
	updates := watching(t, store, at)
	updates.await()
	s.Pause(t)
	err := updates.awaitError()
	t.Log(err)
	s.Resume(t)
	p := pairs(at, "a:1")
	announceSoon(t, store, p[0])
	updates.await(p...)
	withdraw(t, store, p)
}

func (s Suite) watchesRestart(t *testing.T) {
	store, at := s.open(t), prefix(t)
	p := pairs(at, "a:1", "b:1")
	must(t, store.Announce(within(t, patience), p[0], time.Minute))
	updates := watching(t, store, at)
	updates.await(p[0])
	s.Restart(t)
	announceSoon(t, store, p[0])
	announceSoon(t, store, p[1])
	updates.await(p...)
	withdraw(t, store, p)
}

func (s Suite) announcesRestart(t *testing.T) {
	store, at := s.open(t), prefix(t)
	p := pairs(at, "a:1")
	must(t, store.Announce(within(t, patience), p[0], s.TTL))
	s.Restart(t)
	announceSoon(t, store, p[0])
	got, err := store.List(within(t, patience), at)
	must(t, err)
	same(t, p, got)
	withdraw(t, store, p)
}

// announceSoon announces as those do who do it for long: again after a failure.
func announceSoon(t *testing.T, store kvstore.Store, p kvstore.Pair) {
	t.Helper()
	ctx := within(t, patience)
	for {
		err := store.Announce(ctx, p, time.Minute)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		pause(ctx, 200*time.Millisecond)
	}
}

func (s Suite) lock(t *testing.T, store kvstore.Store, key, value string) kvstore.Lock {
	t.Helper()
	l, err := store.Lock(within(t, patience), kvstore.Pair{Key: key, Value: value}, s.TTL)
	must(t, err)
	return l
}

// locking waits for a lock as managers do, again after a failure. If it never
// comes, the channel is closed.
func (s Suite) locking(t *testing.T, store kvstore.Store, key, value string) <-chan kvstore.Lock {
	ctx, cancel := context.WithTimeout(context.Background(), patience+2*(s.TTL+s.Slack))
	locked := make(chan kvstore.Lock, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			l, err := store.Lock(ctx, kvstore.Pair{Key: key, Value: value}, s.TTL)
			if err == nil {
				locked <- l
				return
			}
			pause(ctx, 100*time.Millisecond)
		}
		t.Error("never got the lock")
		locked <- noLock{}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return locked
}

// noLock stands for a lock that never came.
type noLock struct{}

func (noLock) Lost() <-chan struct{}         { return nil }
func (noLock) Release(context.Context) error { return errors.New("there is no lock") }

func wantHeld(t *testing.T, l kvstore.Lock) {
	t.Helper()
	select {
	case <-l.Lost():
		t.Error("the lock is lost")
	default:
	}
}

func wantLost(t *testing.T, l kvstore.Lock, after time.Duration) {
	t.Helper()
	select {
	case <-l.Lost():
	case <-time.After(after):
		t.Errorf("the lock is not lost after %v", after)
	}
}
