//go:build linux

package stores_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/skep/skep/internal/kvstore"
	"github.com/skep/skep/internal/kvstore/etcd"
	"github.com/skep/skep/internal/kvstore/storetest"
)

// While the manager cannot reach etcd, more happens than it will ever be told,
// since the history of it is compacted.
func TestEtcd_watchMissesNothingThatWasCompactedAway(t *testing.T) {
	t.Parallel()
	server := storetest.StartEtcd(t)
	way := storetest.StartRelay(t, server.Address)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	reader, writer := etcdStore(t, way.Address()), etcdStore(t, server.Address)
	snapshots := watchPairs(ctx, t, reader, "nodes")
	pair := func(name string) kvstore.Pair { return kvstore.Pair{Key: "nodes/" + name, Value: name} }
	announce := func(name string) {
		if err := writer.Announce(ctx, pair(name), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	withdraw := func(name string) {
		if err := writer.Withdraw(ctx, "nodes/"+name); err != nil {
			t.Fatal(err)
		}
	}
	announce("a:1")
	announce("b:1")
	awaitPairs(t, snapshots, []kvstore.Pair{pair("a:1"), pair("b:1")}, nil)

	way.Slam()
	withdraw("a:1")
	for i := range 50 {
		announce(fmt.Sprintf("x:%d", i+1))
		withdraw(fmt.Sprintf("x:%d", i+1))
	}
	announce("c:1")
	compact(ctx, t, server.Address)
	way.Repair()
	awaitPairs(t, snapshots, []kvstore.Pair{pair("b:1"), pair("c:1")}, nil)
	announce("d:1") // and it goes on
	awaitPairs(t, snapshots, []kvstore.Pair{pair("b:1"), pair("c:1"), pair("d:1")}, nil)
}

// compact forgets all history.
func compact(ctx context.Context, t *testing.T, address string) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + address}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	now, err := c.Get(ctx, "nodes")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

// A process that was stopped for longer than its announcement counts goes on as
// if nothing had happened.
func TestEtcd_announcesAgainAfterTheLeaseHasExpired(t *testing.T) {
	t.Parallel()
	server := storetest.StartEtcd(t)
	way := storetest.StartRelay(t, server.Address)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	announcer, reader := etcdStore(t, way.Address()), etcdStore(t, server.Address)
	snapshots := watchPairs(ctx, t, reader, "nodes")
	p := kvstore.Pair{Key: "nodes/a:1", Value: "a:1"}
	announce := func() error { return announcer.Announce(ctx, p, 2*time.Second) }
	if err := announce(); err != nil {
		t.Fatal(err)
	}
	awaitPairs(t, snapshots, []kvstore.Pair{p}, nil)
	way.Slam()
	awaitPairs(t, snapshots, nil, nil)
	if err := announce(); err == nil {
		t.Error("announced to nobody")
	}
	way.Repair()
	for announce() != nil && ctx.Err() == nil {
		pause(ctx, 100*time.Millisecond)
	}
	awaitPairs(t, snapshots, []kvstore.Pair{p}, nil)
	if err := announcer.Withdraw(ctx, p.Key); err != nil {
		t.Error(err)
	}
	awaitPairs(t, snapshots, nil, nil)
}

func etcdStore(t *testing.T, address string) kvstore.Store {
	t.Helper()
	s, err := etcd.New([]string{address}, etcd.Options{Timeout: callTimeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
