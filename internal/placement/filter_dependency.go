package placement

import "fmt"

// dependencyFilter keeps the nodes that hold every container whose volumes,
// name or network the new one shares: an engine can share only its own.
type dependencyFilter struct{}

func (dependencyFilter) name() string { return "dependency" }

func (dependencyFilter) admits(n *Node, q *query) bool {
	for _, d := range q.Dependencies {
		if !n.holds(d.target()) {
			return false
		}
	}
	return true
}

func (dependencyFilter) conditions(q *query) []string {
	entries := make([]string, len(q.Dependencies))
	for i, d := range q.Dependencies {
		entries[i] = d.String()
	}
	return entries
}

func (dependencyFilter) reason(n *Node, q *query) string {
	for _, d := range q.Dependencies {
		if !n.holds(d.target()) {
			return fmt.Sprintf("container %s is not there, which %s needs", shown(d.target()), shown(d.String()))
		}
	}
	return ""
}
