package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
)

// failure is an error with a kind, whose text is the sentence alone.
type failure struct {
	kind error
	text string
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.kind }

func fail(kind error, format string, args ...any) error {
	return &failure{kind, fmt.Sprintf(format, args...)}
}

// lengths of IDs as engines print them.
const (
	shortID = 12
	fullID  = 64
)

// Container finds the container that a user means by ref: an ID or its first
// twelve letters, a swarm ID likewise, a name, NODE/name, or the beginning of
// an ID that no other has. The stages are tried in this order, so that a name
// goes before the beginning of another's ID.
func (c *Cluster) Container(ref string) (*Container, error) {
	c.mu.RLock()
	found := c.findLocked(strings.TrimPrefix(ref, "/"))
	c.mu.RUnlock()
	switch len(found) {
	case 0:
		return nil, fail(errdefs.ErrNotFound, "No such container: %s", ref)
	case 1:
		return found[0], nil
	default:
		names := make([]string, len(found))
		for i, f := range found {
			names[i] = f.FullName()
		}
		slices.Sort(names)
		return nil, fail(errdefs.ErrInvalidArgument, "container %s is ambiguous, it may be any of: %s; give its NODE/name or more of its ID",
			ref, strings.Join(names, ", "))
	}
}

// manyMatches bounds how many candidates an ambiguity is told with.
const manyMatches = 5

func (c *Cluster) findLocked(ref string) []*Container {
	if ref == "" {
		return nil
	}
	if len(ref) == fullID || len(ref) == shortID {
		if found := withPrefix(c.index.byID, ref, manyMatches); len(found) > 0 {
			return found
		}
		if found := withPrefix(c.index.bySwarmID, ref, manyMatches); len(found) > 0 {
			return found
		}
	}
	if found := c.named(ref); len(found) > 0 {
		return found
	}
	found := withPrefix(c.index.byID, ref, manyMatches)
	for _, s := range withPrefix(c.index.bySwarmID, ref, manyMatches) {
		if !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	return found
}

// named finds by name, alias or NODE/name; c.mu is held.
func (c *Cluster) named(ref string) []*Container {
	found := c.index.byName[ref]
	if node, name, ok := strings.Cut(ref, "/"); ok {
		for _, candidate := range c.index.byName[name] {
			if isEngine(candidate.Engine, node) && !slices.Contains(found, candidate) {
				found = append(slices.Clip(found), candidate)
			}
		}
	}
	return found[:min(len(found), manyMatches)]
}

// isEngine says whether ref is the engine's name or ID.
func isEngine(e *engine.Engine, ref string) bool {
	id := e.Identity()
	return id != nil && (id.Name == ref || id.ID == ref)
}

// Reachable finds a container like Container, and fails when its engine does
// not answer now.
func (c *Cluster) Reachable(ref string) (*Container, error) {
	found, err := c.Container(ref)
	if err != nil {
		return nil, err
	}
	if !found.Engine.Answers() {
		return nil, unreachable(found.Engine, fmt.Sprintf("Container %s running on unhealthy node %s", ref, found.Engine.Name()))
	}
	return found, nil
}

// unreachable adds to what the reason that the engine's last probe gave.
func unreachable(e *engine.Engine, what string) error {
	if err := e.Status().Err; err != nil {
		what += ": " + err.Error()
	}
	return fail(errdefs.ErrUnavailable, "%s", what)
}

// node finds an answering engine by name or ID.
func (c *Cluster) node(ref string) (*member, error) {
	var found []*member
	for _, m := range c.all() {
		if isEngine(m.Engine, ref) && m.State() != engine.Pending {
			found = append(found, m)
		}
	}
	switch {
	case len(found) == 0:
		return nil, fail(errdefs.ErrNotFound, "No such node: %s", ref)
	case len(found) > 1:
		return nil, fail(errdefs.ErrInvalidArgument, "node %s is ambiguous: %d engines have this name; give the engine's ID", ref, len(found))
	case !found[0].Answers():
		return nil, unreachable(found[0].Engine, "node "+ref+" does not answer")
	}
	return found[0], nil
}

// isNode says whether ref names an engine of the cluster.
func (c *Cluster) isNode(ref string) bool {
	return slices.ContainsFunc(c.all(), func(m *member) bool { return isEngine(m.Engine, ref) })
}
