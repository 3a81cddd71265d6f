package cluster

import (
	"slices"
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
	c.scheduling.Lock()
	defer c.scheduling.Unlock()
	if err := c.inUse(r.name, r.replaces); err != nil {
		return nil, nil, err
	}
	nodes, members := c.nodesWithReservations(r.only)
	ranked, err := c.cfg.Policy.Place(nodes, &r.placement)
	if err != nil {
		return nil, nil, err
	}
	chosen := members[ranked[0].ID]
	res := &reservation{name: r.name, swarmID: r.swarmID, engine: chosen.Engine, workload: r.workload(), cpu: r.placement.CPU, memory: r.placement.Memory}
	c.reserved[res] = struct{}{}
	return chosen, res, nil
}

func (c *Cluster) unreserve(res *reservation) {
	c.scheduling.Lock()
	defer c.scheduling.Unlock()
	delete(c.reserved, res)
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
}

// nodesWithReservations gives placement's view of the engines that were
// admitted, or of only those given; c.scheduling is held.
func (c *Cluster) nodesWithReservations(only map[*engine.Engine]bool) ([]*placement.Node, map[string]*member) {
	coming := map[*engine.Engine][]*reservation{}
	for r := range c.reserved {
		switch {
		case r.expired():
			delete(c.reserved, r)
		case r.workload != nil:
			coming[r.engine] = append(coming[r.engine], r)
		}
	}
	all := c.all()
	nodes := make([]*placement.Node, 0, len(all))
	members := make(map[string]*member, len(all))
	for _, m := range all {
		if s := m.State(); s == engine.Pending || s == engine.Disconnected || only != nil && !only[m.Engine] {
			continue
		}
		base, here := m.placementView()
		if base == nil {
			continue
		}
		node := *base
		node.Health = m.Health()
		node.Workloads = slices.Clip(node.Workloads)
		for _, r := range coming[m.Engine] {
			switch {
			case r.swarmID == "" || !here[r.swarmID]:
				node.Workloads = append(node.Workloads, r.workload)
				node.UsedCPU += r.cpu
				node.UsedMemory += r.memory
			case !r.until.IsZero():
				delete(c.reserved, r)
			}
			// From the moment the node has the container, it counts as such.
		}
		nodes = append(nodes, &node)
		members[node.ID] = m
	}
	return nodes, members
}

// reserveName keeps a name for a container that is to be renamed.
func (c *Cluster) reserveName(name, id string) (*reservation, error) {
	c.scheduling.Lock()
	defer c.scheduling.Unlock()
	if err := c.inUse(name, id); err != nil {
		return nil, err
	}
	res := &reservation{name: name}
	c.reserved[res] = struct{}{}
	return res, nil
}
