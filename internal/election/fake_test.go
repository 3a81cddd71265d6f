package election_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skep/skep/internal/kvstore"
)

var errCut = errors.New("the store cannot be reached")

// server is a key-value store with one lock, for any number of managers.
type server struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
	value   string
	holder  *heldLock
	expires time.Time
	byHand  string // shadows the lock's value when set
	wiped   bool   // the key was deleted by hand
}

func newServer() *server { return &server{changed: make(chan struct{})} }

func (s *server) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// overwrite does what an operator may do with the store's own tool.
func (s *server) overwrite(value string) { s.update(func() { s.byHand = value }) }
func (s *server) wipe()                  { s.update(func() { s.wiped = true }) }

// read gives the value of the key at this moment, and what is closed at its
// next change.
func (s *server) read() (string, bool, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.byHand != "":
		return s.byHand, true, s.changed
	case s.wiped || s.holder == nil || !time.Now().Before(s.expires):
		return "", false, s.changed
	default:
		return s.value, true, s.changed
	}
}

// client is one manager's connection to the server. Its messages take delay,
// each way.
type client struct {
	*server
	link  sync.Mutex
	cut   bool
	delay time.Duration
}

func (c *client) set(cut bool, delay time.Duration) {
	c.link.Lock()
	defer c.link.Unlock()
	c.cut, c.delay = cut, delay
}

// cross is the way of a message over the link.
func (c *client) cross(ctx context.Context) error {
	c.link.Lock()
	cut, delay := c.cut, c.delay
	c.link.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if cut {
		return errCut
	}
	return ctx.Err()
}

func (c *client) Get(ctx context.Context, _ string) (string, bool, error) {
	if err := c.cross(ctx); err != nil {
		return "", false, err
	}
	value, ok, _ := c.read()
	return value, ok, c.cross(ctx)
}

func (c *client) Watch(ctx context.Context, _ string, retry time.Duration) <-chan kvstore.Snapshot {
	out := make(chan kvstore.Snapshot)
	go func() {
		defer close(out)
		for {
			_, _, changed := c.read()
			snapshot := kvstore.Snapshot{Err: c.cross(ctx)}
			select {
			case out <- snapshot:
			case <-ctx.Done():
				return
			}
			if snapshot.Err != nil {
				changed = nil
			}
			select {
			case <-changed:
			case <-time.After(retry):
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (c *client) Lock(ctx context.Context, p kvstore.Pair, ttl time.Duration) (kvstore.Lock, error) {
	for {
		sent := time.Now()
		if err := c.cross(ctx); err != nil {
			return nil, err
		}
		l := &heldLock{client: c, ttl: ttl, lost: make(chan struct{}), stop: make(chan struct{}), ended: make(chan struct{})}
		var left time.Duration
		c.update(func() {
			if left = time.Until(c.expires); c.holder == nil || left <= 0 {
				c.holder, c.value, c.expires, c.wiped, left = l, p.Value, time.Now().Add(ttl), false, 0
			}
		})
		if left == 0 {
			if err := c.cross(ctx); err != nil {
				return nil, err // the lock stays taken until its time is over
			}
			go l.keep(sent)
			return l, nil
		}
		_, _, changed := c.read()
		select {
		case <-changed:
		case <-time.After(left):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *client) List(context.Context, string) ([]kvstore.Pair, error)        { return nil, nil }
func (c *client) Announce(context.Context, kvstore.Pair, time.Duration) error { return nil }
func (c *client) Withdraw(context.Context, string) error                      { return nil }
func (c *client) Close() error                                                { return nil }

// heldLock is what kvstore.Lock promises: it is lost by our own clock at the
// latest, counted from when the last renewal that succeeded was sent.
type heldLock struct {
	client            *client
	ttl               time.Duration
	lost, stop, ended chan struct{}
	once              sync.Once
}

func (l *heldLock) Lost() <-chan struct{} { return l.lost }

// keep renews, one renewal after the other, until the lock is lost or given back.
func (l *heldLock) keep(sent time.Time) {
	defer close(l.ended)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	renewed := make(chan time.Time)
	refused := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { l.renew(ctx, renewed, refused) })
	timer := time.NewTimer(time.Until(sent.Add(l.ttl)))
	defer timer.Stop()
	for {
		select {
		case at := <-renewed:
			timer.Reset(time.Until(at.Add(l.ttl)))
		case <-refused:
			close(l.lost)
			return
		case <-timer.C:
			close(l.lost)
			return
		case <-l.stop:
			close(l.lost)
			return
		}
	}
}

func (l *heldLock) renew(ctx context.Context, renewed chan<- time.Time, refused chan<- struct{}) {
	for {
		select {
		case <-time.After(l.ttl / 3):
		case <-ctx.Done():
			return
		}
		sent := time.Now()
		if l.client.cross(ctx) != nil {
			continue
		}
		ours := false
		l.client.update(func() {
			if ours = l.client.holder == l && time.Now().Before(l.client.expires); ours {
				l.client.expires = time.Now().Add(l.ttl)
			}
		})
		if l.client.cross(ctx) != nil {
			continue
		}
		if !ours {
			close(refused)
			return
		}
		select {
		case renewed <- sent:
		case <-ctx.Done():
			return
		}
	}
}

func (l *heldLock) Release(ctx context.Context) error {
	l.once.Do(func() { close(l.stop) })
	<-l.ended
	if err := l.client.cross(ctx); err != nil {
		return err
	}
	l.client.update(func() {
		if l.client.holder == l {
			l.client.holder = nil
		}
	})
	return nil
}
