package cluster

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
)

// nodeView keeps what placement sees of an engine until the engine changes, so
// that a create does not read all containers of the cluster again. Of an engine
// that has changed, only the containers are read again that have.
type nodeView struct {
	mu   sync.Mutex
	node *placement.Node // nil when it must be made anew; guarded by mu, as are all below
	// version counts the changes.
	version uint64

	workloads []*placement.Workload
	sizes     []reservedSize // of workloads, one for one
	// changed are the containers that have changed since workloads were read;
	// all says that there is too much of it to tell, or that they never were.
	changed []string
	all     bool

	images     []*placement.Image
	imagesFrom []*engine.Image // those that images were made of
}

// reservedSize is what a container takes of its engine, in nano-CPUs and bytes.
type reservedSize struct{ cpu, memory int64 }

// manyChanged is from how many changed containers on all are read again.
const manyChanged = 64

func newNodeView() nodeView { return nodeView{all: true} }

// objectsChanged notes that anything but the containers has changed.
func (v *nodeView) objectsChanged() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.node = nil
	v.version++
}

// containersChanged notes which containers are new, different or gone.
func (v *nodeView) containersChanged(put, gone []*engine.Container) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.node = nil
	v.version++
	if v.all = v.all || len(v.changed)+len(put)+len(gone) > manyChanged; v.all {
		v.changed = nil
		return
	}
	for _, some := range [][]*engine.Container{put, gone} {
		for _, c := range some {
			v.changed = append(v.changed, c.ID)
		}
	}
}

// current gives the number of the last change.
func (v *nodeView) current() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.version
}

// placementNode gives what placement sees of the engine, without reservations;
// nil before the engine is known. It must not be changed.
func (m *member) placementNode() *placement.Node {
	m.view.mu.Lock()
	defer m.view.mu.Unlock()
	if m.view.node == nil {
		m.view.node = m.view.make(m.Engine)
	}
	return m.view.node
}

func (v *nodeView) make(e *engine.Engine) *placement.Node {
	id := e.Identity()
	if id == nil {
		return nil
	}
	v.readContainers(e)
	v.readImages(e)
	node := &placement.Node{
		ID: id.ID, Name: id.Name, Labels: id.Labels,
		CPU: int64(id.CPUs) * nanoCPU, Memory: id.Memory,
		Workloads: v.workloads, Images: v.images,
	}
	for _, size := range v.sizes {
		node.UsedCPU += size.cpu
		node.UsedMemory += size.memory
	}
	return node
}

// readContainers brings workloads up to date, in new slices: who was given the
// old ones may still look at them.
func (v *nodeView) readContainers(e *engine.Engine) {
	var fresh []*engine.Container
	old, oldSizes := v.workloads, v.sizes
	if v.all {
		fresh, old, oldSizes = e.Containers(), nil, nil
	} else if len(v.changed) == 0 {
		return
	}
	slices.Sort(v.changed)
	v.changed = slices.Compact(v.changed)
	for _, id := range v.changed {
		if c := e.Container(id); c != nil {
			fresh = append(fresh, c)
		}
	}
	v.workloads = make([]*placement.Workload, 0, len(old)+len(fresh))
	v.sizes = make([]reservedSize, 0, len(old)+len(fresh))
	for i, w := range old {
		if _, changed := slices.BinarySearch(v.changed, w.ID); !changed {
			v.workloads, v.sizes = append(v.workloads, w), append(v.sizes, oldSizes[i])
		}
	}
	for _, c := range fresh {
		w, size := workloadOf(c)
		v.workloads, v.sizes = append(v.workloads, w), append(v.sizes, size)
	}
	v.all, v.changed = false, nil
}

func (v *nodeView) readImages(e *engine.Engine) {
	from := e.Images().All
	if len(from) == len(v.imagesFrom) && (len(from) == 0 || &from[0] == &v.imagesFrom[0]) {
		return // lists of images are replaced, never changed
	}
	v.imagesFrom = from
	v.images = make([]*placement.Image, len(from))
	for i, img := range from {
		refs := make([]string, 0, len(img.RepoTags)+len(img.RepoDigests))
		v.images[i] = &placement.Image{ID: img.ID, Refs: append(append(refs, img.RepoTags...), img.RepoDigests...)}
	}
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

func workloadOf(c *engine.Container) (*placement.Workload, reservedSize) {
	w := &placement.Workload{ID: c.ID, Name: c.Name(), SwarmID: c.Labels[LabelSwarmID], Labels: c.Labels}
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
	return w, reservedSize{reservedCPU(&c.Host), max(c.Host.Memory, 0)}
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
