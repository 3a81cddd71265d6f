package placement

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Policy is how a cluster places: which filters it asks, in which order, what
// it prefers, and how far it overcommits. It is immutable and safe for
// concurrent use.
type Policy struct {
	filters    []filter // as configured
	resources  resourceFilter
	quickest   []filter // filters and resources, the cheap ones first
	ranker     ranker
	overcommit overcommit
}

// NewPolicy makes a policy.
//
// The strategy is "spread", "binpack" (or "binpacking", another name of it) or
// "random". The filters are used in the order given; nil or empty means all of
// them, as health, port, containerslots, dependency, affinity, constraint,
// whitelist; naming one twice changes nothing. Overcommit is by how much more
// is promised than a machine has, as a share of it: 0.05 is 5 % more. It may be
// negative, down to but without -1.
//
// Its errors are invalid parameters.
func NewPolicy(strategy string, filters []string, overcommitted float64) (*Policy, error) {
	if math.IsNaN(overcommitted) || math.IsInf(overcommitted, 0) {
		return nil, policyError(fmt.Sprintf("swarm.overcommit should be a finite number, %f is invalid", overcommitted))
	}
	if overcommitted <= -1 {
		return nil, policyError(fmt.Sprintf("swarm.overcommit should be larger than -1, %f is invalid", overcommitted))
	}
	o := overcommit(overcommitted)
	p := &Policy{resources: resourceFilter{o}, overcommit: o}
	switch strategy {
	case "spread":
		p.ranker = spread{o}
	case "binpack", "binpacking":
		p.ranker = binpack{o}
	case "random":
		p.ranker = random{}
	default:
		return nil, policyError(fmt.Sprintf("strategy not supported: %q (use spread, binpack or random)", strategy))
	}
	if len(filters) == 0 {
		p.filters = knownFilters[:]
	}
	for _, name := range filters {
		f, err := filterNamed(name)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(p.filters, f) {
			p.filters = append(p.filters, f)
		}
	}
	p.quickest = p.byCost()
	return p, nil
}

// byCost puts those that look at the node itself before those that go through
// its containers. A node must pass them all, so for the answer the order is
// all one; where it is not, for soft expressions and in what an error says, it
// is the configured one that counts.
func (p *Policy) byCost() []filter {
	all := []filter{
		healthFilter{}, whitelistFilter{}, constraintFilter{}, slotsFilter{}, p.resources,
		dependencyFilter{}, portFilter{}, affinityFilter{},
	}
	return slices.DeleteFunc(all, func(f filter) bool {
		return f != filter(p.resources) && !slices.Contains(p.filters, f)
	})
}

func filterNamed(name string) (filter, error) {
	for _, f := range knownFilters {
		if f.name() == name {
			return f, nil
		}
	}
	known := filterNames(knownFilters[:])
	last := len(known) - 1
	return nil, policyError(fmt.Sprintf("filter not supported: %q (use %s or %s)", name, strings.Join(known[:last], ", "), known[last]))
}

// Strategy returns the strategy's name: "spread", "binpack" or "random".
func (p *Policy) Strategy() string { return p.ranker.name() }

// Filters returns the names of the filters in the order in which they are
// asked. The slice is the caller's.
func (p *Policy) Filters() []string { return filterNames(p.filters) }

// Capacity returns what may be reserved on n in all, in nano-CPUs and bytes:
// what the machine has, and the overcommit. It saturates instead of
// overflowing, and is never below 0.
func (p *Policy) Capacity(n *Node) (cpu, memory int64) { return p.overcommit.capacity(n) }

func filterNames(fs []filter) []string {
	names := make([]string, len(fs))
	for i, f := range fs {
		names[i] = f.name()
	}
	return names
}

// policyError is a mistake in the configuration.
type policyError string

func (e policyError) Error() string { return string(e) }

// InvalidParameter marks the error for github.com/containerd/errdefs.
func (policyError) InvalidParameter() {}
