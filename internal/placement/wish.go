package placement

// wish is a soft expression, and the filter that knows what it means.
type wish struct {
	of chooser
	*Expression
}

func (w wish) grantedBy(n *Node) bool { return w.of.satisfies(n, w.Expression) }

// wishes are the soft expressions in the order in which they count.
func (p *Policy) wishes(q *query) []wish {
	var all []wish
	for _, f := range p.filters {
		c, ok := f.(chooser)
		if !ok {
			continue
		}
		es := c.expressions(q)
		for i := range es {
			if es[i].Soft {
				all = append(all, wish{c, &es[i]})
			}
		}
	}
	return all
}

// prefer narrows candidates down by one wish after the other, and drops those
// that nobody grants. It reuses the slice it is given.
func prefer(candidates []candidate, wishes []wish) []candidate {
	for _, w := range wishes {
		if kept := granting(candidates, w); len(kept) > 0 {
			candidates = kept
		}
	}
	return candidates
}

// granting moves the candidates that grant w to the front and returns them. If
// there are none, nothing has been moved.
func granting(candidates []candidate, w wish) []candidate {
	kept := candidates[:0]
	for _, c := range candidates {
		if w.grantedBy(c.node) {
			kept = append(kept, c)
		}
	}
	return kept
}
