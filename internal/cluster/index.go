package cluster

import (
	"strings"

	"github.com/tidwall/btree"

	"github.com/skep/skep/internal/engine"
)

// Labels that skep puts on containers, under the names that standalone Swarm
// gave them, so that its containers and tools go on working.
const (
	LabelSwarmID     = "com.docker.swarm.id"
	LabelAffinities  = "com.docker.swarm.affinities"
	LabelConstraints = "com.docker.swarm.constraints"
	LabelWhitelists  = "com.docker.swarm.whitelists"
	LabelReschedule  = "com.docker.swarm.reschedule-policies"
	labelTask        = "com.docker.swarm.task"
)

// Container is a container and the engine it is on. It is immutable.
type Container struct {
	*engine.Container
	Engine *engine.Engine
	// SwarmID stays the same when the container is moved; "" for containers
	// that were not made through skep.
	SwarmID string
	// ports are what the list shows as its Ports; nil for none.
	ports []byte
}

func newContainer(e *engine.Engine, ec *engine.Container) *Container {
	return &Container{Container: ec, Engine: e, SwarmID: ec.Labels[LabelSwarmID], ports: withAddress(ec.RawPorts, "IP", publicIP(e))}
}

// FullName is NODE/name, which is unique where the bare name is not.
func (c *Container) FullName() string { return c.Engine.Name() + "/" + c.Name() }

// index finds containers by what users call them. Whoever holds it guards it.
type index struct {
	byID      *btree.Map[string, *Container]
	bySwarmID *btree.Map[string, *Container] // key: swarm ID, NUL, container ID
	byName    map[string][]*Container        // each name and alias, without the engine's
	byAge     *btree.BTreeG[*Container]      // newest first
}

func newIndex() index {
	return index{
		byID:      btree.NewMap[string, *Container](0),
		bySwarmID: btree.NewMap[string, *Container](0),
		byName:    map[string][]*Container{},
		byAge:     btree.NewBTreeGOptions(newer, btree.Options{NoLocks: true}),
	}
}

func newer(a, b *Container) bool {
	if !a.Created.Equal(b.Created) {
		return a.Created.After(b.Created)
	}
	return a.ID < b.ID
}

func swarmKey(c *Container) string { return c.SwarmID + "\x00" + c.ID }

func (x *index) put(c *Container) {
	x.remove(c.ID)
	x.byID.Set(c.ID, c)
	x.byAge.Set(c)
	if c.SwarmID != "" {
		x.bySwarmID.Set(swarmKey(c), c)
	}
	for _, n := range c.Names {
		x.byName[n] = append(x.byName[n], c)
	}
}

func (x *index) remove(id string) {
	c, ok := x.byID.Delete(id)
	if !ok {
		return
	}
	x.byAge.Delete(c)
	if c.SwarmID != "" {
		x.bySwarmID.Delete(swarmKey(c))
	}
	for _, n := range c.Names {
		kept := make([]*Container, 0, len(x.byName[n]))
		for _, other := range x.byName[n] {
			if other != c {
				kept = append(kept, other)
			}
		}
		if len(kept) == 0 {
			delete(x.byName, n)
		} else {
			x.byName[n] = kept
		}
	}
}

// withPrefix gives at most limit containers whose key in m starts with prefix.
func withPrefix(m *btree.Map[string, *Container], prefix string, limit int) []*Container {
	var out []*Container
	m.Ascend(prefix, func(key string, c *Container) bool {
		if !strings.HasPrefix(key, prefix) {
			return false
		}
		out = append(out, c)
		return len(out) < limit
	})
	return out
}
