package placement

// spread takes the node with the lowest load, and of equals the one with the
// fewest containers.
type spread struct{ overcommit overcommit }

func (spread) name() string { return "spread" }

func (s spread) rank(cs []candidate, req *Request) {
	for i := range cs {
		n := cs[i].node
		cs[i].weight = load(s.overcommit, n, req) - healthWeight*float64(n.Health)
		cs[i].count = len(n.Workloads)
	}
	sortCandidates(cs)
}
