package cluster

import (
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
)

// reservation is a container that is being created, or a name that is being
// given: placement and name checks count it until the index shows the real thing.
type reservation struct {
	name     string // "" for a name that the engine will choose
	swarmID  string // "" for a rename
	engine   *engine.Engine
	on       *member // the engine's; nil for a rename
	workload *placement.Workload
	cpu      int64
	memory   int64
	// until, when set, ends a reservation that nobody gives back: that of a
	// container which was made, and which its engine does not show yet; guarded
	// by the cluster's scheduling.
	until time.Time
}

// lingerFor is how long a created container counts before its engine shows it.
const lingerFor = time.Minute

func (r *reservation) expired() bool { return !r.until.IsZero() && time.Now().After(r.until) }

// inUse fails when a name belongs to a container, or to one on its way;
// c.scheduling is held.
func (c *Cluster) inUse(name, exceptID string) error {
	if name == "" {
		return nil
	}
	c.mu.RLock()
	for _, other := range c.index.byName[name] {
		if other.ID != exceptID {
			c.mu.RUnlock()
			return nameConflict(name, strconv.Quote(other.ID)+" on node "+other.Engine.Name())
		}
	}
	c.mu.RUnlock()
	for r := range c.reserved {
		if r.name == name && !r.expired() {
			return nameConflict(name, "that is being created")
		}
	}
	return nil
}

func nameConflict(name, owner string) error {
	return fail(errdefs.ErrConflict, "Conflict. The container name %q is already in use by container %s. You have to remove (or rename) that container to be able to reuse that name.", "/"+name, owner)
}

func plainName(name string) string { return strings.TrimPrefix(name, "/") }

// place chooses an engine for a container and reserves its place there. The
// reservation is given back with unreserve, whatever becomes of the container.
func (c *Cluster) place(r *createRequest) (*member, *reservation, error) {
	c.roster.prepare()
	c.scheduling.Lock()
	defer c.scheduling.Unlock()
	if err := c.inUse(r.name, r.replaces); err != nil {
		return nil, nil, err
	}
	chosen, err := c.best(c.cfg.Policy, r.only, &r.placement)
	if err != nil {
		return nil, nil, err
	}
	res := &reservation{
		name: r.name, swarmID: r.swarmID, engine: chosen.Engine, on: chosen,
		workload: r.workload(), cpu: r.placement.CPU, memory: r.placement.Memory,
	}
	c.reserve(res)
	return chosen, res, nil
}

// reserve counts a reservation from now on, and drop does no more; c.scheduling
// is held.
func (c *Cluster) reserve(res *reservation) {
	c.reserved[res] = struct{}{}
	if res.on != nil {
		if res.on.coming == nil {
			res.on.coming = map[*reservation]struct{}{}
		}
		res.on.coming[res] = struct{}{}
		c.roster.mark(res.on)
	}
}

func (c *Cluster) drop(res *reservation) {
	delete(c.reserved, res)
	if res.on != nil {
		delete(res.on.coming, res)
		c.roster.mark(res.on)
	}
}

func (c *Cluster) unreserve(res *reservation) {
	c.scheduling.Lock()
	defer c.scheduling.Unlock()
	c.drop(res)
}

// settle gives back a reservation when all that has become of it is shown. If
// a container was made that its engine does not show yet, it lingers until then.
func (c *Cluster) settle(res *reservation, shown bool) {
	if shown {
		c.unreserve(res)
		return
	}
	c.scheduling.Lock()
	defer c.scheduling.Unlock()
	res.until = time.Now().Add(lingerFor)
	c.roster.mark(res.on) // the engine may show the container by now
}

// reserveName keeps a name for a container that is to be renamed.
func (c *Cluster) reserveName(name, id string) (*reservation, error) {
	c.scheduling.Lock()
	defer c.scheduling.Unlock()
	if err := c.inUse(name, id); err != nil {
		return nil, err
	}
	res := &reservation{name: name}
	c.reserve(res)
	return res, nil
}
