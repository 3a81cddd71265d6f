package consul

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/skep/skep/internal/kvstore"
)

// Lock waits until key is ours. The key bears the flag by which Consul's own
// lock command and library know locks, so that they compete for it properly.
func (s *Store) Lock(ctx context.Context, p kvstore.Pair, ttl time.Duration) (kvstore.Lock, error) {
	if ttl <= 0 { // Consul would take that for a session without an end
		return nil, fmt.Errorf("consul: %s cannot be locked for %s: give a TTL above zero", p.Key, ttl)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, errClosed
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()
	ctx, done := s.bound(ctx)
	defer done()
	var mine session
	// Whatever fails below, the session must not hold the key, nor linger.
	taken := false
	defer func() {
		if !taken {
			s.abandon(ctx, mine.id)
		}
	}()
	poll := s.poller(lockWait, true)
	for pause := 2 * lockDelay; ; {
		entry, err := poll.key(ctx, p.Key)
		if err != nil {
			return nil, err
		}
		if entry != nil && entry.Session != "" {
			pause = 2 * lockDelay
			continue
		}
		if mine, err = s.fresh(ctx, mine, p.Key, ttl); err != nil {
			return nil, err
		}
		ok, gone, err := s.acquire(ctx, &api.KVPair{Key: p.Key, Value: []byte(p.Value), Flags: api.LockFlagValue, Session: mine.id})
		switch {
		case err != nil:
			return nil, err
		case ok && time.Since(mine.sent) < mine.safe():
			held, err := s.hold(p.Key, mine)
			if err != nil {
				return nil, err
			}
			taken = true
			return held, nil
		case ok:
			// The answer took so long that the key may be another's by now.
			s.abandon(ctx, mine.id)
			mine = session{}
		case gone:
			mine = session{}
		}
		// Another was quicker, or the lock delay of the last holder runs: Consul
		// does not say which, nor when it ends.
		poll.restart()
		if err := sleep(ctx, pause); err != nil {
			return nil, s.explain(ctx, "lock "+p.Key, err)
		}
		pause = min(2*pause, time.Second)
	}
}

// fresh gives a session with most of its time ahead.
func (s *Store) fresh(ctx context.Context, has session, key string, ttl time.Duration) (session, error) {
	if has.id != "" {
		sent := time.Now()
		if sent.Sub(has.sent) < has.ttl/3 {
			return has, nil
		}
		switch alive, err := s.renew(ctx, has.id); {
		case err != nil:
			return has, err
		case alive:
			has.sent = sent
			return has, nil
		}
	}
	return s.create(ctx, key, ttl)
}

// safe is how long a holder may count on the session: a tenth less than Consul
// has promised, for the time that a goroutine takes to wake and act.
func (m session) safe() time.Duration { return m.ttl - m.ttl/10 }

// lock is a key that is held. A keeper renews the session, and a goroutine looks
// whether the key is taken from it; Release and Close end them.
type lock struct {
	store   *Store
	key     string
	session session
	keeper  *kvstore.Keeper
	// cancel ends the goroutine that looks, looking waits for it.
	cancel  context.CancelFunc
	looking sync.WaitGroup
}

var _ kvstore.Lock = (*lock)(nil)

// hold starts what keeps a lock.
func (s *Store) hold(key string, mine session) (*lock, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	ctx, cancel := context.WithCancel(s.ctx)
	l := &lock{store: s, key: key, session: mine, cancel: cancel}
	l.keeper = kvstore.NewKeeper(mine.safe(), mine.sent, l.renew)
	l.looking.Go(func() { l.look(ctx) })
	s.locks[l] = struct{}{}
	return l, nil
}

// Lost is closed when the lock may be another's.
func (l *lock) Lost() <-chan struct{} { return l.keeper.Lost() }

// Release closes Lost, ends what keeps the lock, and then gives the key back. The
// session of a lock that is lost is not ended before, so that its holder has what
// is left of Consul's time to stop.
func (l *lock) Release(ctx context.Context) error {
	l.keeper.Stop()
	l.cancel()
	l.looking.Wait()
	s := l.store
	s.mu.Lock()
	_, held := s.locks[l]
	s.mu.Unlock()
	if !held {
		return nil
	}
	if err := s.destroy(ctx, l.session.id); err != nil {
		return fmt.Errorf("give back the lock %s, which is free in %s at the latest: %w", l.key, 2*l.session.ttl, err)
	}
	s.mu.Lock()
	delete(s.locks, l)
	s.mu.Unlock()
	return nil
}

func (l *lock) renew(ctx context.Context) error {
	alive, err := l.store.renew(ctx, l.session.id)
	if err == nil && !alive {
		return kvstore.ErrLost
	}
	return err
}

// look notices when the key is removed or forced into other hands, which no
// renewal tells.
func (l *lock) look(ctx context.Context) {
	for poll := l.store.poller(lockWait, true); ; {
		entry, err := poll.key(ctx, l.key)
		switch {
		case err != nil:
			// The keeper's clock decides whether this lasts too long.
			if sleep(ctx, min(l.session.ttl/10, time.Second)) != nil {
				return
			}
		case !holds(entry, l.session.id):
			l.keeper.Stop()
			return
		}
	}
}
