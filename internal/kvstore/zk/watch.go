package zk

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/skep/skep/internal/kvstore"
)

// probeEvery is how often at most a watch asks whether ZooKeeper is still there.
const probeEvery = 5 * time.Second

// Watch implements [kvstore.Store]. After a failure it begins a new session: so
// nothing is left of watches that the library knows and nobody waits for.
func (s *Store) Watch(ctx context.Context, prefix string, retry time.Duration) <-chan kvstore.Snapshot {
	return kvstore.Feed(ctx, retry, func(ctx context.Context, send func([]kvstore.Pair)) error {
		if err := s.follow(ctx, prefix, min(retry, probeEvery), send); err != nil {
			return s.explain("watch "+prefix, err)
		}
		return nil
	})
}

// state is what is below a prefix, and what tells that it is no more so.
type state struct {
	pairs   []kvstore.Pair
	changed <-chan zk.Event
}

// follow sends what is there at each change until something fails.
func (s *Store) follow(ctx context.Context, prefix string, probe time.Duration, send func([]kvstore.Pair)) error {
	session, err := begin(s.servers, readTimeout, maxAnswer, nil)
	if err != nil {
		return err
	}
	defer session.close()
	probes := time.NewTicker(probe)
	defer probes.Stop()
	for {
		now, err := ask(ctx, session, s.timeout, func(ctx context.Context, c *zk.Conn) (state, error) {
			return look(ctx, c, prefix)
		})
		if err != nil {
			return err
		}
		send(now.pairs)
		for changed := false; !changed; {
			select {
			case <-ctx.Done():
				return nil
			case event := <-now.changed:
				if event.Err != nil {
					return event.Err
				}
				changed = true
			case <-probes.C:
				if _, err := ask(ctx, session, s.timeout, func(_ context.Context, c *zk.Conn) (bool, error) {
					there, _, err := c.Exists(node(prefix))
					return there, err
				}); err != nil {
					return err
				}
			}
		}
	}
}

// look reads what is below prefix and asks to be told of the next change. The
// values of nodes that stay are not watched: Announce replaces the whole node.
func look(ctx context.Context, c *zk.Conn, prefix string) (state, error) {
	for ctx.Err() == nil {
		names, _, changed, err := c.ChildrenW(node(prefix))
		switch {
		case errors.Is(err, zk.ErrNoNode):
			there, _, created, err := c.ExistsW(node(prefix))
			if err != nil {
				return state{}, err
			}
			if !there {
				return state{changed: created}, nil
			}
			// It was made in between. The watch stays behind until it fires.
		case err != nil:
			return state{}, err
		default:
			pairs, err := read(ctx, c, prefix, names)
			return state{pairs, changed}, err
		}
	}
	return state{}, ctx.Err()
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
