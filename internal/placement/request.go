package placement

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// Request is a container that looks for a node. It is not changed by
// [Policy.Place].
type Request struct {
	Name, SwarmID string // who asks; no filter looks at them

	CPU, Memory int64 // to reserve, in nano-CPUs and bytes; 0 or less = nothing asked

	HostNetwork bool
	Ports       []Port // host ports to publish; with HostNetwork, the ports it exposes

	Dependencies            []Dependency
	Affinities, Constraints []Expression
	Whitelists              [][]string // names of the nodes allowed; a node must be in each list

	Rand *rand.Rand // counts only for the random strategy; nil = by name
}

// Dependency is a container that must be on the same node.
type Dependency struct {
	Kind string // the option that asks for it: --link, --volumes-from, --net
	Ref  string // what the option says: db:alias, data:ro, container:web
}

// String writes the dependency as the user did.
func (d Dependency) String() string { return d.Kind + "=" + d.Ref }

// target is the container that Ref speaks of: links carry an alias and
// volumes-from a mode behind it; what shares a namespace (--net, --ipc, --pid)
// says "container:" before it.
func (d Dependency) target() string {
	switch strings.TrimLeft(d.Kind, "-") {
	case "link", "volumes-from":
		name, _, _ := strings.Cut(d.Ref, ":")
		return name
	default:
		return strings.TrimPrefix(d.Ref, "container:")
	}
}

// query is a request prepared once and put to many nodes. It belongs to one
// call of Place.
type query struct {
	*Request

	affinities, constraints []Expression // compiled; hard and soft
	seed                    uint64       // drawn from Rand, if there is one

	fixed    []Port // of Ports, by number
	wanted   claims // of fixed, one for one
	conflict *Port  // one of fixed that is asked for more than once
	ranges   []Port // of Ports, in the order in which to hand them out

	taken   claims // scratch: what is taken on the node at hand
	pending []Port // scratch: ranges there that nothing was given from yet
}

func newQuery(req *Request) (*query, error) {
	q := &query{Request: req}
	var err error
	if q.affinities, err = prepare(req.Affinities, affinityValue); err != nil {
		return nil, err
	}
	if q.constraints, err = prepare(req.Constraints, constraintValue); err != nil {
		return nil, err
	}
	if req.Rand != nil {
		q.seed = req.Rand.Uint64()
	}
	q.preparePorts()
	return q, nil
}

// prepare compiles the expressions that are not yet. It returns es itself if
// there is nothing to do, which is the rule.
func prepare(es []Expression, rewrite func(Expression) string) ([]Expression, error) {
	copied := false
	for i, e := range es {
		done, err := e.ready(rewrite(e))
		if err != nil {
			return nil, err
		}
		if done.pattern == e.pattern {
			continue
		}
		if !copied {
			es, copied = slices.Clone(es), true
		}
		es[i] = done
	}
	return es, nil
}

func (q *query) preparePorts() {
	if len(q.Ports) == 0 {
		return
	}
	q.fixed = make([]Port, 0, len(q.Ports))
	for _, p := range q.Ports {
		switch {
		case p.any():
		case p.fixed():
			q.fixed = append(q.fixed, p)
		default:
			q.ranges = append(q.ranges, p)
		}
	}
	slices.SortFunc(q.fixed, compareRanges)
	slices.SortFunc(q.ranges, compareRanges)

	q.wanted = make(claims, len(q.fixed))
	for i := range q.fixed {
		q.wanted[i] = q.fixed[i].claim(q.fixed[i].First)
		q.wanted[i].own = true
		for j := i - 1; q.conflict == nil && j >= 0 && q.wanted[j].port == q.wanted[i].port; j-- {
			if q.wanted[j].clashes(q.wanted[i]) {
				q.conflict = &q.fixed[i]
			}
		}
	}
}
