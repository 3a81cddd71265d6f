package consul

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	// lockDelay is the shortest that Consul takes. It keeps a key that a session
	// has lost from the next one; our own clock does that, before.
	lockDelay = time.Millisecond
	// longestTTL is the most that Consul takes (HTTP API, session create).
	longestTTL = 24 * time.Hour
	// defaultLeast is session_ttl_min as Consul has it when nobody sets it.
	defaultLeast = 10 * time.Second
	// abandonTimeout is short: who gives up must not wait, and the TTL is sure.
	abandonTimeout = time.Second
)

// session is one that Consul has given us.
type session struct {
	id string
	// ttl is what Consul has promised at least.
	ttl time.Duration
	// sent is when the last request that renewed it was sent: Consul's clock for
	// it began later.
	sent time.Time
}

// sessionName tells operators what a session is for, and us that it is one of
// ours and holds that key only.
func sessionName(key string) string { return "skep " + key }

// sessionTTL is half of the time that a key may live, within what the server
// takes as far as is known.
func (s *Store) sessionTTL(ttl time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(max(ttl/2, s.least), longestTTL)
}

// create makes a session for key. A server that refuses the TTL names the least
// that it takes, which is used then and from then on.
func (s *Store) create(ctx context.Context, key string, ttl time.Duration) (session, error) {
	for attempt := 1; ; attempt++ {
		made := session{ttl: s.sessionTTL(ttl), sent: time.Now()}
		call, done := s.call(ctx, s.timeout)
		id, _, err := s.client.Session().CreateNoChecks(&api.SessionEntry{
			Name:      sessionName(key),
			Behavior:  api.SessionBehaviorDelete,
			TTL:       made.ttl.String(),
			LockDelay: lockDelay,
		}, new(api.WriteOptions).WithContext(call))
		done()
		if least, ok := refusedTTL(err); ok && attempt < 3 && least > made.ttl && least <= longestTTL {
			s.mu.Lock()
			s.least = max(s.least, least)
			s.mu.Unlock()
			continue
		}
		switch {
		case err != nil:
			return session{}, s.explain(ctx, "create a session for "+key, err)
		case !validID(id):
			return session{}, s.explain(ctx, "create a session for "+key, fmt.Errorf("its answer has no session ID but %.40q", id))
		}
		made.id = id
		s.tellOfTTL(made.ttl, ttl)
		return made, nil
	}
}

// tellOfTTL says once that keys outlive their time.
func (s *Store) tellOfTTL(got, asked time.Duration) {
	s.mu.Lock()
	tell := got > asked/2 && !s.told
	s.told = s.told || tell
	s.mu.Unlock()
	if tell {
		s.logger.Warn("Consul takes no session as short as the TTL needs: what is no longer renewed goes away later than asked for. Lower session_ttl_min on Consul's servers, or use a longer TTL",
			"asked", asked, "latest", 2*got, "shortestTTL", 2*got)
	}
}

// renew says whether the session was still there.
func (s *Store) renew(ctx context.Context, id string) (bool, error) {
	call, done := s.call(ctx, s.timeout)
	defer done()
	// Not Session().Renew, which hides the reason that Consul gives.
	var entries []*api.SessionEntry
	_, err := s.client.Raw().Write("/v1/session/renew/"+id, nil, &entries, new(api.WriteOptions).WithContext(call))
	var status api.StatusError
	if errors.As(err, &status) && status.Code == http.StatusNotFound {
		return false, nil
	}
	return err == nil, s.explainAny(ctx, "renew a session", err)
}

// destroy ends a session and removes the keys that it holds. One that is gone
// already is no error.
func (s *Store) destroy(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	// Not bound to the store's life: Close itself destroys.
	_, err := s.client.Session().Destroy(id, new(api.WriteOptions).WithContext(ctx))
	return err
}

// abandon destroys a session that nobody will use, also when ctx is done, and
// leaves it to its TTL if that fails.
func (s *Store) abandon(ctx context.Context, id string) {
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	_ = s.destroy(ctx, id)
}

// acquire puts the pair under the session; gone says that Consul no longer knows
// the session.
func (s *Store) acquire(ctx context.Context, p *api.KVPair) (ok, gone bool, err error) {
	call, done := s.call(ctx, s.timeout)
	defer done()
	ok, _, err = s.client.KV().Acquire(p, new(api.WriteOptions).WithContext(call))
	var status api.StatusError
	if errors.As(err, &status) && strings.Contains(strings.ToLower(status.Body), "invalid session") {
		return false, true, nil
	}
	return ok && err == nil, false, s.explainAny(ctx, "write the key "+p.Key, err)
}

func (s *Store) explainAny(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	return s.explain(ctx, doing, err)
}

// validID keeps what becomes a part of a path to the letters of a UUID.
func validID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, r := range id {
		if !(r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return false
		}
	}
	return true
}

// refusedTTL finds the least TTL in a refusal of Consul's, which ends in
// "must be between [10s=24h0m0s]". A refusal without bounds means Consul's
// default.
func refusedTTL(err error) (time.Duration, bool) {
	var status api.StatusError
	if !errors.As(err, &status) {
		return 0, false
	}
	return leastTTL(status.Body)
}

func leastTTL(refusal string) (time.Duration, bool) {
	_, rest, ok := strings.Cut(refusal, "Invalid Session TTL")
	if !ok {
		return 0, false
	}
	if _, bounds, ok := strings.Cut(rest, "["); ok {
		if low, _, ok := strings.Cut(bounds, "="); ok {
			if least, err := time.ParseDuration(low); err == nil && least > 0 {
				return least, true
			}
		}
	}
	return defaultLeast, true
}
