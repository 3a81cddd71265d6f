// Package zk is the key-value store ZooKeeper, 3.4 or newer. What is announced
// is an ephemeral node: it lives as long as the session that made it, and is
// made again when a session has expired. A lock is a queue of ephemeral nodes
// below its key, and belongs to the first.
//
// Sessions are cheap, so each watch and each lock has one of its own, which
// lasts exactly as long as it does; announcements share one. ZooKeeper bounds
// the timeouts of sessions (by default to between 4 and 40 s), so what a key or
// a lock outlives its holder by is the nearest to its ttl within these bounds.
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
	"golang.org/x/sync/errgroup"

	"github.com/skep/skep/internal/kvstore"
)

const (
	// defaultTimeout ends a call that ZooKeeper does not answer.
	defaultTimeout = 4 * time.Second

	// readTimeout is the timeout of sessions that only read.
	readTimeout = 10 * time.Second

	// maxAnswer bounds one answer: the names of all children of a node.
	maxAnswer = 32 << 20

	// readers is how many nodes a list reads at the same time.
	readers = 16
)

// Options of a store. The zero value is usable.
type Options struct {
	Timeout time.Duration // of one call, 4 s if zero
}

// Store is a ZooKeeper ensemble.
type Store struct {
	servers []string
	name    string // for errors
	timeout time.Duration

	mu        sync.Mutex // guards what follows
	reading   *session   // nil before the first List or Get
	announcer *announcer // nil before the first Announce
	locks     map[*lock]struct{}
	closed    bool
	closing   sync.WaitGroup // sessions that were replaced; none begins to once closed
}

var _ kvstore.Store = (*Store)(nil)

// New returns the store at the servers, each host:port. It connects at the
// first use.
func New(servers []string, o Options) (*Store, error) {
	if len(servers) == 0 {
		return nil, errors.New("zk: name at least one server, as in zk://host:2181")
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return &Store{
		servers: servers,
		name:    "zookeeper at " + strings.Join(servers, ","),
		timeout: o.Timeout,
		locks:   make(map[*lock]struct{}),
	}, nil
}

// Close implements [kvstore.Store]. All sessions end, and with them what was
// announced and locked.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	reading, announcer, locks := s.reading, s.announcer, s.locks
	s.reading, s.announcer, s.locks = nil, nil, nil
	s.mu.Unlock()

	// Each waits for a server that may not answer.
	for l := range locks {
		s.closing.Go(l.end)
	}
	if announcer != nil {
		s.closing.Go(announcer.close)
	}
	if reading != nil {
		s.closing.Go(reading.close)
	}
	s.closing.Wait()
	return nil
}

// readSession gives the session that List and Get share.
func (s *Store) readSession() (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, zk.ErrClosing
	}
	if s.reading != nil && s.reading.hopeless(s.timeout) {
		s.closing.Go(s.reading.close)
		s.reading = nil
	}
	if s.reading == nil {
		reading, err := begin(s.servers, readTimeout, maxAnswer, nil)
		if err != nil {
			return nil, err
		}
		s.reading = reading
	}
	return s.reading, nil
}

// List implements [kvstore.Store]. It gives the nodes right below prefix that
// have something in them.
func (s *Store) List(ctx context.Context, prefix string) ([]kvstore.Pair, error) {
	reading, err := s.readSession()
	if err != nil {
		return nil, s.explain("list "+prefix, err)
	}
	pairs, err := ask(ctx, reading, s.timeout, func(ctx context.Context, c *zk.Conn) ([]kvstore.Pair, error) {
		names, _, err := c.Children(node(prefix))
		if errors.Is(err, zk.ErrNoNode) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return read(ctx, c, prefix, names)
	})
	if err != nil {
		return nil, s.explain("list "+prefix, err)
	}
	return pairs, nil
}

// read reads the named nodes below prefix. Those that are gone by then, and
// those that only hold others, are left out.
func read(ctx context.Context, c *zk.Conn, prefix string, names []string) ([]kvstore.Pair, error) {
	slices.Sort(names)
	found := make([]*kvstore.Pair, len(names))
	var group errgroup.Group
	group.SetLimit(readers)
	for i, name := range names {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			data, stat, err := c.Get(path.Join(node(prefix), name))
			switch {
			case errors.Is(err, zk.ErrNoNode):
			case err != nil:
				return err
			case len(data) > 0 || stat.EphemeralOwner != 0:
				found[i] = &kvstore.Pair{Key: path.Join(key(prefix), name), Value: string(data)}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var pairs []kvstore.Pair
	for _, p := range found {
		if p != nil {
			pairs = append(pairs, *p)
		}
	}
	return pairs, nil
}

// Get implements [kvstore.Store].
func (s *Store) Get(ctx context.Context, key string) (string, bool, error) {
	reading, err := s.readSession()
	if err != nil {
		return "", false, s.explain("read "+key, err)
	}
	value, err := ask(ctx, reading, s.timeout, func(ctx context.Context, c *zk.Conn) (*string, error) {
		return get(ctx, c, node(key))
	})
	if err != nil {
		return "", false, s.explain("read "+key, err)
	}
	if value == nil {
		return "", false, nil
	}
	return *value, true, nil
}

// get gives the value of a node or of the lock at it, nil if there is none.
func get(ctx context.Context, c *zk.Conn, at string) (*string, error) {
	for ctx.Err() == nil {
		names, _, err := c.Children(at)
		if errors.Is(err, zk.ErrNoNode) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		where := at
		queue := waiting(names)
		if len(queue) > 0 {
			where = path.Join(at, queue[0])
		}
		data, stat, err := c.Get(where)
		switch {
		case errors.Is(err, zk.ErrNoNode):
			continue // it has gone in between: look who is next
		case err != nil:
			return nil, err
		case len(data) == 0 && stat.EphemeralOwner == 0:
			return nil, nil // it only holds others
		}
		value := string(data)
		return &value, nil
	}
	return nil, ctx.Err()
}

// explain makes an error say which store it is about and what to look at.
func (s *Store) explain(doing string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, zk.ErrNoServer) || errors.Is(err, zk.ErrConnectionClosed) {
		return fmt.Errorf("%s does not answer (%s): %w", s.name, doing, err)
	}
	return fmt.Errorf("%s: %s: %w", s.name, doing, err)
}

// node is the path of the node of a key.
func node(key string) string { return path.Clean("/" + key) }

// key is how the keys of kvstore are written, from any spelling.
func key(prefix string) string { return strings.TrimPrefix(node(prefix), "/") }

// makeParents makes the nodes above at that are missing. They stay.
func makeParents(ctx context.Context, c *zk.Conn, at string) error {
	return makeNodes(ctx, c, path.Dir(at))
}

func makeNodes(ctx context.Context, c *zk.Conn, at string) error {
	if at == "/" {
		return nil
	}
	there, _, err := c.Exists(at)
	if err != nil || there {
		return err
	}
	if err := makeNodes(ctx, c, path.Dir(at)); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, err = c.Create(at, nil, zk.FlagPersistent, zk.WorldACL(zk.PermAll))
	if errors.Is(err, zk.ErrNodeExists) {
		return nil
	}
	return err
}
