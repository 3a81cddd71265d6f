package election

import (
	"context"
	"time"
)

const (
	// A look at the store every twentieth of the TTL, within these bounds, finds
	// a new leader soon even where a lock is no key that a watch would show.
	looksPerTTL = 20
	lookMin     = 200 * time.Millisecond
	lookMax     = 2 * time.Second
	// lookTimeout is how long one look may take.
	lookTimeout = 5 * time.Second
)

// follow keeps what is known of the leader up to date until ctx is done. A
// change in the store is the signal to look; the look alone counts.
func (e *Election) follow(ctx context.Context) {
	interval := min(max(e.cfg.TTL/looksPerTTL, lookMin), lookMax)
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	changes := e.cfg.Store.Watch(ctx, e.key, interval)
	defer func() {
		for changes != nil {
			if _, ok := <-changes; !ok {
				return
			}
		}
	}()
	silent := false // the store has not answered the last look
	for {
		err := e.look(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !silent {
			e.cfg.Logger.Error("Leader Election: the store does not say who leads; going on with what is known", "key", e.key, "err", err)
		} else if err == nil && silent {
			e.cfg.Logger.Info("Leader Election: the store answers again", "key", e.key)
		}
		silent = err != nil
		select {
		case <-ctx.Done():
			return
		case _, ok := <-changes:
			if !ok {
				changes = nil
			}
		case <-ticker.C:
		case <-e.recheck:
		}
	}
}

// look reads who leads.
func (e *Election) look(ctx context.Context) error {
	e.mu.Lock()
	began := e.term // what the answer is about: not a term that begins meanwhile
	e.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	leader, ok, err := e.cfg.Store.Get(ctx, e.key)
	if err != nil {
		return err
	}
	if !ok {
		leader = ""
	}
	if began.acting() && leader != e.cfg.Advertise {
		// Someone has taken the key from us by hand, or the store has. A second
		// primary is worse than none for a moment.
		began.end(errDeposed)
		return nil
	}
	e.learn(began, leader)
	return nil
}

// learn takes over what was read of the leader in the term that was ours then.
func (e *Election) learn(began *term, leader string) {
	var invalid error
	if leader != "" {
		if invalid = CheckAddress(leader); invalid != nil {
			leader = ""
		}
	}
	elected := false
	e.update(func() bool {
		if e.term != began || e.leader == leader {
			return false
		}
		e.leader = leader
		elected = leader != ""
		return true
	})
	switch {
	case elected:
		e.cfg.Logger.Info("New leader elected: "+leader, "address", leader)
	case invalid != nil:
		e.cfg.Logger.Debug("Leader Election: what the store holds is not taken as a leader", "key", e.key, "err", invalid)
	}
}
