package cluster

import (
	"context"
	"sync"
	"time"
)

// askedAtOnce bounds how many engines are asked one question in parallel.
const askedAtOnce = 64

// reply is what one engine had to say to a question asked of many.
type reply[T any] struct {
	from  *member
	value T
	err   error
}

// ask puts a question to the given engines in parallel and returns their
// answers in the engines' order. No engine is waited for longer than timeout;
// zero leaves the bound to ctx.
func ask[T any](ctx context.Context, from []*member, timeout time.Duration, question func(context.Context, *member) (T, error)) []reply[T] {
	replies := make([]reply[T], len(from))
	slots := make(chan struct{}, askedAtOnce)
	var wg sync.WaitGroup
	for i, m := range from {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ctx := ctx
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			value, err := question(ctx, m)
			replies[i] = reply[T]{m, value, err}
		})
	}
	wg.Wait()
	return replies
}
