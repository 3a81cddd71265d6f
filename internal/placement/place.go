package placement

import "slices"

// Place returns the nodes on which the request may go, the best first. There
// is at least one, unless there is an error.
//
// The order of nodes does not matter, and neither nodes nor req are changed.
// If no node will do the error is an [*UnplaceableError]; if an expression made
// by hand does not compile, an [*ExpressionError].
//
// It costs one walk over the nodes, as far into each as the first filter that
// refuses it, and a sort of those that are left. Who needs only the first asks
// [Policy.Best].
func (p *Policy) Place(nodes []*Node, req *Request) ([]*Node, error) {
	q, err := p.ask(nodes, req)
	if err != nil {
		return nil, err
	}
	candidates := make([]candidate, 0, len(nodes))
	for _, n := range nodes {
		if p.admits(n, q) {
			candidates = append(candidates, p.candidate(n, q))
		}
	}
	if len(candidates) == 0 {
		return nil, p.explain(nodes, q)
	}
	candidates = prefer(candidates, p.wishes(q))
	slices.SortFunc(candidates, compareCandidates)

	ranked := make([]*Node, len(candidates))
	for i, c := range candidates {
		ranked[i] = c.node
	}
	return ranked, nil
}

// ask prepares a request to be put to nodes, of which there must be some.
func (p *Policy) ask(nodes []*Node, req *Request) (*query, error) {
	if len(nodes) == 0 {
		return nil, &UnplaceableError{Summary: noNodes}
	}
	return newQuery(req)
}

func (p *Policy) admits(n *Node, q *query) bool {
	for _, f := range p.quickest {
		if !f.admits(n, q) {
			return false
		}
	}
	return true
}

func (p *Policy) candidate(n *Node, q *query) candidate {
	weight, count := p.ranker.weigh(n, q)
	return candidate{node: n, weight: weight, count: count}
}
