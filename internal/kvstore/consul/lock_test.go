//go:build !race

// See announce_test.go for the build tag.

package consul_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/consul"
	"github.com/skep/skep/internal/kvstore/consul/consultest"
)

var leader = kvstore.Pair{Key: "docker/swarm/leader", Value: "one:4000"}

func lock(t *testing.T, s *consul.Store, p kvstore.Pair, ttl time.Duration) kvstore.Lock {
	t.Helper()
	l, err := s.Lock(t.Context(), p, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func isLost(l kvstore.Lock) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

func TestLock_isKeptByRenewalAndReadByAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{Strict: true})
		one, two := open(t, f), open(t, f)
		l := lock(t, one, leader, 20*time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		_, err := two.Lock(ctx, kvstore.Pair{Key: leader.Key, Value: "two:4000"}, 20*time.Second)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second got %v, want to wait until its context ends", err)
		}
		if isLost(l) {
			t.Error("the lock was lost although Consul answered")
		}
		value, ok, err := two.Get(t.Context(), leader.Key)
		expect(t, "value", fmt.Sprint(value, " ", ok, " ", err), "one:4000 true <nil>")
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if !isLost(l) {
			t.Error("Lost is open after Release")
		}
		_, ok, err = two.Get(t.Context(), leader.Key)
		expect(t, "after release", fmt.Sprint(ok, " ", err), "false <nil>")
		expect(t, "sessions", strings.Join(f.Sessions(), " "), "")
		if err := l.Release(t.Context()); err != nil {
			t.Errorf("released twice: %v", err)
		}
	})
}

func TestLock_goesToTheNextAtOnceWhenReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		one, two := open(t, f), open(t, f)
		l := lock(t, one, leader, 20*time.Second)
		got := make(chan kvstore.Lock)
		go func() {
			next, err := two.Lock(t.Context(), kvstore.Pair{Key: leader.Key, Value: "two:4000"}, 20*time.Second)
			if err != nil {
				t.Error(err)
			}
			got <- next
		}()
		time.Sleep(time.Minute)
		released := time.Now()
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		next := <-got
		if took := time.Since(released); took > 100*time.Millisecond {
			t.Errorf("the next had the lock after %s", took)
		}
		if isLost(next) {
			t.Error("the new lock is lost")
		}
	})
}

// The promise on which a cluster's sanity rests: never two at a time, whenever
// the holder's connection breaks, also with a server that frees a key as soon as
// it may.
func TestLock_isLostBeforeAnyoneElseHasIt(t *testing.T) {
	for _, strict := range []bool{true, false} {
		for _, ttl := range []time.Duration{20 * time.Second, 21 * time.Second, time.Minute} {
			for _, after := range []time.Duration{0, time.Millisecond, 2999 * time.Millisecond, 3 * time.Second, 5 * time.Second, 7500 * time.Millisecond, 9 * time.Second, 61 * time.Second} {
				t.Run(fmt.Sprintf("strict=%v ttl=%s cut=%s", strict, ttl, after), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						f := fake(t, consultest.Options{Strict: strict})
						way := plug(t, f)
						one, two := open(t, way), open(t, f)
						l := lock(t, one, leader, ttl)
						var lost atomic.Int64
						start := time.Now()
						go func() { <-l.Lost(); lost.Store(int64(time.Since(start))) }()
						time.Sleep(after)
						way.tear()
						cut := time.Now()
						next := lock(t, two, kvstore.Pair{Key: leader.Key, Value: "two:4000"}, ttl)
						got := time.Since(start)
						if !isLost(l) {
							t.Fatalf("the second had the lock at %s while the first thought it held it", got)
						}
						if before := got - time.Duration(lost.Load()); before < ttl/20 {
							t.Errorf("the first had only %s to stop", before)
						}
						if took := time.Since(cut); took > ttl+2*time.Second {
							t.Errorf("it took %s until the second had the lock, want %s at most", took, ttl+2*time.Second)
						}
						if isLost(next) {
							t.Error("the second's lock is lost")
						}
						way.mend()
					})
				})
			}
		}
	}
}

func TestLock_outlivesAStoreThatIsAwayForLessThanItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{Strict: true})
		way := plug(t, f)
		l := lock(t, open(t, way), leader, time.Minute)
		for range 10 {
			time.Sleep(41 * time.Second)
			way.tear()
			time.Sleep(12 * time.Second)
			way.mend()
		}
		if isLost(l) {
			t.Error("the lock was lost")
		}
	})
}

