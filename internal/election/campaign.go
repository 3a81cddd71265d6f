package election

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/skep/skep/internal/kvstore"
)

const (
	// backoffMin and backoffMax bound the pauses between two tries to get a lock
	// from a store that refuses or does not answer. A cluster without a primary
	// takes no orders, so they are short.
	backoffMin = 100 * time.Millisecond
	backoffMax = 2 * time.Second
	// releaseTimeout is how long giving the lock back may hold up a stop. If it
	// fails, the lock is free after its TTL.
	releaseTimeout = 3 * time.Second
)

// campaign tries to lead until ctx is done, again after each loss.
func (e *Election) campaign(ctx context.Context) {
	var pause backoff
	for ctx.Err() == nil {
		lock, err := e.cfg.Store.Lock(ctx, kvstore.Pair{Key: e.key, Value: e.cfg.Advertise}, e.cfg.TTL)
		switch {
		case err != nil && ctx.Err() == nil:
			if pause.next == 0 {
				e.cfg.Logger.Error("Leader Election: the store gives no lock; trying again", "key", e.key, "err", err)
			}
			pause.wait(ctx)
		case err == nil:
			e.lead(ctx, lock)
			// A lock that is lost as soon as it is got must not turn this into a
			// race around the store.
			pause = backoff{}
			pause.wait(ctx)
		}
	}
}

// lead acts until the lock is lost or ctx is done, and gives the lock back.
func (e *Election) lead(ctx context.Context, lock kvstore.Lock) {
	termCtx, end := context.WithCancelCause(ctx)
	defer end(nil)
	t := &term{lock: lock, ctx: termCtx, end: end}
	if e.settle(ctx, lock) {
		e.update(func() bool { e.term, e.leader = t, e.cfg.Advertise; return true })
		e.cfg.Logger.Info("Leader Election: Cluster leadership acquired", "address", e.cfg.Advertise)
		select {
		case <-lock.Lost():
			end(errLost)
		case <-termCtx.Done():
		}
		// All that acts has stopped, or been told to, before another may have the lock.
		e.update(func() bool { e.term, e.leader = nil, ""; return true })
		e.cfg.Logger.Info("Leader Election: Cluster leadership lost", "address", e.cfg.Advertise, "reason", context.Cause(termCtx))
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTimeout)
	defer cancel()
	if err := lock.Release(release); err != nil {
		e.cfg.Logger.Warn("Leader Election: the lock was not given back; it is free after its time", "ttl", e.cfg.TTL, "err", err)
	}
	// Our own address was forgotten; who has followed us is worth a look at once.
	select {
	case e.recheck <- struct{}{}:
	default:
	}
}

// settle waits out the time before acting; it is false if there is nothing left
// to act on.
func (e *Election) settle(ctx context.Context, lock kvstore.Lock) bool {
	timer := time.NewTimer(e.cfg.Settle) // fires at once if there is no time to wait
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-lock.Lost():
		return false
	case <-timer.C:
		return true
	}
}

// backoff is a pause that doubles, with a part of chance so that managers which
// have lost one store do not come back to it in step.
type backoff struct{ next time.Duration }

func (b *backoff) wait(ctx context.Context) {
	b.next = min(max(2*b.next, backoffMin), backoffMax)
	timer := time.NewTimer(b.next/2 + rand.N(b.next/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
