package cluster

import (
	"slices"
	"strings"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
)

// dependencies are the containers that must be on the same engine.
func dependencies(h *engine.HostConfig) []placement.Dependency {
	var out []placement.Dependency
	for _, v := range h.VolumesFrom {
		out = append(out, placement.Dependency{Kind: "--volumes-from", Ref: v})
	}
	for _, l := range h.Links {
		out = append(out, placement.Dependency{Kind: "--link", Ref: l})
	}
	for _, shared := range []struct{ kind, mode string }{{"--net", h.NetworkMode}, {"--ipc", h.IpcMode}, {"--pid", h.PidMode}} {
		if strings.HasPrefix(shared.mode, containerMode) {
			out = append(out, placement.Dependency{Kind: shared.kind, Ref: shared.mode})
		}
	}
	return out
}

// containerMode precedes the container whose namespace is shared.
const containerMode = "container:"

// readDependencies notes the containers that the new one shares something
// with, and calls them what their engine does: NODE/name and the ID that stays
// with a moved container are for us.
func (c *Cluster) readDependencies(r *createRequest) error {
	r.placement.Dependencies = dependencies(&r.host)
	if len(r.placement.Dependencies) == 0 {
		return nil
	}
	host, err := r.body.Object("HostConfig")
	if err != nil {
		return invalid("invalid JSON: %v", err)
	}
	for key, list := range map[string][]string{"VolumesFrom": r.host.VolumesFrom, "Links": r.host.Links} {
		engines := make([]string, len(list))
		for i, given := range list {
			ref, _, _ := strings.Cut(given, ":")
			engines[i] = c.enginesName(ref) + given[len(ref):]
		}
		if !slices.Equal(engines, list) {
			must(host.Set(key, engines))
		}
	}
	for key, mode := range map[string]string{"NetworkMode": r.host.NetworkMode, "IpcMode": r.host.IpcMode, "PidMode": r.host.PidMode} {
		if ref, ok := strings.CutPrefix(mode, containerMode); ok && c.enginesName(ref) != ref {
			must(host.Set(key, containerMode+c.enginesName(ref)))
		}
	}
	must(r.body.Set("HostConfig", host))
	return nil
}

// enginesName is a container's name as its engine has it; ref itself when that
// will do, or when no one container is meant.
func (c *Cluster) enginesName(ref string) string {
	found, err := c.Container(ref)
	if err != nil || strings.HasPrefix(found.ID, ref) || slices.Contains(found.Names, plainName(ref)) {
		return ref
	}
	return found.Name()
}