func TestLock_isLostSoonWhenOthersInterfere(t *testing.T) {
	for name, interfere := range map[string]func(*consultest.Server, *api.Client){
		"the key is deleted":       func(_ *consultest.Server, c *api.Client) { _, _ = c.KV().Delete(leader.Key, nil) },
		"the session is destroyed": func(f *consultest.Server, _ *api.Client) { f.Expire(f.Holder(leader.Key)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fake(t, consultest.Options{})
				by := raw(t, listenPipes(t, f))
				l := lock(t, open(t, f), leader, time.Minute)
				time.Sleep(time.Minute)
				interfere(f, by)
				start := time.Now()
				<-l.Lost()
				if took := time.Since(start); took > time.Second {
					t.Errorf("it took %s to notice", took)
				}
				if err := l.Release(t.Context()); err != nil {
					t.Error(err)
				}
				expect(t, "sessions", strings.Join(f.Sessions(), " "), "")
			})
		})
	}
}

func TestLock_givenUpLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s := open(t, f)
		by := raw(t, listenPipes(t, f))
		other, _, _ := by.Session().Create(&api.SessionEntry{Name: "other", TTL: "60s", Behavior: "delete", LockDelay: time.Minute}, nil)
		_, _, _ = by.KV().Acquire(&api.KVPair{Key: leader.Key, Session: other}, nil)
		f.Expire(other)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		defer cancel()
		if _, err := s.Lock(ctx, leader, 20*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context: a lock delay of a minute runs", err)
		}
		expect(t, "sessions", strings.Join(f.Sessions(), " "), "")
		start := time.Now()
		lock(t, s, leader, 20*time.Second)
		if took := time.Since(start); took > 12*time.Second {
			t.Errorf("the lock took %s, want it soon after the lock delay", took)
		}
	})
}

func TestLock_ofAManagerOfTheOriginalIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s := open(t, f)
		by := raw(t, listenPipes(t, f))
		theirs, err := by.LockOpts(&api.LockOptions{Key: leader.Key, Value: []byte("old:4000"), SessionTTL: "10s"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.Lock(nil); err != nil {
			t.Fatal(err)
		}
		got := make(chan kvstore.Lock)
		go func() {
			l, err := s.Lock(t.Context(), leader, 20*time.Second)
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		time.Sleep(time.Minute)
		value, ok, _ := s.Get(t.Context(), leader.Key)
		expect(t, "while it is theirs", fmt.Sprint(value, " ", ok), "old:4000 true")
		if err := theirs.Unlock(); err != nil {
			t.Fatal(err)
		}
		l := <-got
		value, ok, _ = s.Get(t.Context(), leader.Key)
		expect(t, "once it is ours", fmt.Sprint(value, " ", ok), "one:4000 true")
		// And the other way round: their library must take ours for a lock.
		stop := make(chan struct{})
		time.AfterFunc(time.Minute, func() { close(stop) })
		again, _ := by.LockOpts(&api.LockOptions{Key: leader.Key, Value: []byte("old:4000"), SessionTTL: "10s"})
		if lost, err := again.Lock(stop); lost != nil || err != nil {
			t.Errorf("their library got %v, %v; want it to wait", lost, err)
		}
		if isLost(l) {
			t.Error("our lock is lost")
		}
	})
}

func TestGet_ofALockThatNobodyHoldsIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s := open(t, f)
		by := raw(t, listenPipes(t, f))
		if _, err := by.KV().Put(&api.KVPair{Key: leader.Key, Value: []byte("gone:4000"), Flags: api.LockFlagValue}, nil); err != nil {
			t.Fatal(err)
		}
		if value, ok, err := s.Get(t.Context(), leader.Key); ok || err != nil {
			t.Errorf("got %q, %v, %v", value, ok, err)
		}
	})
}

func TestClose_endsLocksAndFreesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fake(t, consultest.Options{})
		s := open(t, f)
		l := lock(t, s, leader, time.Minute)
		waiting := make(chan error)
		go func() { _, err := s.Lock(t.Context(), leader, time.Minute); waiting <- err }()
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if !isLost(l) {
			t.Error("Lost is open after Close")
		}
		if err := <-waiting; err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("who waited for the lock got %v", err)
		}
		if err := l.Release(t.Context()); err != nil {
			t.Error(err)
		}
		expect(t, "sessions", strings.Join(f.Sessions(), " "), "")
	})
}
