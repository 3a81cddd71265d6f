package hub

import (
	"context"
	"encoding/binary"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// sweepEvery is the time between two sweeps. Nothing depends on it but the
// size of the file: what has ended is not listed any more.
const sweepEvery = time.Minute

// sweepStep is how many tokens one transaction of a sweep looks at, so that
// requests are not kept waiting.
const sweepStep = 256

// usedTokens remembers which tokens were read since the last sweep, so that
// reading writes nothing. It grows with the tokens that exist, no further.
type usedTokens struct {
	mu   sync.Mutex
	last map[string]time.Time // guarded by mu
}

func (u *usedTokens) note(token string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		u.last = make(map[string]time.Time)
	}
	u.last[token] = now
}

func (u *usedTokens) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := u.last
	u.last = nil
	return last
}

// sweepLoop sweeps until ctx is done, and once more then: what was read last
// is worth writing down.
func (s *store) sweepLoop(ctx context.Context, logger *slog.Logger) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for done := false; !done; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			done = true
		}
		if err := s.sweep(time.Now()); err != nil {
			logger.Error("sweeping the hub's file failed, it is tried again", "err", err)
		}
	}
}

// sweep writes down which tokens were used, removes addresses that have ended,
// and drops tokens that nobody uses.
func (s *store) sweep(now time.Time) error {
	used := s.used.take()
	for from := []byte(nil); ; {
		var tokens []string
		err := s.db.View(func(tx *bbolt.Tx) error {
			c := tx.Bucket(clustersBucket).Cursor()
			k, _ := c.Seek(from)
			for ; k != nil && len(tokens) < sweepStep; k, _ = c.Next() {
				tokens = append(tokens, string(k))
			}
			return nil
		})
		if err != nil || len(tokens) == 0 {
			return err
		}
		if err := s.sweepTokens(tokens, used, now); err != nil {
			return err
		}
		from = append([]byte(tokens[len(tokens)-1]), 0) // the next one after it
	}
}

// sweepTokens writes only if there is anything to write: most sweeps find
// nothing, and a commit costs a flush of the disk.
func (s *store) sweepTokens(tokens []string, used map[string]time.Time, now time.Time) error {
	dirty := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		t := open(tx)
		for _, token := range tokens {
			row, _ := t.cluster(token)
			if last := used[token]; last.After(row.used) {
				row.used, dirty = last, true
			}
			if row.addresses == 0 && now.Sub(row.used) > s.limits.Unused {
				dirty = true
			}
			t.each(token, func(_ string, ends time.Time) { dirty = dirty || !ends.After(now) })
		}
		return nil
	})
	if err != nil || !dirty {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		t := open(tx)
		for _, token := range tokens {
			if err := s.sweepToken(t, token, used[token], now); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *store) sweepToken(t tables, token string, used, now time.Time) error {
	row, ok := t.cluster(token)
	if !ok {
		return nil // deleted meanwhile
	}
	removed, err := t.dropEnded(token, now)
	if err != nil {
		return err
	}
	changed := removed > 0
	row.addresses -= removed
	if used.After(row.used) {
		row.used, changed = used, true
	}
	switch {
	case row.addresses == 0 && now.Sub(row.used) > s.limits.Unused:
		return t.dropCluster(token)
	case changed:
		return t.putCluster(token, row)
	}
	return nil
}

// revive gives the addresses in the file their whole time again, counted from
// now. It is for the start: while the hub was away nobody could announce
// anything, and managers must not lose all engines because they ask first.
func (s *store) revive(now time.Time) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		t := open(tx)
		longer := make(map[string][]byte)
		err := t.addresses.ForEach(func(k, v []byte) error {
			if len(v) != 16 {
				return nil
			}
			ttl := time.Duration(binary.BigEndian.Uint64(v[8:])) * time.Millisecond
			if ends := now.Add(min(ttl, maxTTL)); ends.UnixMilli() > int64(binary.BigEndian.Uint64(v)) {
				longer[string(k)] = addressValue(ends, ttl)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(longer)) {
			if err := t.addresses.Put([]byte(key), longer[key]); err != nil {
				return err
			}
		}
		return nil
	})
}
