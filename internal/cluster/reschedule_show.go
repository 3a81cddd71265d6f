package cluster

import (
	"context"

	"github.com/skep/skep/internal/engine"
)

// term says whether this manager may change something by itself now, and gives
// the context for that: what is decided in one term is not done in the next.
func (c *Cluster) term(ctx context.Context) (_ context.Context, acting bool) {
	if c.cfg.Term == nil {
		return ctx, true
	}
	return c.cfg.Term(ctx)
}

// show puts a container into the index unless another has its place; c.mu is
// held.
func (c *Cluster) show(e *engine.Engine, ec *engine.Container) {
	if c.hidden[ec.ID] {
		return
	}
	shown := newContainer(e, ec)
	if retired(ec) {
		shown.SwarmID = "" // the one that has taken its place is meant by it
	}
	c.displaceLocked(ec)
	c.index.put(shown)
}

// displaceLocked takes out of the index what a replacement has just been made
// for, so that its name means one container at every moment; c.mu is held.
func (c *Cluster) displaceLocked(ec *engine.Container) {
	generation := generationOf(ec.Labels)
	if generation == 0 || !movable(ec.Labels) || retired(ec) {
		return
	}
	for _, other := range withPrefix(c.index.bySwarmID, ec.Labels[LabelSwarmID]+"\x00", manyMatches) {
		if generationOf(other.Labels) < generation && !other.Engine.Answers() {
			if c.hidden == nil {
				c.hidden = map[string]bool{}
			}
			c.hidden[other.ID] = true
			c.index.remove(other.ID)
		}
	}
}

// hide takes containers out of the index, as others have their places, and
// shows again those that it took out before.
func (c *Cluster) hide(ids map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.hidden
	c.hidden = ids
	for id := range ids {
		c.index.remove(id)
	}
	for id := range before {
		if ids[id] {
			continue
		}
		for _, m := range c.members {
			if ec := m.Container(id); ec != nil {
				c.show(m.Engine, ec)
			}
		}
	}
}
