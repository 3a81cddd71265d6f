package placement

import (
	"cmp"
	"strings"
)

// ranker is a strategy: it weighs nodes that may all be used. The lower weight
// comes first, then the lower count, then the name. A node is weighed by itself:
// what a ranker says of it must not depend on the others.
type ranker interface {
	name() string
	weigh(n *Node, q *query) (weight float64, count int)
}

// candidate is a node that may be used, with what a ranker thinks of it.
type candidate struct {
	node   *Node
	weight float64
	count  int
}

// compareCandidates puts the better one first.
func compareCandidates(a, b candidate) int {
	switch {
	case a.weight < b.weight:
		return -1
	case a.weight > b.weight:
		return 1
	case a.count != b.count:
		return cmp.Compare(a.count, b.count)
	default:
		return compareNodes(a.node, b.node)
	}
}

// compareNodes is what decides when nothing else does.
func compareNodes(a, b *Node) int {
	if order := strings.Compare(a.Name, b.Name); order != 0 {
		return order
	}
	return strings.Compare(a.ID, b.ID)
}

// healthWeight makes ten points of health worth as much as a whole machine's
// CPU: a node that fails now and then is used when there is no better one.
const healthWeight = 10

// load is how full a node would be with the request on it, in percent of its
// CPU plus percent of its memory. What was not asked for says nothing, and
// counts the same on each node.
func load(o overcommit, n *Node, req *Request) float64 {
	cpu, memory := o.capacity(n)
	return share(n.UsedCPU, req.CPU, cpu) + share(n.UsedMemory, req.Memory, memory)
}

func share(used, asked, capacity int64) float64 {
	if asked <= 0 {
		return 100
	}
	return (float64(used) + float64(asked)) * 100 / float64(capacity)
}
