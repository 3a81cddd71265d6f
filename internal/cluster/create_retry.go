package cluster

import (
	"context"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
)

// mayPass says whether a create that failed with err may succeed elsewhere, or
// later: not one that asks for what cannot be. One whose name an engine knows
// already must not be made on the next: the name would then be there twice.
func mayPass(err error) bool {
	return !errdefs.IsInvalidArgument(err) && !errdefs.IsConflict(err)
}

// createAgain makes another attempt, on an engine that has not been tried; on
// any where no other will do.
func (c *Cluster) createAgain(ctx context.Context, r *createRequest) ([]byte, error) {
	untried := map[*engine.Engine]bool{}
	for _, m := range c.all() {
		if !r.tried[m.Engine] && (r.only == nil || r.only[m.Engine]) {
			untried[m.Engine] = true
		}
	}
	if len(untried) > 0 {
		fresh, before := *r, len(r.tried)
		fresh.only = untried
		if answer, err := c.createAnywhere(ctx, &fresh); err == nil || len(r.tried) > before {
			return answer, err
		}
	}
	return c.createAnywhere(ctx, r)
}
