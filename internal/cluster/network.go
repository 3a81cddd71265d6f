package cluster

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
)

// network is a network of the cluster: a local one is on one engine, any other
// is the same on all that have it.
type network struct {
	*engine.Network // as the first of its engines lists it
	on              []*member
}

func (n *network) local() bool { return n.Scope == localScope }

// fullName is NODE/name for a network that only its node has, and the name
// alone for others.
func (n *network) fullName() string {
	if n.local() {
		return onNode(n.on[0].Engine, n.Name)
	}
	return n.Name
}

// has says whether the network is on e.
func (n *network) has(e *engine.Engine) bool {
	for _, m := range n.on {
		if m.Engine == e {
			return true
		}
	}
	return false
}

// networks gives the networks of all engines, those that do not answer now
// included, in the engines' order.
func (c *Cluster) networks() []*network {
	var all []*network
	spanning := map[string]*network{}
	for _, m := range c.all() {
		for _, n := range m.Networks() {
			if known := spanning[n.ID]; known != nil && n.Scope != localScope {
				known.on = append(known.on, m)
				continue
			}
			found := &network{n, []*member{m}}
			if !found.local() {
				spanning[n.ID] = found
			}
			all = append(all, found)
		}
	}
	return all
}

// findNetworks gives the networks that ref may mean: by ID or its first twelve
// letters, by name, NODE/name or ENGINEID/name, or by the beginning of an ID.
// The stages are tried in this order, so that a name goes before the beginning
// of another's ID.
func findNetworks(all []*network, ref string) []*network {
	ref = strings.TrimPrefix(ref, "/")
	if ref == "" {
		return nil
	}
	stages := []func(*network) bool{
		func(n *network) bool { return n.ID == ref || len(ref) == shortID && strings.HasPrefix(n.ID, ref) },
		func(n *network) bool { return n.named(ref) },
		func(n *network) bool { return strings.HasPrefix(n.ID, ref) },
	}
	for _, stage := range stages {
		var found []*network
		for _, n := range all {
			if stage(n) {
				found = append(found, n)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

func (n *network) named(ref string) bool {
	if n.Name == ref {
		return true
	}
	node, name, ok := strings.Cut(ref, "/")
	if !ok || n.Name != name {
		return false
	}
	for _, m := range n.on {
		if isEngine(m.Engine, node) {
			return true
		}
	}
	return false
}

// oneNetwork is the network among found that ref means; it must be one.
func oneNetwork(found []*network, ref string) (*network, error) {
	switch len(found) {
	case 0:
		return nil, noSuchNetwork(ref)
	case 1:
		return found[0], nil
	}
	names := make([]string, len(found))
	for i, n := range found {
		if names[i] = n.fullName(); !n.local() {
			names[i] += " (" + n.ID[:min(shortID, len(n.ID))] + ")"
		}
	}
	return nil, fail(errdefs.ErrInvalidArgument, "network %s is ambiguous, it may be any of: %s; give its NODE/name or more of its ID",
		ref, someOf(names))
}

func noSuchNetwork(ref string) error {
	return fail(errdefs.ErrNotFound, "network %s not found", ref)
}

// someOf joins names for a sentence, as many as one can read.
func someOf(names []string) string {
	more := ""
	if len(names) > manyMatches {
		more = fmt.Sprintf(" and %d more", len(names)-manyMatches)
		names = names[:manyMatches]
	}
	return strings.Join(names, ", ") + more
}

// network finds the network that a user means by ref.
func (c *Cluster) network(ref string) (*network, error) {
	return oneNetwork(findNetworks(c.networks(), ref), ref)
}

// answering gives the engines that have the network and answer now; an error
// when there is none.
func (n *network) answering() ([]*member, error) {
	var out []*member
	for _, m := range n.on {
		if m.Answers() {
			out = append(out, m)
		}
	}
	if len(out) == 0 {
		e := n.on[0].Engine
		return nil, unreachable(e, fmt.Sprintf("network %s is on node %s, which does not answer", n.fullName(), e.Name()))
	}
	return out, nil
}
