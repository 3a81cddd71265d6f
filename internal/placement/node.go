package placement

import "strings"

// shortID is the length from which a part of an ID is as good as the whole:
// it is what `docker ps` and `docker images` print.
const shortID = 12

// Node is what placement sees of one engine. It is immutable: neither the
// caller nor this package changes it, or what it points to, once it has been
// handed to [Policy.Place].
type Node struct {
	ID, Name string
	Health   int               // 0 (must not be used) .. 100
	Labels   map[string]string // the engine's labels and the built-ins: storagedriver, kernelversion, operatingsystem, ostype, ...

	CPU                 int64 // nano-CPUs the machine has, before overcommit
	Memory              int64 // bytes the machine has, before overcommit
	UsedCPU, UsedMemory int64 // nano-CPUs and bytes reserved by Workloads

	Workloads []*Workload // containers that exist, running or not, and those being created
	Images    []*Image
}

// Workload is a container on a node, or one on its way there. Whatever of it
// is not known yet (the ID of one being created) is empty.
type Workload struct {
	ID, Name, SwarmID string
	Aliases           []string // other names it is known by on its node
	Labels            map[string]string

	// Ports are the host ports it has asked for or has been given; with
	// HostNetwork, the ports it exposes. A range counts as the one port that
	// was given from it if that is listed too, and otherwise as the lowest free
	// port in it, since that is the one the engine would hand out.
	Ports       []Port
	HostNetwork bool
}

// Image is an image that a node has.
type Image struct {
	ID   string   // sha256:...
	Refs []string // familiar names with tag or digest: busybox:latest, reg.example/a/b@sha256:...
}

// holds reports whether ref names a container of the node: by ID or swarm ID,
// whole, from 12 characters on, or as a shorter start that only one container
// here has; by name or alias; or by NODE/name. A leading slash is ignored.
func (n *Node) holds(ref string) bool {
	ref = strings.TrimPrefix(ref, "/")
	if ref == "" {
		return false
	}
	local, qualified := n.localName(ref)
	starts := 0
	for _, w := range n.Workloads {
		if w.hasID(ref) || w.named(ref) || qualified && w.named(local) {
			return true
		}
		if strings.HasPrefix(w.ID, ref) || strings.HasPrefix(w.SwarmID, ref) {
			starts++
		}
	}
	return starts == 1
}

// localName cuts this node's name or ID off a NODE/name reference.
func (n *Node) localName(ref string) (name string, qualified bool) {
	node, name, ok := strings.Cut(ref, "/")
	return name, ok && node != "" && (node == n.Name || node == n.ID)
}

func (w *Workload) hasID(ref string) bool {
	return isID(w.ID, ref) || isID(w.SwarmID, ref)
}

// named reports whether want, which has no leading slash, is one of the
// container's names.
func (w *Workload) named(want string) bool {
	if want == "" {
		return false
	}
	if strings.TrimPrefix(w.Name, "/") == want {
		return true
	}
	for _, alias := range w.Aliases {
		if strings.TrimPrefix(alias, "/") == want {
			return true
		}
	}
	return false
}

// isID reports whether ref is id, or enough of its start.
func isID(id, ref string) bool {
	return id != "" && (id == ref || len(ref) >= shortID && strings.HasPrefix(id, ref))
}
