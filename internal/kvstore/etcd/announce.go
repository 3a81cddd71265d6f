package etcd

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/skep/skep/internal/kvstore"
)

// announcement is a key that hangs on a lease of its own.
type announcement struct {
	lease clientv3.LeaseID
	ttl   time.Duration
}

// Announce implements [kvstore.Store].
func (s *Store) Announce(ctx context.Context, p kvstore.Pair, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.mu.Lock()
	a, known := s.announced[p.Key]
	s.mu.Unlock()
	if known && a.ttl == ttl {
		err := s.repeat(ctx, p, a.lease)
		if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return s.explainIf("announce "+p.Key, err)
		}
	}
	lease, _, err := s.grant(ctx, ttl)
	if err != nil {
		return s.explain("announce "+p.Key, err)
	}
	// Remember it first: then Withdraw takes back also what was written without
	// our learning of it.
	s.mu.Lock()
	s.announced[p.Key] = announcement{lease: lease, ttl: ttl}
	s.mu.Unlock()
	if _, err := s.client.Put(ctx, p.Key, p.Value, clientv3.WithLease(lease)); err != nil {
		return s.explain("announce "+p.Key, err)
	}
	if known {
		// The key has left this lease, so nothing ends with it. It may be gone.
		_, _ = s.client.Revoke(ctx, a.lease)
	}
	return nil
}

// repeat renews the lease, and writes the key only if it is not as it should be:
// else all watches would wake up at each heartbeat of each engine.
func (s *Store) repeat(ctx context.Context, p kvstore.Pair, lease clientv3.LeaseID) error {
	if _, err := s.keepAlive(ctx, lease); err != nil {
		return err
	}
	_, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.Value(p.Key), "=", p.Value), clientv3.Compare(clientv3.LeaseValue(p.Key), "=", lease)).
		Else(clientv3.OpPut(p.Key, p.Value, clientv3.WithLease(lease))).
		Commit()
	return err
}

// Withdraw implements [kvstore.Store].
func (s *Store) Withdraw(ctx context.Context, key string) error {
	s.mu.Lock()
	a, known := s.announced[key]
	s.mu.Unlock()
	if !known {
		return nil
	}
	if err := s.revoke(ctx, a.lease); err != nil {
		return s.explain("withdraw "+key, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.announced[key] == a {
		delete(s.announced, key)
	}
	return nil
}

// grant gives a lease and how long it lasts, which may be more than ttl: etcd
// knows whole seconds only and has a shortest time of its own.
func (s *Store) grant(ctx context.Context, ttl time.Duration) (clientv3.LeaseID, time.Duration, error) {
	seconds := max(1, int64((ttl+time.Second-1)/time.Second))
	resp, err := s.client.Grant(ctx, seconds)
	if err != nil {
		return 0, 0, err
	}
	return resp.ID, time.Duration(resp.TTL) * time.Second, nil
}

// keepAlive renews a lease once. The client's own call for it tries again
// without any pause for as long as nobody can be reached; this one fails.
func (s *Store) keepAlive(ctx context.Context, lease clientv3.LeaseID) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream
	stream, err := pb.NewLeaseClient(s.client.ActiveConnection()).LeaseKeepAlive(clientv3.WithRequireLeader(ctx))
	if err != nil {
		return 0, err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease)}); err != nil {
		return 0, err
	}
	resp, err := stream.Recv()
	if err != nil {
		return 0, rpctypes.Error(err)
	}
	if resp.TTL <= 0 {
		return 0, rpctypes.ErrLeaseNotFound
	}
	return time.Duration(resp.TTL) * time.Second, nil
}

// revoke ends a lease and the keys that hang on it. That it has ended already is
// no error.
func (s *Store) revoke(ctx context.Context, lease clientv3.LeaseID) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	_, err := s.client.Revoke(ctx, lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}

func (s *Store) explainIf(doing string, err error) error {
	if err == nil {
		return nil
	}
	return s.explain(doing, err)
}
