package placement

// random takes any node. The nodes are put in order before they are shuffled,
// so that one seed gives one answer.
type random struct{}

func (random) name() string { return "random" }

func (random) rank(cs []candidate, req *Request) {
	sortCandidates(cs)
	if req.Rand != nil {
		req.Rand.Shuffle(len(cs), func(i, j int) { cs[i], cs[j] = cs[j], cs[i] })
	}
}
