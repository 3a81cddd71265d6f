package cluster

import (
	"context"
	"net/http"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
)

// manyExecs bounds how many execs are remembered. The oldest are forgotten
// first, and found again by asking the engines.
const manyExecs = 16384

// execIndex remembers on which engine an exec is. Whoever holds it guards it.
type execIndex struct {
	engines map[string]*engine.Engine
	ring    []string
	next    int
}

func newExecIndex() execIndex {
	return execIndex{engines: map[string]*engine.Engine{}, ring: make([]string, manyExecs)}
}

func (x *execIndex) put(id string, e *engine.Engine) {
	if _, known := x.engines[id]; known {
		x.engines[id] = e
		return
	}
	delete(x.engines, x.ring[x.next])
	x.ring[x.next] = id
	x.next = (x.next + 1) % len(x.ring)
	x.engines[id] = e
}

// RememberExec notes where an exec was made.
func (c *Cluster) RememberExec(id string, e *engine.Engine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.execs.put(id, e)
}

// ExecEngine gives the engine that an exec is on. One that was not made through
// this manager, or before it started, is looked for on all engines.
func (c *Cluster) ExecEngine(ctx context.Context, id string) (*engine.Engine, error) {
	c.mu.RLock()
	e := c.execs.engines[id]
	c.mu.RUnlock()
	if e == nil || e.State() == engine.Disconnected || e.State() == engine.Pending {
		// Never seen, or on an engine that may be back under another address.
		e = c.findExec(ctx, id)
	}
	switch {
	case e == nil:
		return nil, fail(errdefs.ErrNotFound, "No such exec instance: %s", id)
	case !e.Answers():
		return nil, unreachable(e, "Exec "+id+" is on unhealthy node "+e.Name())
	}
	return e, nil
}

func (c *Cluster) findExec(ctx context.Context, id string) *engine.Engine {
	if len(id) != fullID {
		return nil
	}
	// The first that knows it ends the search for all.
	ctx, found := context.WithCancel(ctx)
	defer found()
	replies := ask(ctx, c.answering(), answerTimeout, func(ctx context.Context, m *member) (struct{}, error) {
		err := m.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/exec/" + id + "/json"}, nil, nil)
		if err == nil {
			found()
		}
		return struct{}{}, err
	})
	for _, r := range replies {
		if r.err == nil {
			c.RememberExec(id, r.from.Engine)
			return r.from.Engine
		}
	}
	return nil
}
