package kvstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrLost is what a renewal returns when the store itself says that the lock is
// no longer ours. Any other error is one that may pass.
var ErrLost = errors.New("the lock is lost")

// Keeper renews a lock, and is the clock by which it counts as lost: the rules
// of [Lock.Lost] in one place.
type Keeper struct {
	ttl   time.Duration
	renew func(context.Context) error

	cancel context.CancelFunc
	lost   chan struct{}
	done   chan struct{} // closed when no goroutine of the keeper is left

	sent  time.Time     // that of NewKeeper
	until atomic.Int64  // how long after sent the lock is ours, in nanoseconds
	over  chan struct{} // always closed
}

// NewKeeper keeps a lock whose request was sent at the time of sent. It calls
// renew, one call at a time, a third of ttl after the last one that succeeded
// was sent, and sooner after one that failed. The context of renew ends after a
// third of ttl, and renew must then return.
//
// The owner calls Stop in the end, also after the lock is lost.
func NewKeeper(ttl time.Duration, sent time.Time, renew func(context.Context) error) *Keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &Keeper{ttl: ttl, renew: renew, cancel: cancel, lost: make(chan struct{}), done: make(chan struct{}), sent: sent, over: make(chan struct{})}
	k.until.Store(int64(ttl))
	close(k.over)
	go k.run(ctx, sent)
	return k
}

// Lost is closed when the lock may be another's, and by Stop. Who asks is told by
// the clock: in a process that was stopped for a while, and goes on, everything
// else may run before the goroutine that closes the channel.
func (k *Keeper) Lost() <-chan struct{} {
	if time.Since(k.sent) >= time.Duration(k.until.Load()) {
		return k.over
	}
	return k.lost
}

// Stop ends the renewals. When it returns, Lost is closed and nothing of the
// keeper runs any more. Give the lock back after it, not before: whoever acts
// while Lost is open must have stopped when the next one begins.
func (k *Keeper) Stop() {
	k.cancel()
	<-k.done
}

func (k *Keeper) run(ctx context.Context, sent time.Time) {
	defer close(k.done)
	var renewing sync.WaitGroup
	defer renewing.Wait()
	defer k.cancel()
	defer close(k.lost) // first of all: a renewal may take its time to return

	end := time.NewTimer(time.Until(sent.Add(k.ttl)))
	defer end.Stop()
	next := time.NewTimer(time.Until(sent.Add(k.ttl / 3)))
	defer next.Stop()
	results := make(chan error, 1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			return
		case <-next.C:
			sent = time.Now()
			renewing.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, k.ttl/3)
				defer cancel()
				results <- k.renew(ctx)
			})
		case err := <-results:
			switch {
			case errors.Is(err, ErrLost):
				return
			case err != nil:
				next.Reset(k.ttl / 20)
			case time.Since(sent) >= k.ttl:
				return
			default:
				k.until.Store(int64(sent.Sub(k.sent) + k.ttl))
				end.Reset(time.Until(sent.Add(k.ttl)))
				next.Reset(time.Until(sent.Add(k.ttl / 3)))
			}
		}
	}
}
