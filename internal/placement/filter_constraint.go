package placement

// constraintFilter compares what a node is: its ID and name by the key "node",
// and its labels by any other. A label that a node does not have is "".
type constraintFilter struct{}

const nodeKey = "node"

func (constraintFilter) name() string                      { return "constraint" }
func (constraintFilter) expressions(q *query) []Expression { return q.constraints }
func (f constraintFilter) admits(n *Node, q *query) bool   { return admitsAll(f, n, q) }

func (constraintFilter) satisfies(n *Node, e *Expression) bool {
	var found bool
	if e.Key == nodeKey {
		found = e.pattern.match(n.ID) || e.pattern.match(n.Name)
	} else {
		found = e.pattern.match(n.Labels[e.Key])
	}
	return found == (e.Operator == Equal)
}

func (constraintFilter) conditions(q *query) []string {
	var entries []string
	for _, e := range q.Constraints {
		if !e.Soft {
			entries = append(entries, e.String())
		}
	}
	return entries
}

func (f constraintFilter) reason(n *Node, q *query) string {
	e := refused(f, n, q)
	key := shown(e.Key)
	value, has := n.Labels[e.Key]
	switch {
	case e.Key == nodeKey && e.Operator == Equal:
		return "node is not " + shown(e.Value)
	case e.Key == nodeKey:
		return "node is " + shown(e.Value) + ", which is excluded"
	case e.Operator == NotEqual && has:
		return key + " is " + quoted(value) + ", which " + shown(e.String()) + " excludes"
	case e.Operator == NotEqual:
		return key + " is not set, which " + shown(e.String()) + " excludes"
	case has:
		return key + " is " + quoted(value) + ", not " + shown(e.Value)
	default:
		return key + " is not set"
	}
}

// constraintValue is what a constraint's value is compared as: itself.
func constraintValue(e Expression) string { return e.Value }
