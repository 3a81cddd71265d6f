package placement

import (
	"slices"
	"strings"
)

// whitelistFilter keeps the nodes that every whitelist names.
type whitelistFilter struct{}

func (whitelistFilter) name() string { return "whitelist" }

func (whitelistFilter) admits(n *Node, q *query) bool {
	for _, names := range q.Whitelists {
		if !slices.Contains(names, n.Name) {
			return false
		}
	}
	return true
}

func (whitelistFilter) conditions(q *query) []string {
	entries := make([]string, len(q.Whitelists))
	for i, names := range q.Whitelists {
		entries[i] = nodeKey + Equal.String() + strings.Join(names, "|")
	}
	return entries
}

func (whitelistFilter) reason(*Node, *query) string { return "not in the whitelist" }

// ParseWhitelist reads what stands after "whitelist:", as in
// "node==node-1|node-2", into the names of the nodes allowed. The key says
// nothing and may be any. What the value cannot mean (that a node is excluded,
// or only preferred, or a pattern) is refused with an [*ExpressionError]
// instead of being taken for something else.
func ParseWhitelist(s string) ([]string, error) {
	e, err := splitExpression(s)
	if err != nil {
		return nil, err
	}
	if e.Operator != Equal || e.Soft || strings.ContainsAny(e.Value, "*/") {
		return nil, invalid(s, "Whitelist '"+clip(s, 100)+"' is invalid: write node==NAME|NAME with whole names; to exclude or to prefer nodes, or to use a pattern, write a constraint such as node!=NAME, node==~NAME or node==web-*")
	}
	names := slices.DeleteFunc(strings.Split(e.Value, "|"), func(name string) bool { return name == "" })
	if len(names) == 0 {
		return nil, invalid(s, "Value '"+clip(e.Value, 100)+"' is invalid: write the name of at least one node, as in node==node-1|node-2")
	}
	return names, nil
}
