package zk

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/skep/skep/internal/kvstore"
)

// announcer keeps announced keys in ZooKeeper, through the expiry of sessions.
type announcer struct {
	servers []string
	lasts   time.Duration // what the session is asked for
	timeout time.Duration // of one call
	turn    chan struct{} // holds one value while nodes are being changed
	begun   chan struct{} // holds one value when another session may have begun

	cancel  context.CancelFunc
	running sync.WaitGroup

	wanted map[string]string // the keys and values; for whoever has the turn

	mu      sync.Mutex // guards what follows
	session *session
	closed  bool
}

// shortest is the timeout of a session that is asked for at least: with less,
// pings come so often that a busy machine misses some.
const shortest = time.Second

// Announce implements [kvstore.Store].
func (s *Store) Announce(ctx context.Context, p kvstore.Pair, ttl time.Duration) error {
	a, err := s.announcing(ttl)
	if err != nil {
		return s.explain("announce "+p.Key, err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := a.announce(ctx, p); err != nil {
		return s.explain("announce "+p.Key, err)
	}
	return nil
}

// Withdraw implements [kvstore.Store].
func (s *Store) Withdraw(ctx context.Context, key string) error {
	s.mu.Lock()
	a := s.announcer
	s.mu.Unlock()
	if a == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := a.withdraw(ctx, key); err != nil {
		return s.explain("withdraw "+key, err)
	}
	return nil
}

// announcing gives the announcer. The ttl of the first announcement is that of
// its session, and so of all that follow.
func (s *Store) announcing(ttl time.Duration) (*announcer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, zk.ErrClosing
	}
	if s.announcer != nil {
		return s.announcer, nil
	}
	a := &announcer{
		servers: s.servers,
		lasts:   max(ttl, shortest),
		timeout: s.timeout,
		turn:    make(chan struct{}, 1),
		begun:   make(chan struct{}, 1),
		wanted:  make(map[string]string),
	}
	var err error
	if a.session, err = begin(a.servers, a.lasts, small, a.event); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.running.Go(func() { a.restore(ctx) })
	s.announcer = a
	return a, nil
}

func (a *announcer) close() {
	a.cancel()
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.session.close()
	a.running.Wait()
}

func (a *announcer) event(e zk.Event) {
	if e.State != zk.StateHasSession {
		return
	}
	select {
	case a.begun <- struct{}{}:
	default:
	}
}

func (a *announcer) announce(ctx context.Context, p kvstore.Pair) error {
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-a.turn }()
	a.wanted[p.Key] = p.Value
	if err := a.revive(); err != nil {
		return err
	}
	return a.put(ctx, p.Key, p.Value)
}

// revive begins another session in place of one that will not come back.
func (a *announcer) revive() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return zk.ErrClosing
	}
	if !a.session.hopeless(max(a.lasts, a.session.negotiated())) {
		return nil
	}
	another, err := begin(a.servers, a.lasts, small, a.event)
	if err != nil {
		return err
	}
	a.running.Go(a.session.close) // no server hears it say goodbye, which takes a second
	a.session = another
	return nil
}

func (a *announcer) current() *session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session
}

func (a *announcer) withdraw(ctx context.Context, key string) error {
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-a.turn }()
	delete(a.wanted, key)
	_, err := ask(ctx, a.current(), a.timeout, func(_ context.Context, c *zk.Conn) (none, error) {
		_, stat, err := c.Exists(node(key))
		if err == nil && stat.EphemeralOwner == c.SessionID() {
			err = c.Delete(node(key), stat.Version)
		}
		if errors.Is(err, zk.ErrNoNode) {
			err = nil
		}
		return none{}, err
	})
	return err
}

// restore announces everything again whenever a session has begun. A session
// that has merely been resumed costs a look at each key.
func (a *announcer) restore(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.begun:
		}
		for ctx.Err() == nil && a.putAll(ctx) != nil {
			wait(ctx, time.Second)
		}
	}
}

func (a *announcer) putAll(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-a.turn }()
	for key, value := range a.wanted {
		if err := a.put(ctx, key, value); err != nil {
			return err
		}
	}
	return nil
}

type none struct{}

// put sees to it that the key is there, with the value, and ends with the
// session that is ours now.
func (a *announcer) put(ctx context.Context, key, value string) error {
	_, err := ask(ctx, a.current(), a.timeout, func(ctx context.Context, c *zk.Conn) (none, error) {
		at := node(key)
		for ctx.Err() == nil {
			data, stat, err := c.Get(at)
			switch {
			case errors.Is(err, zk.ErrNoNode):
				if err := makeParents(ctx, c, at); err != nil {
					return none{}, err
				}
				if ctx.Err() != nil {
					return none{}, ctx.Err()
				}
				_, err = c.Create(at, []byte(value), zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
			case err != nil:
				return none{}, err
			case stat.EphemeralOwner == c.SessionID() && string(data) == value:
				return none{}, nil
			case ctx.Err() != nil:
				return none{}, ctx.Err()
			default:
				// Of an earlier session of ours that has not expired yet, most
				// likely. Both at once: nobody ever finds the key missing.
				_, err = c.Multi(
					&zk.DeleteRequest{Path: at, Version: stat.Version},
					&zk.CreateRequest{Path: at, Data: []byte(value), Flags: zk.FlagEphemeral, Acl: zk.WorldACL(zk.PermAll)})
			}
			if !changedMeanwhile(err) {
				return none{}, err
			}
		}
		return none{}, ctx.Err()
	})
	return err
}

func changedMeanwhile(err error) bool {
	return errors.Is(err, zk.ErrNoNode) || errors.Is(err, zk.ErrNodeExists) || errors.Is(err, zk.ErrBadVersion)
}
