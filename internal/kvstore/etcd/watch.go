package etcd

import (
	"context"
	"maps"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skep/skep/internal/kvstore"
)

// probeEvery is how often at most a watch compares what it knows with what etcd
// has: the client reconnects watches in silence, for ever, and also to an etcd
// that has lost its data and counts its revisions from one again. Such a watch
// would hear of nothing until the revisions have caught up.
const probeEvery = 5 * time.Second

// Watch implements [kvstore.Store].
func (s *Store) Watch(ctx context.Context, prefix string, retry time.Duration) <-chan kvstore.Snapshot {
	return kvstore.Feed(ctx, retry, func(ctx context.Context, send func([]kvstore.Pair)) error {
		return s.follow(ctx, prefix, min(retry, probeEvery), send)
	})
}

// follow lists what is there and then applies the changes that etcd tells, until
// something fails. It returns nil when it only has to be called again, as after
// the revisions that it had not seen yet were compacted away.
func (s *Store) follow(ctx context.Context, prefix string, probe time.Duration, send func([]kvstore.Pair)) error {
	pairs, revision, err := s.list(ctx, prefix)
	if err != nil {
		return err
	}
	send(sorted(pairs))

	opened, stop := s.openWatch(ctx, kvstore.Below(prefix), clientv3.WithPrefix(), clientv3.WithRev(revision+1))
	defer stop()
	var changes clientv3.WatchChan // nil until it is open
	probes := time.NewTicker(probe)
	defer probes.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-probes.C:
			there, now, err := s.list(ctx, prefix)
			if err != nil {
				return err
			}
			if now < revision || !maps.Equal(there, pairs) {
				return nil // if etcd was just quicker than the watch, no harm is done
			}
		case changes = <-opened:
		case change, open := <-changes:
			if !open || change.CompactRevision != 0 {
				// The next call starts at what is there now. A watch that is
				// closed again and again waits for the list in between.
				wait(ctx, 100*time.Millisecond)
				return nil
			}
			if err := change.Err(); err != nil {
				return s.explain("watch "+prefix, err)
			}
			revision = max(revision, change.Header.Revision)
			apply(pairs, change.Events)
			if len(change.Events) > 0 {
				send(sorted(pairs))
			}
		}
	}
}

// openWatch opens a watch in a goroutine: the client waits for etcd to confirm
// it, without any time-out. stop ends the watch, and the goroutine.
func (s *Store) openWatch(ctx context.Context, key string, opts ...clientv3.OpOption) (opened <-chan clientv3.WatchChan, stop func()) {
	// A member that has lost its leader knows of no changes, and would say none.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	channel := make(chan clientv3.WatchChan, 1)
	var opening sync.WaitGroup
	opening.Go(func() { channel <- s.client.Watch(ctx, key, opts...) })
	return channel, func() {
		cancel()
		opening.Wait()
	}
}

func apply(pairs map[string]string, events []*clientv3.Event) {
	for _, e := range events {
		if e.Type == clientv3.EventTypeDelete {
			delete(pairs, string(e.Kv.Key))
		} else {
			pairs[string(e.Kv.Key)] = string(e.Kv.Value)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
