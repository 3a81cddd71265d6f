//go:build linux

package stores_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/discovery/backends"
	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/storetest"
	"github.com/skep/skep/internal/kvstore/zk"
)

func TestEtcd_isDiscovery(t *testing.T) {
	t.Parallel()
	testDiscovery(t, storetest.StartEtcd(t), "etcd://")
}

func TestZookeeper_isDiscovery(t *testing.T) {
	t.Parallel()
	testDiscovery(t, storetest.StartZooKeeper(t), "zk://")
}

// testDiscovery has a manager start while the store is down, an engine join and
// leave, and the store be killed in between.
func testDiscovery(t *testing.T, store *storetest.Server, scheme string) {
	store.Kill()
	url := scheme + store.Address + "/prefix"
	opts := discovery.Options{Heartbeat: time.Second, TTL: 5 * time.Second}
	manager, engine := open(t, url, opts), open(t, url, opts)

	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	updates := manager.Watch(ctx)
	defer func() {
		cancel()
		for range updates {
			// Until it is closed.
		}
	}()
	u := await(t, updates, func(u discovery.Update) bool { return true })
	if u.Err == nil {
		t.Fatalf("the store is down, but it lists %v", u.Entries)
	}
	t.Log(u.Err)

	store.Start(t)
	const address = "10.0.0.1:2375"
	join := func() {
		for engine.Register(ctx, address) != nil && ctx.Err() == nil {
			time.Sleep(100 * time.Millisecond)
		}
	}
	join()
	await(t, updates, func(u discovery.Update) bool { return slices.Equal(u.Entries, discovery.Entries{address}) })

	// While the store is down its engines stay.
	store.Kill()
	await(t, updates, func(u discovery.Update) bool {
		if u.Err == nil {
			t.Errorf("the store is down, and the list becomes %v", u.Entries)
		}
		return u.Err != nil
	})
	store.Start(t)
	join()
	if err := engine.Deregister(ctx, address); err != nil {
		t.Error(err)
	}
	await(t, updates, func(u discovery.Update) bool { return u.Err == nil && len(u.Entries) == 0 })
}

func open(t *testing.T, url string, opts discovery.Options) discovery.Backend {
	t.Helper()
	b, err := backends.New(url, opts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// await reads until an update is as wanted.
func await(t *testing.T, updates <-chan discovery.Update, wanted func(discovery.Update) bool) discovery.Update {
	t.Helper()
	timeout := time.After(30 * time.Second)
	var last discovery.Update
	for {
		select {
		case u, open := <-updates:
			if !open {
				t.Fatal("the channel was closed")
			}
			if wanted(u) {
				return u
			}
			last = u
		case <-timeout:
			t.Fatalf("waited in vain; the last update was %v", last)
		}
	}
}

func TestZookeeper_announcesAgainAfterTheSessionHasExpired(t *testing.T) {
	t.Parallel()
	server := storetest.StartZooKeeper(t)
	way := storetest.StartRelay(t, server.Address)
	announcer, reader := zookeeper(t, way.Address()), zookeeper(t, server.Address)
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	updates := watchPairs(ctx, t, reader, "nodes")
	wantPairs := func(n int) {
		t.Helper()
		for s := range updates {
			if s.Err == nil && len(s.Pairs) == n {
				return
			}
		}
		t.Fatalf("never %d pairs", n)
	}
	if err := announcer.Announce(ctx, kvstore.Pair{Key: "nodes/a:1", Value: "a:1"}, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	wantPairs(1)
	way.Pull()
	wantPairs(0)
	way.Repair()
	wantPairs(1) // though nobody has announced it anew
	if err := announcer.Withdraw(ctx, "nodes/a:1"); err != nil {
		t.Error(err)
	}
	wantPairs(0)
}

func zookeeper(t *testing.T, address string) kvstore.Store {
	t.Helper()
	s, err := zk.New([]string{address}, zk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
