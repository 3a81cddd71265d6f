package consul

import (
	"context"
	"slices"
	"time"

	"github.com/skep/skep/internal/kvstore"
)

// Watch sends what is below prefix, at once and on each change.
func (s *Store) Watch(ctx context.Context, prefix string, retry time.Duration) <-chan kvstore.Snapshot {
	return kvstore.Feed(ctx, retry, func(ctx context.Context, send func([]kvstore.Pair)) error {
		return s.follow(ctx, kvstore.Below(prefix), send)
	})
}

// follow sends what is there at each change until something fails.
func (s *Store) follow(ctx context.Context, dir string, send func([]kvstore.Pair)) error {
	var last []kvstore.Pair
	poll := s.poller(watchWait, false)
	for first := true; ; first = false {
		entries, err := poll.below(ctx, dir)
		if err != nil {
			return err
		}
		// An answer may come without a change: the wait is over, or a key was
		// written with what it held.
		if now := pairs(entries, dir); first || !slices.Equal(now, last) {
			send(slices.Clone(now))
			last = now
		}
	}
}
