package placement

// Place returns the nodes on which the request may go, the best first. There
// is at least one, unless there is an error.
//
// The order of nodes does not matter, and neither nodes nor req are changed.
// If no node will do the error is an [*UnplaceableError]; if an expression made
// by hand does not compile, an [*ExpressionError].
//
// It costs one walk over the nodes, as far into each as the first filter that
// refuses it, and a sort of those that are left.
func (p *Policy) Place(nodes []*Node, req *Request) ([]*Node, error) {
	if len(nodes) == 0 {
		return nil, &UnplaceableError{Summary: noNodes}
	}
	q, err := newQuery(req)
	if err != nil {
		return nil, err
	}
	candidates := make([]candidate, 0, len(nodes))
	for _, n := range nodes {
		if p.admits(n, q) {
			candidates = append(candidates, candidate{node: n})
		}
	}
	if len(candidates) == 0 {
		return nil, p.explain(nodes, q)
	}
	candidates = p.prefer(candidates, q)
	p.ranker.rank(candidates, req)

	ranked := make([]*Node, len(candidates))
	for i, c := range candidates {
		ranked[i] = c.node
	}
	return ranked, nil
}

func (p *Policy) admits(n *Node, q *query) bool {
	for _, f := range p.quickest {
		if !f.admits(n, q) {
			return false
		}
	}
	return true
}

// prefer narrows candidates down by one soft expression after the other, and
// drops those that nothing satisfies. It reuses the slice it is given.
func (p *Policy) prefer(candidates []candidate, q *query) []candidate {
	for _, f := range p.filters {
		c, ok := f.(chooser)
		if !ok {
			continue
		}
		es := c.expressions(q)
		for i := range es {
			if !es[i].Soft {
				continue
			}
			if kept := satisfying(candidates, c, &es[i]); len(kept) > 0 {
				candidates = kept
			}
		}
	}
	return candidates
}

// satisfying moves the candidates that satisfy e to the front and returns
// them. If there are none, nothing has been moved.
func satisfying(candidates []candidate, c chooser, e *Expression) []candidate {
	kept := candidates[:0]
	for _, candidate := range candidates {
		if c.satisfies(candidate.node, e) {
			kept = append(kept, candidate)
		}
	}
	return kept
}
