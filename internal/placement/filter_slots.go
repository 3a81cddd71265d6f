package placement

import (
	"fmt"
	"strconv"
)

// slotsFilter limits how many containers a node holds, in whatever state, to
// the number in its label containerslots. Without the label, or with one that
// is no integer, there is no limit.
type slotsFilter struct{}

const slotsLabel = "containerslots"

func (slotsFilter) name() string { return "containerslots" }

func (slotsFilter) admits(n *Node, _ *query) bool {
	slots, limited := slotsOf(n)
	return !limited || len(n.Workloads) < slots
}

func (slotsFilter) conditions(*query) []string { return []string{"available container slots"} }

func (slotsFilter) reason(n *Node, _ *query) string {
	slots, _ := slotsOf(n)
	if slots <= 0 {
		return "there are no container slots"
	}
	return fmt.Sprintf("no container slot of %d is free", slots)
}

func slotsOf(n *Node) (slots int, limited bool) {
	value := n.Labels[slotsLabel]
	if value == "" {
		return 0, false
	}
	slots, err := strconv.Atoi(value)
	return slots, err == nil
}
