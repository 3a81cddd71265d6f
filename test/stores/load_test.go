//go:build linux

package stores_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/skep/skep/internal/discovery"
	"github.com/skep/skep/internal/kvstore/storetest"
)

const (
	// loadEngines is how many join one store, each with a connection of its own;
	// one in five leaves and comes back all the time.
	loadEngines = 500
	loadBeat    = 3 * time.Second
	loadTTL     = 15 * time.Second
	// loadMemory is what an engine may cost in this process, with both sides of
	// the relay and what a list of all costs the manager.
	loadMemory = 2 << 20
)

// The load is no company for tests that look at the clock, so these two are alone.

func TestEtcd_keepsHundredsOfEnginesThroughItsFailures(t *testing.T) {
	testLoad(t, storetest.StartEtcd(t), "etcd://")
}

func TestZookeeper_keepsHundredsOfEnginesThroughItsFailures(t *testing.T) {
	testLoad(t, storetest.StartZooKeeper(t), "zk://")
}

// testLoad hangs, cuts off and kills the store while hundreds of engines announce
// themselves. The list of a manager must never lack one of those that stay, and
// must be right in the end; and no connection may be left behind.
func testLoad(t *testing.T, store *storetest.Server, scheme string) {
	way := storetest.StartRelay(t, store.Address)
	url := scheme + way.Address() + "/load"
	manager := watchEntries(t, url, discovery.Options{Heartbeat: 2 * loadBeat})

	ctx, cancel := context.WithCancel(context.Background())
	var engines sync.WaitGroup
	defer engines.Wait()
	defer cancel()
	settle := make(chan struct{}) // closed when those that left come back for good
	var all, stay discovery.Entries
	before := heap()
	for i := range loadEngines {
		address := discovery.Entry(fmt.Sprintf("10.0.%d.%d:2375", i/250, i%250))
		all = append(all, address)
		if i%5 != 0 {
			stay = append(stay, address)
		}
		b := open(t, url, discovery.Options{Heartbeat: loadBeat, TTL: loadTTL})
		engines.Go(func() { live(ctx, b, string(address), i%5 == 0, settle) })
	}
	now := awaitAll(t, manager, nil, all, nil)
	t.Logf("%d engines are there, and %d connections", loadEngines, way.Open()/2)

	for _, failure := range []struct {
		name       string
		harm, mend func()
		lasts      time.Duration
	}{
		{"the store hangs", func() { store.Pause(t) }, func() { store.Resume(t) }, 3 * time.Second},
		{"the way to it is closed", way.Slam, way.Repair, 2 * time.Second},
		{"the store is killed", store.Kill, func() { store.Start(t) }, time.Second},
	} {
		t.Log(failure.name)
		failure.harm()
		now = watchFor(t, manager, now, stay, failure.lasts)
		failure.mend()
		now = watchFor(t, manager, now, stay, loadBeat)
	}

	close(settle)
	now = awaitAll(t, manager, now, all, stay)
	if grown := heap() - before; grown > loadEngines*loadMemory {
		t.Errorf("%d engines take %d MiB of memory", loadEngines, grown>>20)
	} else {
		t.Logf("%d engines take %d MiB of memory", loadEngines, grown>>20)
	}
	// One each for the engines, two for the manager, and both ends count. What
	// reconnects may hold an old one for a moment.
	atMost(t, way, 2*(loadEngines+2), "while all announce themselves")
	cancel()
	engines.Wait()
	atMost(t, way, 2*2, "after all have left")
	awaitAll(t, manager, now, nil, nil)
}

// live is the life of an engine; one that is restless leaves now and then until
// all settle.
func live(ctx context.Context, b discovery.Backend, address string, restless bool, settle <-chan struct{}) {
	leave := func() {
		for tries := 0; tries < 20; tries++ {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			err := b.Deregister(ctx, address)
			cancel()
			if err == nil {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	defer leave()
	for ctx.Err() == nil {
		err := b.Register(ctx, address)
		rest := loadBeat - rand.N(loadBeat/4)
		if err != nil {
			rest /= 3
		}
		select {
		case <-ctx.Done():
		case <-time.After(rest):
			select {
			case <-settle:
			default:
				if restless && rand.N(2) == 0 {
					leave()
				}
			}
		}
	}
}

// watchFor reads what the manager sees for a while, and gives the latest.
func watchFor(t *testing.T, manager entries, now, stay discovery.Entries, d time.Duration) discovery.Entries {
	t.Helper()
	for over := time.After(d); ; {
		select {
		case u := <-manager.updates:
			now = see(t, u, now, stay)
		case <-over:
			return now
		}
	}
}

// awaitAll reads what the manager sees until that is all there is.
func awaitAll(t *testing.T, manager entries, now, all, stay discovery.Entries) discovery.Entries {
	t.Helper()
	for over := time.After(2 * time.Minute); missing(now, all) > 0 || missing(all, now) > 0; {
		select {
		case u := <-manager.updates:
			now = see(t, u, now, stay)
		case <-over:
			t.Fatalf("after two minutes %d engines are not listed and %d are too many", missing(now, all), missing(all, now))
		}
	}
	return now
}

// see gives what is listed after an update, none of which may lack those that
// stay.
func see(t *testing.T, u discovery.Update, now, stay discovery.Entries) discovery.Entries {
	t.Helper()
	if u.Err != nil {
		return now
	}
	if n := missing(u.Entries, stay); n > 0 {
		t.Errorf("%d of %d engines that never left are not listed", n, len(stay))
	}
	return u.Entries
}

// missing is how many of want are not in got.
func missing(got, want discovery.Entries) int {
	_, gone := got.Diff(want)
	return len(gone)
}

// heap is the memory that is in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func atMost(t *testing.T, way *storetest.Relay, conns int, when string) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); way.Open() > conns; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(until) {
			t.Errorf("%d connections %s, want %d at most", way.Open(), when, conns)
			return
		}
	}
}
