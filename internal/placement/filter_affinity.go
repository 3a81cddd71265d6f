package placement

import "strings"

// affinityFilter compares what a node holds: its containers by the key
// "container", its images by the key "image", and the labels of its containers
// by any other. A label that a container does not have is "".
type affinityFilter struct{}

const (
	containerKey = "container"
	imageKey     = "image"
)

func (affinityFilter) name() string                      { return "affinity" }
func (affinityFilter) expressions(q *query) []Expression { return q.affinities }
func (f affinityFilter) admits(n *Node, q *query) bool   { return admitsAll(f, n, q) }

func (affinityFilter) satisfies(n *Node, e *Expression) bool {
	var found bool
	switch e.Key {
	case containerKey:
		found = hasContainer(n, e.pattern)
	case imageKey:
		found = hasImage(n, e.pattern)
	default:
		found = hasLabelled(n, e.Key, e.pattern)
	}
	return found == (e.Operator == Equal)
}

func (affinityFilter) conditions(q *query) []string {
	var entries []string
	for _, e := range q.Affinities {
		if !e.Soft {
			entries = append(entries, e.String()+" (soft=false)")
		}
	}
	return entries
}

func (f affinityFilter) reason(n *Node, q *query) string {
	e := refused(f, n, q)
	article, thing := "a ", containerKey+" "
	switch e.Key {
	case containerKey:
	case imageKey:
		article, thing = "an ", imageKey+" "
	default:
		thing = "container with " + shown(e.Key) + " "
	}
	if e.Operator == Equal {
		return "there is no " + thing + shown(e.Value)
	}
	return "there is " + article + thing + shown(e.Value) + ", which is excluded"
}

// affinityValue is what an affinity's value is compared as: a container
// without the slash that Docker puts before its name, an image in the form in
// which engines list it. A pattern for images is left alone: docker.io/*, cut
// short, would be the images of every registry.
func affinityValue(e Expression) string {
	value := e.Value
	switch {
	case isRegexp(value):
	case e.Key == containerKey && len(value) > 1:
		value = strings.TrimPrefix(value, "/")
	case e.Key == imageKey && !strings.Contains(value, "*"):
		value = familiar(value)
	}
	if isRegexp(value) { // what was cut off may have made it look like one
		return e.Value
	}
	return value
}

func hasContainer(n *Node, p *pattern) bool {
	if !p.literal() {
		for _, w := range n.Workloads {
			if w.matches(p) {
				return true
			}
		}
		return false
	}
	local, qualified := n.localName(p.value)
	for _, w := range n.Workloads {
		if w.hasID(p.value) || w.named(p.value) || qualified && w.named(local) {
			return true
		}
	}
	return false
}

// matches reports whether an ID or a name of the container matches p. One that
// it does not have yet matches nothing, not even a star.
func (w *Workload) matches(p *pattern) bool {
	if w.ID != "" && p.match(w.ID) || w.SwarmID != "" && p.match(w.SwarmID) {
		return true
	}
	if name := strings.TrimPrefix(w.Name, "/"); name != "" && p.match(name) {
		return true
	}
	for _, alias := range w.Aliases {
		if alias = strings.TrimPrefix(alias, "/"); alias != "" && p.match(alias) {
			return true
		}
	}
	return false
}

func hasLabelled(n *Node, key string, p *pattern) bool {
	for _, w := range n.Workloads {
		if p.match(w.Labels[key]) {
			return true
		}
	}
	return false
}
