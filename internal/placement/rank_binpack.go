package placement

// binpack takes the fullest node that still has room, and of equals the one
// with the most containers, so that other nodes stay empty for what is large.
type binpack struct{ overcommit overcommit }

func (binpack) name() string { return "binpack" }

func (b binpack) rank(cs []candidate, req *Request) {
	for i := range cs {
		n := cs[i].node
		cs[i].weight = -load(b.overcommit, n, req) - healthWeight*float64(n.Health)
		cs[i].count = -len(n.Workloads)
	}
	sortCandidates(cs)
}
