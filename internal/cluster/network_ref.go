package cluster

import (
	"strings"

	"github.com/skep/skep/internal/engine"
)

// localScope is the scope of networks that exist on one engine only. The same
// name on two engines is two networks then.
const localScope = "local"

// localNetwork gives the engines that have a network which exists on some
// engines only, and its name there. Networks that every engine has by itself,
// that span engines, or that nobody has lead nowhere: on is nil then.
func (c *Cluster) localNetwork(ref string) (name string, on []*engine.Engine) {
	if predefined(ref) {
		return ref, nil
	}
	node, bare := c.splitNode(ref)
	for _, m := range c.all() {
		if node != "" && !isEngine(m.Engine, node) {
			continue
		}
		for _, n := range m.Networks() {
			if n.Name != bare && n.ID != bare && !(len(bare) == shortID && strings.HasPrefix(n.ID, bare)) {
				continue
			}
			if n.Scope != localScope {
				return ref, nil
			}
			on = append(on, m.Engine)
		}
	}
	if node != "" && on == nil && predefined(bare) {
		return bare, on
	}
	return bare, on
}

// predefined says that a network mode needs no look-up.
func predefined(ref string) bool {
	switch ref {
	case "", "default", "bridge", "host", "none", "nat":
		return true
	}
	return strings.HasPrefix(ref, "container:")
}
