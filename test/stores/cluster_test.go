//go:build linux

package stores_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/stores"
	"github.com/skep/skep/internal/kvstore/storetest"
)

func TestEtcd_ofThreeMembersOutlivesOneAndSaysThatTwoAreTooMany(t *testing.T) {
	t.Parallel()
	testCluster(t, storetest.StartEtcds(t, 3), "etcd", func(ctx context.Context, m *storetest.Server) bool {
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + m.Address}, Logger: zap.NewNop()})
		if err != nil {
			return false
		}
		defer c.Close()
		status, err := c.Status(ctx, "http://"+m.Address)
		return err == nil && status.Leader == status.Header.MemberId
	})
}

func TestZookeeper_ofThreeServersOutlivesOneAndSaysThatTwoAreTooMany(t *testing.T) {
	t.Parallel()
	testCluster(t, storetest.StartZooKeepers(t, 3), "zk", func(ctx context.Context, m *storetest.Server) bool {
		return storetest.Exchange(ctx, m.Address, "srvr", "Mode: leader") == nil
	})
}

// clusterTTL is of what is announced and locked in clusters: they may take a
// second or two to elect a leader on a busy machine.
const clusterTTL = 8 * time.Second

// testCluster takes first the leader away, then one of the two that are left.
func testCluster(t *testing.T, members []*storetest.Server, scheme string, leads func(context.Context, *storetest.Server) bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	var addresses []string
	for _, m := range members {
		addresses = append(addresses, m.Address)
	}
	rest := strings.Join(addresses, ",") + "/root/of/ours"
	connect := func() kvstore.Store {
		store, prefix, err := stores.Open(scheme, rest, nil, nil)
		if err != nil || prefix != "root/of/ours" {
			t.Fatal(prefix, err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store
	}
	engine, manager := connect(), connect()
	nodes := func(names ...string) (all []kvstore.Pair) {
		for _, name := range names {
			all = append(all, kvstore.Pair{Key: "root/of/ours/nodes/" + name, Value: name})
		}
		return all
	}
	snapshots := watchPairs(ctx, t, manager, "root/of/ours/nodes")
	beat(ctx, t, engine, nodes("a:1")[0])
	awaitPairs(t, snapshots, nodes("a:1"), nil)
	lock := relock(ctx, t, manager)

	t.Log("the leader is killed")
	i := slices.IndexFunc(members, func(m *storetest.Server) bool { return leads(ctx, m) })
	if i < 0 {
		t.Fatal("nobody leads")
	}
	down := []*storetest.Server{members[i]}
	members = slices.Delete(members, i, i+1)
	down[0].Kill()
	beat(ctx, t, engine, nodes("b:1")[0])
	awaitPairs(t, snapshots, nodes("a:1", "b:1"), func(s kvstore.Snapshot) {
		if s.Err == nil && !slices.Contains(s.Pairs, nodes("a:1")[0]) {
			t.Errorf("one of three was killed, and the list becomes %v", s.Pairs)
		}
	})
	select {
	case <-lock.Lost():
		t.Error("one of three was killed, and the lock was lost")
	default:
	}

	t.Log("another is killed")
	began := time.Now()
	down = append(down, members[0])
	down[1].Kill()
	select {
	case <-lock.Lost():
		t.Logf("the lock counted as lost %v later", time.Since(began).Round(time.Millisecond))
	case <-time.After(clusterTTL + time.Second):
		t.Error("without a quorum, the lock is not lost in its time")
	}
	if _, err := manager.List(ctx, "root/of/ours/nodes"); err == nil {
		t.Error("without a quorum, a list")
	}
	awaitSnapshot(t, snapshots, "an error", func(s kvstore.Snapshot) bool { return s.Err != nil })
	_ = lock.Release(ctx) // it cannot be told to anyone

	t.Log("both are back")
	storetest.StartAll(t, down)
	beat(ctx, t, engine, nodes("c:1")[0])
	awaitPairs(t, snapshots, nodes("a:1", "b:1", "c:1"), nil)
	lock = relock(ctx, t, manager)
	if err := lock.Release(ctx); err != nil {
		t.Error(err)
	}
}

// beat announces a pair, and goes on to do so until the test is over.
func beat(ctx context.Context, t *testing.T, store kvstore.Store, p kvstore.Pair) {
	ctx, cancel := context.WithCancel(ctx)
	var beating sync.WaitGroup
	beating.Go(func() {
		for ctx.Err() == nil {
			_ = store.Announce(ctx, p, clusterTTL)
			pause(ctx, 500*time.Millisecond)
		}
	})
	t.Cleanup(func() {
		cancel()
		beating.Wait()
	})
}

// relock takes the lock, again after failures.
func relock(ctx context.Context, t *testing.T, store kvstore.Store) kvstore.Lock {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		l, err := store.Lock(ctx, kvstore.Pair{Key: "root/of/ours/leader", Value: "me"}, clusterTTL)
		if err == nil {
			return l
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// watchPairs starts a watch that ends with the test, before its store is closed.
func watchPairs(ctx context.Context, t *testing.T, store kvstore.Store, prefix string) <-chan kvstore.Snapshot {
	ctx, stop := context.WithCancel(ctx)
	snapshots := store.Watch(ctx, prefix, time.Second)
	t.Cleanup(func() {
		stop()
		for range snapshots {
			// Until it is closed.
		}
	})
	return snapshots
}

// awaitPairs reads until the pairs are the wanted ones, and shows each snapshot
// to see, if that is not nil.
func awaitPairs(t *testing.T, snapshots <-chan kvstore.Snapshot, want []kvstore.Pair, see func(kvstore.Snapshot)) {
	t.Helper()
	awaitSnapshot(t, snapshots, want, func(s kvstore.Snapshot) bool {
		if see != nil {
			see(s)
		}
		return s.Err == nil && slices.Equal(s.Pairs, want)
	})
}

func awaitSnapshot(t *testing.T, snapshots <-chan kvstore.Snapshot, want any, wanted func(kvstore.Snapshot) bool) {
	t.Helper()
	timeout := time.After(time.Minute)
	var last kvstore.Snapshot
	for {
		select {
		case s, open := <-snapshots:
			switch {
			case !open:
				t.Fatal("the channel was closed")
			case wanted(s):
				return
			}
			last = s
		case <-timeout:
			t.Fatalf("waited for %v, the last snapshot was %v, %v", want, last.Pairs, last.Err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
