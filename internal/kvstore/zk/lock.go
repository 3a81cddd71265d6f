package zk

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/skep/skep/internal/kvstore"
)

// place is how the names of the nodes in the queue for a lock begin. ZooKeeper
// puts ten digits behind, the next number each time.
const place = "lock-"

// lock is the first node in the queue below a key.
type lock struct {
	store   *Store
	key     string
	mine    string // the path of our node
	session *session
	owner   int64 // the session that made it
	keeper  *kvstore.Keeper
	ending  sync.Once
}

// Lock implements [kvstore.Store].
func (s *Store) Lock(ctx context.Context, p kvstore.Pair, ttl time.Duration) (kvstore.Lock, error) {
	l, err := s.lock(ctx, p, ttl)
	if err != nil {
		return nil, s.explain("lock "+p.Key, err)
	}
	return l, nil
}

func (s *Store) lock(ctx context.Context, p kvstore.Pair, ttl time.Duration) (*lock, error) {
	session, err := begin(s.servers, max(ttl, shortest), small, nil)
	if err != nil {
		return nil, err
	}
	l := &lock{store: s, key: p.Key, session: session}
	sent, err := l.queue(ctx, p)
	if err == nil {
		l.keeper = kvstore.NewKeeper(l.lasts(), sent, l.renew)
		if !s.remember(l) {
			l.keeper.Stop()
			err = zk.ErrClosing
		}
	}
	if err != nil {
		// Our place in the queue goes with the session.
		session.close()
		return nil, err
	}
	return l, nil
}

// queue takes a place in the queue and waits until it is the first. It gives
// the time at which the last request was sent that proves it.
func (l *lock) queue(ctx context.Context, p kvstore.Pair) (sent time.Time, err error) {
	at := node(p.Key)
	mine, err := ask(ctx, l.session, l.store.timeout, func(ctx context.Context, c *zk.Conn) (string, error) {
		if err := makeNodes(ctx, c, at); err != nil {
			return "", err
		}
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return c.Create(path.Join(at, place), []byte(p.Value), zk.FlagEphemeral|zk.FlagSequence, zk.WorldACL(zk.PermAll))
	})
	if err != nil {
		return time.Time{}, err
	}
	l.mine, l.owner = mine, l.session.conn.SessionID()
	for {
		sent = time.Now()
		before, err := ask(ctx, l.session, l.store.timeout, func(ctx context.Context, c *zk.Conn) (<-chan zk.Event, error) {
			return l.before(ctx, c)
		})
		if err != nil || before == nil {
			return sent, err
		}
		if err := l.await(ctx, before); err != nil {
			return sent, err
		}
	}
}

// before gives the end of the one before us in the queue, nil if we are first.
// Everyone watches only that: when a lock is free, one wakes up, not all.
func (l *lock) before(ctx context.Context, c *zk.Conn) (<-chan zk.Event, error) {
	for ctx.Err() == nil {
		// Without it, a server that lags behind could show an old queue.
		if _, err := c.Sync(node(l.key)); err != nil {
			return nil, err
		}
		names, _, err := c.Children(node(l.key))
		if err != nil {
			return nil, err
		}
		queue := waiting(names)
		i := slices.Index(queue, path.Base(l.mine))
		if i < 0 {
			return nil, errors.New("our place in the queue is gone: the session has expired")
		}
		if i == 0 {
			return nil, nil
		}
		there, _, gone, err := c.ExistsW(path.Join(node(l.key), queue[i-1]))
		if err != nil {
			return nil, err
		}
		if there {
			return gone, nil
		}
	}
	return nil, ctx.Err()
}

// await returns nil when the one before us is gone. Meanwhile it looks whether
// we still have our place.
func (l *lock) await(ctx context.Context, gone <-chan zk.Event) error {
	look := time.NewTicker(max(time.Second, l.session.negotiated()/3))
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event := <-gone:
			return event.Err
		case <-look.C:
			if err := l.renewWithin(ctx, l.store.timeout); err != nil {
				return err
			}
		}
	}
}

// lasts is for how long a sign of life is good. It is shorter than the session:
// in an ensemble, the leader that ends sessions may hear of the sign up to a
// tick later than the server that answered it, and heard of the one before that
// long ago.
func (l *lock) lasts() time.Duration { return l.session.negotiated() * 4 / 5 }

// renew is a sign of life that the leader of the ensemble has seen, and a look
// at our node.
func (l *lock) renew(ctx context.Context) error { return l.renewWithin(ctx, l.store.timeout) }

func (l *lock) renewWithin(ctx context.Context, timeout time.Duration) error {
	_, err := ask(ctx, l.session, timeout, func(ctx context.Context, c *zk.Conn) (none, error) {
		if _, err := c.Sync(l.mine); err != nil {
			return none{}, err
		}
		there, stat, err := c.Exists(l.mine)
		if err == nil && (!there || stat.EphemeralOwner != l.owner) {
			err = fmt.Errorf("our place in the queue is gone: %w", kvstore.ErrLost)
		}
		return none{}, err
	})
	if errors.Is(err, zk.ErrSessionExpired) {
		return kvstore.ErrLost
	}
	return err
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

// Lost implements [kvstore.Lock].
func (l *lock) Lost() <-chan struct{} { return l.keeper.Lost() }

// Release implements [kvstore.Lock].
func (l *lock) Release(ctx context.Context) error {
	l.store.mu.Lock()
	_, held := l.store.locks[l]
	delete(l.store.locks, l)
	l.store.mu.Unlock()
	if !held {
		l.end() // by Close as well; wait until it is done
		return nil
	}
	l.keeper.Stop()
	_, err := ask(ctx, l.session, l.store.timeout, func(_ context.Context, c *zk.Conn) (none, error) {
		err := c.Delete(l.mine, -1)
		if errors.Is(err, zk.ErrNoNode) {
			err = nil
		}
		return none{}, err
	})
	l.end()
	if err != nil {
		return l.store.explain("release "+l.key, err)
	}
	return nil
}

func (l *lock) end() {
	l.ending.Do(func() {
		l.keeper.Stop()
		l.session.close()
	})
}

// waiting gives the queue among the names of children, the first one first.
func waiting(names []string) []string {
	queue := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasPrefix(n, place) })
	slices.Sort(queue)
	return queue
}
