package placement

// healthFilter keeps the nodes that can be used at all.
type healthFilter struct{}

const noHealthyNode = "No healthy node available in the cluster"

func (healthFilter) name() string                  { return "health" }
func (healthFilter) admits(n *Node, _ *query) bool { return n.Health > 0 }
func (healthFilter) conditions(*query) []string    { return nil }
func (healthFilter) reason(*Node, *query) string   { return "not healthy" }
