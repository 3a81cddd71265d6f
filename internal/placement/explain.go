package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	noNodes     = "No nodes available in the cluster"
	unplaceable = "Unable to find a node that satisfies the following conditions"

	maxReasons   = 5   // told apart in an error
	maxCondition = 500 // bytes in one line of an error
	maxShown     = 60  // bytes of one thing that is quoted in a reason
)

// UnplaceableError says that no node will do, and why. It is of the kind
// unavailable (HTTP 503): the same request may succeed later.
type UnplaceableError struct {
	Summary    string   // the first line
	Conditions []string // what was asked, a line for each filter up to the one that refused the last node
	Shortage   string   // if that was for lack of resources: what was asked and what is free
	Reasons    []Reason // why not, over all nodes; the most frequent first
}

// Reason is why some nodes were refused. A node counts once, for the first
// filter that refused it.
type Reason struct {
	Text  string
	Nodes int
}

// Unavailable marks the error for github.com/containerd/errdefs.
func (*UnplaceableError) Unavailable() {}

// Error is a few lines of bounded length: the summary, the conditions in
// brackets, and a sentence with up to five reasons.
func (e *UnplaceableError) Error() string {
	var b strings.Builder
	b.WriteString(e.Summary)
	for _, line := range e.Conditions {
		b.WriteString("\n[" + clip(line, maxCondition) + "]")
	}
	if e.Shortage != "" {
		b.WriteString("\n" + e.Shortage)
	}
	for i, r := range e.Reasons {
		switch i {
		case 0:
			b.WriteString("\n")
		case maxReasons:
			fmt.Fprintf(&b, "; and %d more", len(e.Reasons)-maxReasons)
			return b.String()
		default:
			b.WriteString("; ")
		}
		b.WriteString(r.String())
	}
	return b.String()
}

func (r Reason) String() string {
	return plural(r.Nodes, "node") + ": " + r.Text
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// explain goes through the nodes again, none of which was admitted, and puts
// into words what Place had no need to.
func (p *Policy) explain(nodes []*Node, q *query) error {
	if p.noneHealthy(nodes) {
		return &UnplaceableError{Summary: noHealthyNode}
	}
	stages := append(slices.Clone(p.filters), filter(p.resources))
	counts := make(map[string]int)
	var short []*Node // that passed every filter
	last := 0         // the stage that refused the last node
	for _, n := range nodes {
		at := slices.IndexFunc(stages, func(f filter) bool { return !f.admits(n, q) })
		counts[stages[at].reason(n, q)]++
		last = max(last, at)
		if at == len(p.filters) {
			short = append(short, n)
		}
	}

	e := &UnplaceableError{Summary: unplaceable, Reasons: byFrequency(counts)}
	for _, f := range stages[:last+1] {
		if entries := f.conditions(q); len(entries) > 0 {
			e.Conditions = append(e.Conditions, strings.Join(entries, " "))
		}
	}
	if len(short) > 0 {
		e.Shortage = p.resources.shortage(short, q)
	}
	return e
}

func (p *Policy) noneHealthy(nodes []*Node) bool {
	return slices.Contains(p.filters, filter(healthFilter{})) &&
		!slices.ContainsFunc(nodes, func(n *Node) bool { return healthFilter{}.admits(n, nil) })
}

func byFrequency(counts map[string]int) []Reason {
	reasons := make([]Reason, 0, len(counts))
	for text, nodes := range counts {
		reasons = append(reasons, Reason{Text: text, Nodes: nodes})
	}
	slices.SortFunc(reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(b.Nodes, a.Nodes), strings.Compare(a.Text, b.Text))
	})
	return reasons
}

// shown is something of the user's as a reason quotes it.
func shown(s string) string { return clip(s, maxShown) }

func quoted(s string) string { return strconv.Quote(shown(s)) }

// clip shortens s to at most limit bytes and the sign that it did, without
// cutting a character.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
