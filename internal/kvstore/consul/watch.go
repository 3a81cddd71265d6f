package consul

import (
	"context"
	"slices"
	"time"

	"github.com/skep/skep/internal/kvstore"
)

// firstRetry is how soon a watch asks again after its first failure; the pause
// doubles up to the caller's.
const firstRetry = 250 * time.Millisecond

// Watch sends what is below prefix, at once and on each change.
func (s *Store) Watch(ctx context.Context, prefix string, retry time.Duration) <-chan kvstore.Snapshot {
	dir, err := checkPrefix(prefix)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.closed {
		err = errClosed
	}
	if err != nil {
		// Trying again would help neither.
		out := make(chan kvstore.Snapshot, 1)
		out <- kvstore.Snapshot{Err: err}
		close(out)
		return out
	}
	ctx, done := s.bound(ctx)
	s.running.Add(1)
	return kvstore.Feed(ctx, retry, func(ctx context.Context, send func(kvstore.Snapshot)) {
		defer s.running.Done()
		defer done()
		s.watch(ctx, dir, max(retry, firstRetry), send)
	})
}

func (s *Store) watch(ctx context.Context, dir string, retry time.Duration, send func(kvstore.Snapshot)) {
	var last []kvstore.Pair
	// stale is true when the reader has to hear of the pairs whatever they are.
	stale, pause := true, firstRetry
	for poll := s.poller(watchWait, false); ctx.Err() == nil; {
		entries, err := poll.below(ctx, dir)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			send(kvstore.Snapshot{Err: err})
			stale = true
			if sleep(ctx, pause) != nil {
				return
			}
			pause = min(2*pause, retry)
			continue
		}
		pause = firstRetry
		// An answer may come without a change: the wait is over, or a key was
		// written with what it held.
		if now := pairs(entries, dir); stale || !slices.Equal(now, last) {
			send(kvstore.Snapshot{Pairs: slices.Clone(now)})
			last, stale = now, false
		}
	}
}
