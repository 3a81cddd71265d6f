package cluster

import (
	"slices"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/rawjson"
)

// labelComposeNetwork is on the networks that Docker Compose has made.
const labelComposeNetwork = "com.docker.compose.network"

// networkNames decides what networks are called in answers. A local one is
// NODE/name, with two exceptions for the sake of Docker Compose, which knows
// its networks by nothing but the exact name: one that Compose has made, and one
// that is asked for by its very name in a filter, keep the bare name as long
// as no other network has it.
type networkNames struct {
	uses  map[string]int // of each bare name
	asked []string
}

func newNetworkNames(all []*network, asked ...string) networkNames {
	names := networkNames{uses: make(map[string]int, len(all)), asked: asked}
	for _, n := range all {
		names.uses[n.Name]++
	}
	return names
}

func (x networkNames) of(n *network) string {
	_, composed := n.Labels[labelComposeNetwork]
	if x.uses[n.Name] == 1 && (composed || slices.Contains(x.asked, n.Name)) {
		return n.Name
	}
	return n.fullName()
}

// ListNetworks gives the networks of the engines that answer as a JSON array,
// each as its engine lists it but for its name.
func (c *Cluster) ListNetworks(filters apifilter.Args) ([]byte, error) {
	match, err := c.newNetworkMatch(filters)
	if err != nil {
		return nil, err
	}
	all := c.networks()
	names := newNetworkNames(all, filters.Get("name")...)
	chosen := slices.DeleteFunc(all, func(n *network) bool {
		return !slices.ContainsFunc(n.on, func(m *member) bool { return m.Answers() }) || !match.matches(n)
	})
	slices.SortStableFunc(chosen, func(a, b *network) int { return compareNatural(names.of(a), names.of(b)) })
	entries := make([][]byte, len(chosen))
	for i, n := range chosen {
		o, err := rawjson.ParseObject(n.Raw)
		if err != nil { // an engine's list was split into valid objects before
			o = new(rawjson.Object)
		}
		must(o.Set("Name", names.of(n)))
		entries[i] = o.Bytes()
	}
	return append(joinRaw(entries), '\n'), nil
}

// networkFilters are the filters of `docker network ls`, and node.
var networkFilters = []string{"dangling", "driver", "id", "label", "name", "node", "scope", "type"}

// networkMatch is a list's filters, ready to be asked of each network.
type networkMatch struct {
	filters  apifilter.Args
	dangling *bool
	used     map[string]bool // IDs of networks with containers on them; nil when not asked for
}

func (c *Cluster) newNetworkMatch(f apifilter.Args) (*networkMatch, error) {
	if err := f.Validate(networkFilters...); err != nil {
		return nil, err
	}
	for _, t := range f.Get("type") {
		if t != "custom" && t != "builtin" {
			return nil, fail(errdefs.ErrInvalidArgument, "Invalid filter: 'type'='%s'", t)
		}
	}
	m := &networkMatch{filters: f}
	if f.Contains("dangling") {
		is, err := f.GetBool("dangling", false)
		if err != nil {
			return nil, err
		}
		m.dangling, m.used = &is, c.usedNetworks()
	}
	return m, nil
}

// usedNetworks gives the IDs of the networks that have running containers on
// them.
func (c *Cluster) usedNetworks() map[string]bool {
	used := map[string]bool{}
	for _, m := range c.all() {
		for _, found := range m.Containers() {
			for _, attached := range found.Networks {
				if attached.Connected {
					used[attached.NetworkID] = true
				}
			}
		}
	}
	return used
}

func (m *networkMatch) matches(n *network) bool {
	f := m.filters
	return f.ExactMatch("driver", n.Driver) &&
		f.ExactMatch("scope", n.Scope) &&
		f.Match("id", n.ID) &&
		(!f.Contains("name") || f.Match("name", n.Name) || n.local() && f.Match("name", n.fullName())) &&
		f.MatchKVList("label", n.Labels) &&
		(!f.Contains("type") || f.ExactMatch("type", typeOf(n))) &&
		(m.dangling == nil || *m.dangling == m.isDangling(n)) &&
		(!f.Contains("node") || slices.ContainsFunc(n.on, func(on *member) bool { return matchesNode(f, on.Engine) }))
}

// isDangling says that nobody uses the network; those that every engine has by
// itself are never in anyone's way.
func (m *networkMatch) isDangling(n *network) bool { return !builtin(n.Name) && !m.used[n.ID] }

func typeOf(n *network) string {
	if builtin(n.Name) {
		return "builtin"
	}
	return "custom"
}

// builtin says that every engine has a network of this name by itself.
func builtin(name string) bool {
	switch name {
	case "bridge", "host", "none", "nat":
		return true
	}
	return false
}
