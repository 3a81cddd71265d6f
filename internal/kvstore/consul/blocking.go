package consul

import (
	"context"
	"time"

	"github.com/hashicorp/consul/api"
	"golang.org/x/time/rate"
)

const (
	// watchWait and lockWait are how long Consul may keep a question open: a server
	// that hangs shows when they are over, and not before.
	watchWait = 15 * time.Second
	lockWait  = 10 * time.Second

	// What changes often is asked for this often at most, after a burst: Consul
	// must not suffer from a store in turmoil.
	askEvery = 250 * time.Millisecond
	askBurst = 4
)

// poller asks the same question again and again, each time waiting for an answer
// other than the last (HTTP API, blocking queries). It is one goroutine's.
type poller struct {
	store *Store
	wait  time.Duration
	// consistent asks the leader to make sure that it still is one.
	consistent bool
	index      uint64
	limit      *rate.Limiter
}

func (s *Store) poller(wait time.Duration, consistent bool) *poller {
	return &poller{store: s, wait: wait, consistent: consistent, limit: rate.NewLimiter(rate.Every(askEvery), askBurst)}
}

// restart makes the next answer come at once.
func (p *poller) restart() { p.index = 0 }

// key waits for a change of a key and gives it, nil if it is not there.
func (p *poller) key(ctx context.Context, key string) (*api.KVPair, error) {
	var entry *api.KVPair
	err := p.ask(ctx, func(q *api.QueryOptions) (meta *api.QueryMeta, err error) {
		entry, meta, err = p.store.client.KV().Get(key, q)
		return meta, err
	})
	return entry, p.store.explainAny(ctx, "watch the key "+key, err)
}

// below waits for a change below dir and gives all that is there.
func (p *poller) below(ctx context.Context, dir string) (api.KVPairs, error) {
	var entries api.KVPairs
	err := p.ask(ctx, func(q *api.QueryOptions) (meta *api.QueryMeta, err error) {
		entries, meta, err = p.store.client.KV().List(dir, q)
		return meta, err
	})
	return entries, p.store.explainAny(ctx, "watch the keys below "+dir, err)
}

func (p *poller) ask(ctx context.Context, question func(*api.QueryOptions) (*api.QueryMeta, error)) error {
	// Not limit.Wait: it fails before the context does.
	if err := sleep(ctx, p.limit.Reserve().Delay()); err != nil {
		return err
	}
	timeout := p.store.timeout
	if p.index > 0 {
		// Consul adds up to a sixteenth, so that not all ask again at once.
		timeout += p.wait + p.wait/16
	}
	call, done := p.store.call(ctx, timeout)
	defer done()
	q := &api.QueryOptions{WaitIndex: p.index, RequireConsistent: p.consistent}
	if p.index > 0 {
		q.WaitTime = p.wait
	}
	meta, err := question(q.WithContext(call))
	if err != nil {
		// What happened in between is unknown: the next answer must come at once.
		p.index = 0
		return err
	}
	p.index = nextIndex(p.index, meta.LastIndex)
	return nil
}

// nextIndex is what to wait behind. An index that has gone back (a restored
// snapshot, a removed key) starts anew, or changes would be missed until it has
// caught up; and 0 does not wait at all, where 1 is always safe.
func nextIndex(last, got uint64) uint64 {
	if got < last {
		return 0
	}
	return max(got, 1)
}

// sleep waits for d or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
