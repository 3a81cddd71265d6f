package cluster

import (
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
)

// nodeView keeps what placement sees of an engine until the engine changes, so
// that a create does not read all containers of the cluster again.
type nodeView struct {
	mu   sync.Mutex
	node *placement.Node // nil when it must be made anew; guarded by mu
	// version counts the changes; guarded by mu.
	version uint64
	// swarmIDs are those of the node's workloads; guarded by mu.
	swarmIDs map[string]bool
}

func (v *nodeView) changed() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.node = nil
	v.version++
}

// current gives the number of the last change.
func (v *nodeView) current() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.version
}

// placementNode gives what placement sees of the engine, without reservations;
// nil before the engine is known.
func (m *member) placementNode() *placement.Node {
	node, _ := m.placementView()
	return node
}

// placementView is placementNode, with the swarm IDs of the containers that
// are in it. Neither may be changed.
func (m *member) placementView() (*placement.Node, map[string]bool) {
	m.view.mu.Lock()
	defer m.view.mu.Unlock()
	if m.view.node == nil {
		m.view.node, m.view.swarmIDs = newPlacementNode(m.Engine), map[string]bool{}
		if m.view.node != nil {
			for _, w := range m.view.node.Workloads {
				m.view.swarmIDs[w.SwarmID] = true
			}
		}
	}
	return m.view.node, m.view.swarmIDs
}

func newPlacementNode(e *engine.Engine) *placement.Node {
	id := e.Identity()
	if id == nil {
		return nil
	}
	containers := e.Containers()
	node := &placement.Node{
		ID: id.ID, Name: id.Name, Labels: id.Labels,
		CPU: int64(id.CPUs) * nanoCPU, Memory: id.Memory,
		Workloads: make([]*placement.Workload, 0, len(containers)),
	}
	for _, c := range containers {
		w, cpu, memory := workloadOf(c)
		node.Workloads = append(node.Workloads, w)
		node.UsedCPU += cpu
		node.UsedMemory += memory
	}
	images := e.Images().All
	node.Images = make([]*placement.Image, len(images))
	for i, img := range images {
		refs := make([]string, 0, len(img.RepoTags)+len(img.RepoDigests))
		node.Images[i] = &placement.Image{ID: img.ID, Refs: append(append(refs, img.RepoTags...), img.RepoDigests...)}
	}
	return node
}

const (
	nanoCPU = 1_000_000_000
	// sharesPerCPU is what the kernel gives a container that asks for nothing:
	// one processor's worth.
	sharesPerCPU = 1024
)

// reservedCPU is what a container takes of its engine's processors, in
// nano-CPUs: the limit it was given, else its weight.
func reservedCPU(h *engine.HostConfig) int64 {
	if h.NanoCpus > 0 {
		return h.NanoCpus
	}
	const most = 1 << 20 // shares; the kernel takes no more than 2^18
	return min(max(h.CpuShares, 0), most) * nanoCPU / sharesPerCPU
}

func workloadOf(c *engine.Container) (w *placement.Workload, cpu, memory int64) {
	w = &placement.Workload{ID: c.ID, Name: c.Name(), SwarmID: c.Labels[LabelSwarmID], Labels: c.Labels}
	if len(c.Names) > 1 {
		w.Aliases = c.Names[1:]
	}
	w.HostNetwork, w.Ports = requestedPorts(&c.Host, c.Exposed)
	if !w.HostNetwork {
		for _, p := range c.Ports {
			if p.PublicPort != 0 {
				w.Ports = append(w.Ports, placement.Port{HostIP: p.IP, First: p.PublicPort, Last: p.PublicPort, Protocol: p.Type})
			}
		}
	}
	return w, reservedCPU(&c.Host), max(c.Host.Memory, 0)
}

// requestedPorts gives the host ports that a container asks for: those it
// publishes or, on the host's network, those it exposes.
func requestedPorts(h *engine.HostConfig, exposed []string) (hostNetwork bool, ports []placement.Port) {
	if h.NetworkMode == "host" {
		for _, e := range exposed {
			if first, last, protocol, ok := parsePort(e); ok {
				ports = append(ports, placement.Port{First: first, Last: last, Protocol: protocol})
			}
		}
		return true, ports
	}
	for container, bindings := range h.PortBindings {
		_, protocol, ok := strings.Cut(container, "/")
		if !ok {
			protocol = "tcp"
		}
		for _, b := range bindings {
			first, last, _, ok := parsePort(b.HostPort)
			if !ok {
				continue // no port asked for, or one that the engine will refuse
			}
			ports = append(ports, placement.Port{HostIP: plainIP(b.HostIp), First: first, Last: last, Protocol: strings.ToLower(protocol)})
		}
	}
	return false, ports
}

// parsePort reads "80", "80-90", either with "/tcp" behind.
func parsePort(s string) (first, last uint16, protocol string, ok bool) {
	ports, protocol, found := strings.Cut(s, "/")
	if !found {
		protocol = "tcp"
	}
	low, high, found := strings.Cut(ports, "-")
	if !found {
		high = low
	}
	a, err1 := strconv.ParseUint(low, 10, 16)
	b, err2 := strconv.ParseUint(high, 10, 16)
	if err1 != nil || err2 != nil || a > b {
		return 0, 0, "", false
	}
	return uint16(a), uint16(b), strings.ToLower(protocol), true
}

// plainIP writes an address in the one form that compares.
func plainIP(s string) string {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return ip.String()
	}
	return s
}
