package placement

// spread takes the node with the lowest load, and of equals the one with the
// fewest containers.
type spread struct{ overcommit overcommit }

func (spread) name() string { return "spread" }

func (s spread) weigh(n *Node, q *query) (weight float64, count int) {
	return load(s.overcommit, n, q.Request) - healthWeight*float64(n.Health), len(n.Workloads)
}
