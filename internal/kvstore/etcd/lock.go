package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skep/skep/internal/kvstore"
)

// lock is a key that hangs on a lease which is renewed.
type lock struct {
	store   *Store
	key     string
	lease   clientv3.LeaseID
	created int64 // the revision at which the key became ours
	keeper  *kvstore.Keeper
}

// Lock implements [kvstore.Store].
func (s *Store) Lock(ctx context.Context, p kvstore.Pair, ttl time.Duration) (kvstore.Lock, error) {
	for {
		revision, held, err := s.held(ctx, p.Key)
		if err != nil {
			return nil, err
		}
		if held {
			if err := s.awaitChange(ctx, p.Key, revision, ttl); err != nil {
				return nil, err
			}
			continue
		}
		l, err := s.take(ctx, p, ttl)
		if err != nil {
			return nil, err
		}
		if l != nil {
			return l, nil
		}
	}
}

// held tells whether anyone has the key, and the revision at which that is true.
func (s *Store) held(ctx context.Context, key string) (revision int64, held bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	resp, err := s.client.Get(ctx, key, clientv3.WithKeysOnly())
	if err != nil {
		return 0, false, s.explain("lock "+key, err)
	}
	return resp.Header.Revision, len(resp.Kvs) > 0, nil
}

// awaitChange returns when the key may be free: when etcd says so, and now and
// then, so that a store which has gone away is noticed.
func (s *Store) awaitChange(ctx context.Context, key string, revision int64, ttl time.Duration) error {
	opened, stop := s.openWatch(ctx, key, clientv3.WithRev(revision+1), clientv3.WithFilterPut())
	defer stop()
	var gone clientv3.WatchChan // nil until it is open
	look := time.NewTimer(max(time.Second, ttl/2))
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			return nil
		case gone = <-opened:
		case change, open := <-gone:
			if !open || change.Err() != nil {
				wait(ctx, 100*time.Millisecond)
			}
			return nil
		}
	}
}

// take makes the key ours. It returns nil if another was faster.
func (s *Store) take(ctx context.Context, p kvstore.Pair, ttl time.Duration) (*lock, error) {
	calling, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	sent := time.Now()
	lease, granted, err := s.grant(calling, ttl)
	if err != nil {
		return nil, s.explain("lock "+p.Key, err)
	}
	resp, err := s.client.Txn(calling).
		If(clientv3.Compare(clientv3.CreateRevision(p.Key), "=", 0)).
		Then(clientv3.OpPut(p.Key, p.Value, clientv3.WithLease(lease))).
		Commit()
	if err != nil || !resp.Succeeded {
		// After an error the key may be ours all the same; with its lease it goes.
		// Should that fail as well, it ends by itself.
		_ = s.revoke(context.WithoutCancel(ctx), lease)
		return nil, s.explainIf("lock "+p.Key, err)
	}
	l := &lock{store: s, key: p.Key, lease: lease, created: resp.Header.Revision}
	l.keeper = kvstore.NewKeeper(granted, sent, l.renew)
	if !s.remember(l) {
		l.keeper.Stop()
		return nil, fmt.Errorf("%s: lock %s: the store is closed", s.name, p.Key)
	}
	return l, nil
}

func (s *Store) remember(l *lock) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.locks[l] = struct{}{}
	return true
}

// renew also looks at the key: someone may have deleted it by hand, and then its
// lease lives on for nothing. A member that hangs costs no more than one time-out:
// the next try goes to another.
func (l *lock) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.store.timeout)
	defer cancel()
	_, err := l.store.keepAlive(ctx, l.lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return kvstore.ErrLost
	}
	if err != nil {
		return err
	}
	resp, err := l.store.client.Get(ctx, l.key, clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	if len(resp.Kvs) == 0 || resp.Kvs[0].CreateRevision != l.created {
		return kvstore.ErrLost
	}
	return nil
}

// Lost implements [kvstore.Lock].
func (l *lock) Lost() <-chan struct{} { return l.keeper.Lost() }

// Release implements [kvstore.Lock].
func (l *lock) Release(ctx context.Context) error {
	l.keeper.Stop()
	l.store.mu.Lock()
	delete(l.store.locks, l)
	l.store.mu.Unlock()
	if err := l.store.revoke(ctx, l.lease); err != nil {
		return l.store.explain("release "+l.key, err)
	}
	return nil
}
