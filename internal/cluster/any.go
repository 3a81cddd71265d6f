package cluster

import (
	"context"
	"math/rand/v2"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
)

// AnyEngine gives an engine that answers, for questions that all answer alike.
func (c *Cluster) AnyEngine() (*engine.Engine, error) {
	members := c.answering()
	if len(members) == 0 {
		return nil, fail(errdefs.ErrUnavailable, "No healthy node available in the cluster")
	}
	return members[rand.IntN(len(members))].Engine, nil
}

// AnyEngines gives all engines that answer, in an order by chance: where the
// first cannot be reached, the next may be asked the same.
func (c *Cluster) AnyEngines() ([]*engine.Engine, error) {
	members := c.answering()
	if len(members) == 0 {
		return nil, noNode()
	}
	engines := make([]*engine.Engine, len(members))
	for i, n := range rand.Perm(len(members)) {
		engines[i] = members[n].Engine
	}
	return engines, nil
}

// RefreshImages reads an engine's images again after an operation, like Refresh.
func (c *Cluster) RefreshImages(ctx context.Context, e *engine.Engine) {
	c.refreshed(ctx, "images", e, e.RefreshImages)
}

// refreshed reads a part of an inventory again. The operation is done whether
// or not the user still waits, so it does not end with his request. An engine
// that does not answer is not waited for: it is read whole when it is back. It
// tells whether the inventory is of now.
func (c *Cluster) refreshed(ctx context.Context, what string, e *engine.Engine, refresh func(context.Context) error) bool {
	if !e.Answers() {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTimeout)
	defer cancel()
	err := refresh(ctx)
	if err != nil {
		c.cfg.Logger.Debug("refresh after operation", "engine", e.Name(), "of", what, "err", err)
	}
	return err == nil
}

// refreshEach reads a part of the inventories of several engines again.
func (c *Cluster) refreshEach(ctx context.Context, what string, of []*member, refresh func(*engine.Engine, context.Context) error) {
	ask(ctx, of, 0, func(ctx context.Context, m *member) (struct{}, error) {
		c.refreshed(ctx, what, m.Engine, func(ctx context.Context) error { return refresh(m.Engine, ctx) })
		return struct{}{}, nil
	})
}
