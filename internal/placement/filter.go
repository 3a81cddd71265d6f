package placement

// filter drops the nodes that must not be used for a request. A filter holds
// no state: whatever it needs is in the node or the query.
type filter interface {
	name() string

	// admits is asked once for every node, so it must be quick and must not
	// allocate where it can help it.
	admits(n *Node, q *query) bool

	// conditions lists what the request asks of this filter, as shown when
	// nothing meets it; soft wishes are left out, since they stop nothing.
	conditions(q *query) []string

	// reason says why admits refused n. It is asked only then, and should say
	// the same about nodes that fail alike, so that they can be counted.
	reason(n *Node, q *query) string
}

// chooser is a filter that knows soft expressions.
type chooser interface {
	filter
	expressions(q *query) []Expression
	satisfies(n *Node, e *Expression) bool
}

// knownFilters are all the filters in the default order.
var knownFilters = [...]filter{
	healthFilter{},
	portFilter{},
	slotsFilter{},
	dependencyFilter{},
	affinityFilter{},
	constraintFilter{},
	whitelistFilter{},
}

// admitsAll is admits of every chooser: the hard expressions must all hold.
func admitsAll(c chooser, n *Node, q *query) bool { return refused(c, n, q) == nil }

// refused returns the first hard expression that does not hold on n.
func refused(c chooser, n *Node, q *query) *Expression {
	es := c.expressions(q)
	for i := range es {
		if !es[i].Soft && !c.satisfies(n, &es[i]) {
			return &es[i]
		}
	}
	return nil
}
