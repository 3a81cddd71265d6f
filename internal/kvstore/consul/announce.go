package consul

import (
	"context"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
	"github.com/hashicorp/consul/api"

	"github.com/skep/skep/internal/kvstore"
)

// announcement is a key that this store has set.
type announcement struct {
	// turn is held by whoever speaks with Consul about the key; it guards what
	// follows. A channel, since waiting for it must end with a context.
	turn    chan struct{}
	session session
	// asked is the TTL that the session was made for.
	asked time.Duration
}

// Announce sets a key for ttl. Repeating it renews the session and looks whether
// the key is as it should be: nothing is written then, and no watch wakes.
func (s *Store) Announce(ctx context.Context, p kvstore.Pair, ttl time.Duration) error {
	if ttl <= 0 { // Consul would take that for a session without an end
		return fmt.Errorf("consul: %s cannot be announced for %s: give a TTL above zero", p.Key, ttl)
	}
	a, leave, err := s.enter(ctx, p.Key)
	if err != nil {
		return err
	}
	defer leave()

	if a.session.id != "" && a.asked == ttl {
		alive, err := s.renew(ctx, a.session.id)
		if err != nil {
			return err
		}
		if !alive {
			a.session = session{}
		}
	}
	entry, err := s.read(ctx, p.Key)
	switch {
	case err != nil:
		return err
	case a.session.id != "" && a.asked == ttl && holds(entry, a.session.id) && string(entry.Value) == p.Value:
		return nil
	}
	// former is a session of ours that has become useless.
	former := ""
	if a.session.id == "" || a.asked != ttl {
		made, err := s.sessionFor(ctx, entry, p.Key, ttl)
		if err != nil {
			return err
		}
		former, a.session, a.asked = a.session.id, made, ttl
	}
	if err := s.take(ctx, a, p, ttl); err != nil {
		return err
	}
	if former != a.session.id {
		s.abandon(ctx, former)
	}
	return nil
}

// Withdraw removes a key that this store has announced, with its session.
func (s *Store) Withdraw(ctx context.Context, key string) error {
	s.mu.Lock()
	known := s.announced[key] != nil
	s.mu.Unlock()
	if !known {
		return nil
	}
	a, leave, err := s.enter(ctx, key)
	if err != nil {
		return err
	}
	defer leave()
	if a.session.id == "" {
		return nil
	}
	if err := s.destroy(ctx, a.session.id); err != nil {
		return s.explain(ctx, "withdraw "+key, err)
	}
	a.session = session{}
	return nil
}

// enter waits for the turn at a key.
func (s *Store) enter(ctx context.Context, key string) (*announcement, func(), error) {
	s.mu.Lock()
	a := s.announced[key]
	if a == nil {
		a = &announcement{turn: make(chan struct{}, 1)}
		s.announced[key] = a
	}
	s.mu.Unlock()
	select {
	case a.turn <- struct{}{}:
		return a, func() { <-a.turn }, nil
	case <-ctx.Done():
		return nil, nil, s.explain(ctx, "wait for another announcement of "+key, context.Cause(ctx))
	}
}

// sessionFor adopts the session that the key has from an earlier run of skep, so
// that a restart does not make the key vanish and come back; or makes a new one.
func (s *Store) sessionFor(ctx context.Context, entry *api.KVPair, key string, ttl time.Duration) (session, error) {
	if entry == nil || !validID(entry.Session) {
		return s.create(ctx, key, ttl)
	}
	call, done := s.call(ctx, s.timeout)
	info, _, err := s.client.Session().Info(entry.Session, new(api.QueryOptions).WithContext(call))
	done()
	if err != nil || info == nil || info.Name != sessionName(key) || info.Behavior != api.SessionBehaviorDelete {
		// A token may lack session:read; not to adopt is always possible.
		return s.create(ctx, key, ttl)
	}
	want := s.sessionTTL(ttl)
	if lives, err := time.ParseDuration(info.TTL); err != nil || lives != want {
		return s.create(ctx, key, ttl)
	}
	adopted := session{id: entry.Session, ttl: want, sent: time.Now()}
	switch alive, err := s.renew(ctx, adopted.id); {
	case err != nil:
		return session{}, err
	case !alive:
		return s.create(ctx, key, ttl)
	}
	return adopted, nil
}

// take puts the pair under a's session. A holder from elsewhere has to let go
// first: the key is an address, and who announces it knows best. Letting go and
// taking leaves the key where it is, so that no watch sees it missing.
func (s *Store) take(ctx context.Context, a *announcement, p kvstore.Pair, ttl time.Duration) error {
	deadline := time.Now().Add(s.timeout)
	for pause := 2 * lockDelay; ; pause = min(2*pause, time.Second) {
		ok, gone, err := s.acquire(ctx, &api.KVPair{Key: p.Key, Value: []byte(p.Value), Session: a.session.id})
		switch {
		case ok || err != nil:
			return err
		case gone:
			if a.session, err = s.create(ctx, p.Key, ttl); err != nil {
				return err
			}
		default:
			if err := s.dislodge(ctx, a.session.id, p); err != nil {
				return err
			}
		}
		if time.Now().Add(pause).After(deadline) {
			return &failure{
				fmt.Sprintf("consul at %s keeps refusing %s: its last holder's lock delay runs, or somebody else announces the same key; it is tried again with the next announcement", s.endpoint, p.Key),
				[]error{errdefs.ErrUnavailable},
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return s.explain(ctx, "announce "+p.Key, err)
		}
	}
}

// dislodge makes another session let go of the key, if one holds it.
func (s *Store) dislodge(ctx context.Context, own string, p kvstore.Pair) error {
	entry, err := s.read(ctx, p.Key)
	if err != nil || entry == nil || entry.Session == "" || entry.Session == own {
		return err
	}
	call, done := s.call(ctx, s.timeout)
	_, _, err = s.client.KV().Release(&api.KVPair{Key: p.Key, Value: []byte(p.Value), Session: entry.Session}, new(api.WriteOptions).WithContext(call))
	done()
	if err != nil {
		return s.explain(ctx, "take over the key "+p.Key, err)
	}
	call, done = s.call(ctx, s.timeout)
	info, _, err := s.client.Session().Info(entry.Session, new(api.QueryOptions).WithContext(call))
	done()
	if err == nil && info != nil && info.Name == sessionName(p.Key) {
		s.abandon(ctx, info.ID)
	}
	return nil
}

// read gives a key as Consul has it, nil if it is not there.
func (s *Store) read(ctx context.Context, key string) (*api.KVPair, error) {
	call, done := s.call(ctx, s.timeout)
	defer done()
	entry, _, err := s.client.KV().Get(key, new(api.QueryOptions).WithContext(call))
	return entry, s.explainAny(ctx, "read the key "+key, err)
}

func holds(entry *api.KVPair, session string) bool {
	return entry != nil && entry.Session == session
}
