package cluster

import (
	"slices"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/rawjson"
)

// volumeFilters are the filters of `docker volume ls`, and node.
var volumeFilters = []string{"dangling", "driver", "label", "name", "node"}

// ListVolumes gives the volumes of the engines that answer, as an engine's list
// does: those of the local driver once for each engine, as NODE/name, all others
// once.
func (c *Cluster) ListVolumes(filters apifilter.Args) ([]byte, error) {
	match, err := c.newVolumeMatch(filters)
	if err != nil {
		return nil, err
	}
	var chosen []*volume
	seen := map[[2]string]bool{} // of drivers that engines share: driver and name
	for _, m := range c.answering() {
		for _, v := range m.Volumes() {
			candidate := &volume{v, m}
			key := [2]string{v.Driver, v.Name}
			if seen[key] || !match.matches(candidate) {
				continue
			}
			seen[key] = !isLocal(v)
			chosen = append(chosen, candidate)
		}
	}
	slices.SortStableFunc(chosen, func(a, b *volume) int { return compareNatural(a.fullName(), b.fullName()) })
	entries := make([][]byte, len(chosen))
	for i, v := range chosen {
		o, err := rawjson.ParseObject(v.Raw)
		if err != nil { // an engine's list was split into valid objects before
			o = new(rawjson.Object)
		}
		must(o.Set("Name", v.fullName()))
		entries[i] = o.Bytes()
	}
	var answer rawjson.Object
	answer.SetRaw("Volumes", joinRaw(entries))
	must(answer.Set("Warnings", nil))
	return append(answer.Bytes(), '\n'), nil
}

// volumeMatch is a list's filters, ready to be asked of each volume.
type volumeMatch struct {
	filters  apifilter.Args
	dangling *bool
	used     map[volumeUse]bool // nil when not asked for
}

// volumeUse is a volume that a container mounts; of drivers that engines share
// it has no member.
type volumeUse struct {
	on   *member
	name string
}

func (c *Cluster) newVolumeMatch(f apifilter.Args) (*volumeMatch, error) {
	if err := f.Validate(volumeFilters...); err != nil {
		return nil, err
	}
	m := &volumeMatch{filters: f}
	if f.Contains("dangling") {
		is, err := f.GetBool("dangling", false)
		if err != nil {
			return nil, err
		}
		m.dangling, m.used = &is, c.usedVolumes()
	}
	return m, nil
}

// usedVolumes gives the volumes that containers mount, running or not.
func (c *Cluster) usedVolumes() map[volumeUse]bool {
	used := map[volumeUse]bool{}
	for _, m := range c.all() {
		for _, found := range m.Containers() {
			for _, mount := range found.Mounts {
				if mount.Name != "" {
					used[volumeUse{m, mount.Name}] = true
					used[volumeUse{nil, mount.Name}] = true
				}
			}
		}
	}
	return used
}

func (m *volumeMatch) matches(v *volume) bool {
	f := m.filters
	return f.ExactMatch("driver", v.Driver) &&
		(!f.Contains("name") || f.Match("name", v.Name) || f.Match("name", v.fullName())) &&
		f.MatchKVList("label", v.Labels) &&
		(m.dangling == nil || *m.dangling != m.isUsed(v)) &&
		(!f.Contains("node") || matchesNode(f, v.on.Engine))
}

func (m *volumeMatch) isUsed(v *volume) bool {
	if isLocal(v.Volume) {
		return m.used[volumeUse{v.on, v.Name}]
	}
	return m.used[volumeUse{nil, v.Name}]
}
