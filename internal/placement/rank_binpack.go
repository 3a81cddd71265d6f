package placement

// binpack takes the fullest node that still has room, and of equals the one
// with the most containers, so that other nodes stay empty for what is large.
type binpack struct{ overcommit overcommit }

func (binpack) name() string { return "binpack" }

func (b binpack) weigh(n *Node, q *query) (weight float64, count int) {
	return -load(b.overcommit, n, q.Request) - healthWeight*float64(n.Health), -len(n.Workloads)
}
