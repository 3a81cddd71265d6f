package cluster

import (
	"slices"
	"sync"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
)

// roster is placement's view of the engines, with all that is on its way to
// them. It is kept from one create to the next: only the engines that have
// changed in between are looked at again, so that a create in a cluster of a
// thousand costs no more for the others than to compare them.
//
// The cluster's scheduling guards it, but for outdated, which has a lock of its
// own: whoever tells of a change must not wait for placement.
type roster struct {
	nodes   []*placement.Node // of the engines that can be chosen, in no order
	members []*member         // one for one with nodes
	at      map[*member]int   // where they stand
	some    []*placement.Node // scratch, for a choice of some of them
	someAt  []int             // where those stand

	mu sync.Mutex
	// outdated are the engines that have changed; guarded by mu. It never holds
	// more than there are engines.
	outdated map[*member]struct{}
}

func newRoster() roster {
	return roster{at: map[*member]int{}, outdated: map[*member]struct{}{}}
}

// mark notes that an engine, or what is on its way there, has changed.
func (r *roster) mark(m *member) {
	if m.left.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outdated[m] = struct{}{}
}

func (r *roster) takeOutdated() map[*member]struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.outdated) == 0 {
		return nil
	}
	taken := r.outdated
	r.outdated = map[*member]struct{}{}
	return taken
}

// prepare makes the views of the engines that have changed, so that this is
// not done with the cluster's scheduling held.
func (r *roster) prepare() {
	r.mu.Lock()
	outdated := make([]*member, 0, len(r.outdated))
	for m := range r.outdated {
		outdated = append(outdated, m)
	}
	r.mu.Unlock()
	for _, m := range outdated {
		m.placementNode()
	}
}

// remove forgets an engine that has left.
func (r *roster) remove(m *member) {
	r.mu.Lock()
	delete(r.outdated, m)
	r.mu.Unlock()
	r.put(m, nil)
}

// put makes node the member's place in the roster; without one it has none.
func (r *roster) put(m *member, node *placement.Node) {
	i, here := r.at[m]
	switch {
	case node == nil && !here:
	case node == nil:
		last := len(r.nodes) - 1
		r.nodes[i], r.members[i] = r.nodes[last], r.members[last]
		r.at[r.members[i]] = i
		r.nodes[last], r.members[last] = nil, nil
		r.nodes, r.members = r.nodes[:last], r.members[:last]
		delete(r.at, m)
	case here:
		r.nodes[i] = node
	default:
		r.at[m] = len(r.nodes)
		r.nodes, r.members = append(r.nodes, node), append(r.members, m)
	}
}

// best gives the engine that the policy prefers, of all or of only those
// given; c.scheduling is held.
func (c *Cluster) best(p *placement.Policy, only map[*engine.Engine]bool, req *placement.Request) (*member, error) {
	c.updateRoster()
	r := &c.roster
	if only == nil {
		i, err := p.Best(r.nodes, req)
		if err != nil {
			return nil, err
		}
		return r.members[i], nil
	}
	r.some, r.someAt = r.some[:0], r.someAt[:0]
	for i, m := range r.members {
		if only[m.Engine] {
			r.some, r.someAt = append(r.some, r.nodes[i]), append(r.someAt, i)
		}
	}
	defer clear(r.some)
	i, err := p.Best(r.some, req)
	if err != nil {
		return nil, err
	}
	return r.members[r.someAt[i]], nil
}

// updateRoster looks again at the engines that have changed; c.scheduling is
// held.
func (c *Cluster) updateRoster() {
	for res := range c.reserved {
		if res.expired() {
			c.drop(res)
		}
	}
	for m := range c.roster.takeOutdated() {
		c.roster.put(m, c.nodeWithReservations(m))
	}
}

// nodeWithReservations is placement's view of an engine and what is on its way
// there, nil if it cannot be chosen; c.scheduling is held.
func (c *Cluster) nodeWithReservations(m *member) *placement.Node {
	if s := m.State(); m.left.Load() || s == engine.Pending || s == engine.Disconnected {
		return nil
	}
	base := m.placementNode()
	if base == nil {
		return nil
	}
	node := *base
	node.Health = m.Health()
	// What is appended must not be seen by who has the view without it.
	node.Workloads = node.Workloads[:len(node.Workloads):len(node.Workloads)]
	for res := range m.coming {
		switch {
		case !here(base, res):
			node.Workloads = append(node.Workloads, res.workload)
			node.UsedCPU += res.cpu
			node.UsedMemory += res.memory
		case !res.until.IsZero():
			c.drop(res)
		}
	}
	return &node
}

// here says whether the node has the container that was reserved for. From that
// moment on it counts as such.
func here(n *placement.Node, res *reservation) bool {
	return res.swarmID != "" && slices.ContainsFunc(n.Workloads, func(w *placement.Workload) bool { return w.SwarmID == res.swarmID })
}
