package placement

import "slices"

// portFilter keeps the nodes on which every host port asked for is free. A
// container that publishes ports is compared with those that do, and one on
// the host's network with those that are on it too.
//
// Ports of one request do not collide with each other either. Where it asks
// for ranges, each is given the lowest port that is left, those that end first
// being served first: see compareRanges.
type portFilter struct{}

func (portFilter) name() string { return "port" }

func (portFilter) admits(n *Node, q *query) bool {
	if len(q.fixed) == 0 && len(q.ranges) == 0 {
		return true
	}
	if q.conflict != nil {
		return false
	}
	if len(q.ranges) > 0 {
		return unavailable(n, q) == nil
	}
	// Single ports only, on both sides, is nearly always the case: then nothing
	// has to be assigned, and each port on the node is looked up among those
	// wanted.
	for _, w := range n.Workloads {
		if w.HostNetwork != q.HostNetwork {
			continue
		}
		for i := range w.Ports {
			switch p := &w.Ports[i]; {
			case p.any():
			case !p.fixed():
				return unavailable(n, q) == nil
			case q.wanted.clash(p.claim(p.First)):
				return false
			}
		}
	}
	return true
}

// unavailable returns the first port of the request that cannot be had on n.
func unavailable(n *Node, q *query) *Port {
	q.reserve(n)
	for i := range q.fixed {
		if q.taken.clash(q.wanted[i]) {
			return &q.fixed[i]
		}
	}
	if len(q.ranges) == 0 {
		return nil
	}
	q.taken = append(q.taken, q.wanted...)
	slices.SortFunc(q.taken, compareClaims)
	for i := range q.ranges {
		var ok bool
		if q.taken, ok = q.taken.take(&q.ranges[i], true); !ok {
			return &q.ranges[i]
		}
	}
	return nil
}

// reserve sets q.taken to the ports that containers on n have. What a
// container has asked for as a range and was not given yet is counted as the
// engine would give it: the lowest port that is free then.
func (q *query) reserve(n *Node) {
	q.taken, q.pending = q.taken[:0], q.pending[:0]
	for _, w := range n.Workloads {
		if w.HostNetwork != q.HostNetwork {
			continue
		}
		for i := range w.Ports {
			switch p := &w.Ports[i]; {
			case p.any():
			case p.fixed():
				q.taken = append(q.taken, p.claim(p.First))
			case !w.wasGiven(p):
				q.pending = append(q.pending, *p)
			}
		}
	}
	slices.SortFunc(q.taken, compareClaims)
	slices.SortFunc(q.pending, compareRanges)
	for i := range q.pending {
		q.taken, _ = q.taken.take(&q.pending[i], false)
	}
}

// wasGiven reports whether one of the container's own ports is out of the
// range p, so that the range is settled.
func (w *Workload) wasGiven(p *Port) bool {
	for i := range w.Ports {
		given := &w.Ports[i]
		if given.fixed() && p.First <= given.First && given.First <= p.last() && given.claim(0).clashes(p.claim(0)) {
			return true
		}
	}
	return false
}

func (portFilter) conditions(q *query) []string {
	var entries []string
	for _, p := range q.Ports {
		if p.any() {
			continue
		}
		entry, mode := p.numbers(), " (Bridge mode)"
		if q.HostNetwork {
			mode = " (Host mode)"
		}
		// Standalone Swarm named the protocol in host mode only. In bridge mode
		// tcp stays unsaid, so that scripts which read this line go on working.
		if protocol := p.protocol(); q.HostNetwork || protocol != "tcp" {
			entry += "/" + protocol
		}
		entries = append(entries, "port "+entry+mode)
	}
	return entries
}

func (portFilter) reason(n *Node, q *query) string {
	if q.conflict != nil {
		return "port " + shown(q.conflict.String()) + " is asked for more than once"
	}
	p := unavailable(n, q)
	if p.fixed() {
		return "port " + shown(p.String()) + " is in use"
	}
	return "no port of " + shown(p.String()) + " is free"
}
