package kvstore

import (
	"context"
	"slices"
	"sync"
	"time"
)

// longestPause bounds the time between two tries at a store that fails, so that
// one that is back is noticed soon.
const longestPause = time.Second

// Feed is how the stores make the channel of a Watch: follow runs in a goroutine
// of its own and sends lists without ever waiting for the reader, until it fails.
// Then Feed tells its error and calls it again, after retry or a second, whichever
// is less; at once if it returns nil. Feed keeps the latest list and the latest
// error until they are read. An error that follows another by less than retry is
// dropped: a store that is down is one piece of news, not one for each try.
//
// follow has to return once its context is done. The channel is closed after it.
func Feed(ctx context.Context, retry time.Duration, follow func(ctx context.Context, send func([]Pair)) error) <-chan Snapshot {
	f := &feed{retry: retry, news: make(chan struct{}, 1)}
	out := make(chan Snapshot)
	go func() {
		defer close(out)
		ctx, cancel := context.WithCancel(ctx)
		var watching sync.WaitGroup
		defer watching.Wait()
		defer cancel()
		watching.Go(func() { f.watch(ctx, follow) })
		f.deliver(ctx, out)
	}()
	return out
}

type feed struct {
	retry time.Duration
	news  chan struct{} // holds one value when waiting may have changed

	mu      sync.Mutex // guards what follows
	waiting []numbered // at most one list and one error, in the order in which they came
	number  uint64
	failed  time.Time // of the last error that was not dropped; zero after a list
}

// numbered tells a snapshot that was replaced from the one in its place.
type numbered struct {
	number uint64
	Snapshot
}

func (f *feed) watch(ctx context.Context, follow func(ctx context.Context, send func([]Pair)) error) {
	send := func(pairs []Pair) { f.put(Snapshot{Pairs: pairs}) }
	for ctx.Err() == nil {
		if err := follow(ctx, send); err != nil && ctx.Err() == nil {
			f.put(Snapshot{Err: err})
			select {
			case <-ctx.Done():
			case <-time.After(min(f.retry, longestPause)):
			}
		}
	}
}

func (f *feed) put(s Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.Err == nil {
		f.failed = time.Time{}
	} else if now := time.Now(); f.failed.IsZero() || now.Sub(f.failed) >= f.retry {
		f.failed = now
	} else {
		return
	}
	f.waiting = slices.DeleteFunc(f.waiting, func(w numbered) bool { return (w.Err == nil) == (s.Err == nil) })
	f.number++
	f.waiting = append(f.waiting, numbered{f.number, s})
	select {
	case f.news <- struct{}{}:
	default:
	}
}

func (f *feed) first() (numbered, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.waiting) == 0 {
		return numbered{}, false
	}
	return f.waiting[0], true
}

func (f *feed) read(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = slices.DeleteFunc(f.waiting, func(w numbered) bool { return w.number == n })
}

func (f *feed) deliver(ctx context.Context, out chan<- Snapshot) {
	for {
		next, any := f.first()
		to := out
		if !any {
			to = nil
		}
		select {
		case <-ctx.Done():
			return
		case <-f.news:
		case to <- next.Snapshot:
			f.read(next.number)
		}
	}
}
