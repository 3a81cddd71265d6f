package placement

import (
	"math"
	"strconv"
	"strings"
)

// resourceFilter keeps the nodes with room for the CPU and memory asked for.
// It is no filter that users name: it is always on and always last.
type resourceFilter struct{ overcommit overcommit }

const noResources = "no resources available to schedule container"

func (resourceFilter) name() string { return "resources" }

func (f resourceFilter) admits(n *Node, q *query) bool {
	if q.CPU <= 0 && q.Memory <= 0 {
		return true
	}
	cpu, memory := f.free(n)
	return fits(q.CPU, cpu) && fits(q.Memory, memory)
}

// fits reports whether there is room for asked. Nothing always fits, even on a
// node that is overfull.
func fits(asked, free int64) bool { return asked <= 0 || asked <= free }

// free is what a node has left: nano-CPUs and bytes, below zero if overfull.
func (f resourceFilter) free(n *Node) (cpu, memory int64) {
	cpu, memory = f.overcommit.capacity(n)
	return saturatingSub(cpu, n.UsedCPU), saturatingSub(memory, n.UsedMemory)
}

func (resourceFilter) conditions(*query) []string { return nil }

func (f resourceFilter) reason(n *Node, q *query) string {
	cpu, memory := f.free(n)
	switch {
	case fits(q.CPU, cpu):
		return "not enough free memory"
	case fits(q.Memory, memory):
		return "not enough free CPU"
	default:
		return "not enough free CPU and memory"
	}
}

// shortage says what was asked and the most that one of nodes has of it.
func (f resourceFilter) shortage(nodes []*Node, q *query) string {
	var asked, best []string
	apart := true // each could be had, but not on one node
	if q.CPU > 0 {
		n, most := mostFree(nodes, func(n *Node) int64 { cpu, _ := f.free(n); return cpu })
		asked = append(asked, cpus(q.CPU))
		best = append(best, cpus(most)+" ("+shown(n.Name)+")")
		apart = apart && fits(q.CPU, most)
	}
	if q.Memory > 0 {
		n, most := mostFree(nodes, func(n *Node) int64 { _, memory := f.free(n); return memory })
		wanted, left := size(q.Memory), size(most)
		if wanted == left && q.Memory != most {
			wanted, left = exactSize(q.Memory), exactSize(most)
		}
		asked = append(asked, wanted+" of memory")
		best = append(best, left+" of memory ("+shown(n.Name)+")")
		apart = apart && fits(q.Memory, most)
	}
	text := noResources + ": asked for " + strings.Join(asked, " and ") +
		", the most that is free on a node is " + strings.Join(best, " and ")
	if apart {
		text += ", but no node has both"
	}
	return text
}

// mostFree returns the node with the most, the first by name among equals, and
// how much that is, at least 0.
func mostFree(nodes []*Node, free func(*Node) int64) (*Node, int64) {
	best, most := nodes[0], free(nodes[0])
	for _, n := range nodes[1:] {
		if left := free(n); left > most || left == most && compareNodes(n, best) < 0 {
			best, most = n, left
		}
	}
	return best, max(most, 0)
}

// overcommit is the share by which more is promised than a machine has: 0.05
// is 5 % more. It is finite and larger than -1.
type overcommit float64

func (o overcommit) capacity(n *Node) (cpu, memory int64) {
	return o.of(n.CPU), o.of(n.Memory)
}

// of adds the share to base. Only the share is counted in floating point, so
// that nothing is lost of base itself, and it is rounded, so that 0.29 of 100
// is 29.
func (o overcommit) of(base int64) int64 {
	if base <= 0 {
		return 0
	}
	extra := math.Round(float64(base) * float64(o))
	// The largest int64 is no float64; the float64 after it is this one.
	if extra >= 1<<63 || int64(extra) > math.MaxInt64-base {
		return math.MaxInt64
	}
	return max(base+int64(extra), 0)
}

func saturatingSub(a, b int64) int64 {
	switch {
	case b < 0 && a > math.MaxInt64+b:
		return math.MaxInt64
	case b > 0 && a < math.MinInt64+b:
		return math.MinInt64
	default:
		return a - b
	}
}

func cpus(nano int64) string {
	s := strconv.FormatFloat(float64(nano)/1e9, 'f', -1, 64)
	if nano == 1e9 {
		return s + " CPU"
	}
	return s + " CPUs"
}

// size writes n bytes in the largest unit that leaves at least 1 of it.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	return strconv.FormatFloat(math.Round(value*100)/100, 'f', -1, 64) + " " + units[unit]
}

func exactSize(n int64) string { return strconv.FormatInt(n, 10) + " B" }
