package placement_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/skep/skep/internal/placement"
)

// naive is the same rules a second time, as dumb as can be: everything is a
// list, patterns are regular expressions, and ports are assigned by trying all
// the ways there are. The properties compare the two.
type naive struct {
	strategy   string
	filters    []string
	overcommit int64 // percent
}

func (m naive) place(nodes []*placement.Node, req *placement.Request) []*placement.Node {
	var left []*placement.Node
	for _, n := range nodes {
		if m.accepts(n, req) {
			left = append(left, n)
		}
	}
	for _, filter := range m.filters {
		for _, e := range naiveExpressions(filter, req) {
			var some []*placement.Node
			for _, n := range left {
				if e.Soft && naiveSatisfies(filter, n, e) {
					some = append(some, n)
				}
			}
			if len(some) > 0 {
				left = some
			}
		}
	}
	// An insertion sort with a comparison that is written out.
	var sorted []*placement.Node
	for _, n := range left {
		at := 0
		for at < len(sorted) && !m.before(n, sorted[at], req) {
			at++
		}
		sorted = slices.Insert(sorted, at, n)
	}
	return sorted
}

func (m naive) accepts(n *placement.Node, req *placement.Request) bool {
	for _, filter := range m.filters {
		if !m.passes(filter, n, req) {
			return false
		}
	}
	cpu, memory := m.capacity(n)
	return (req.CPU == 0 || n.UsedCPU+req.CPU <= cpu) && (req.Memory == 0 || n.UsedMemory+req.Memory <= memory)
}

func (m naive) capacity(n *placement.Node) (cpu, memory int64) {
	return n.CPU + n.CPU*m.overcommit/100, n.Memory + n.Memory*m.overcommit/100
}

func (m naive) before(a, b *placement.Node, req *placement.Request) bool {
	weight := func(n *placement.Node) float64 {
		cpu, memory := m.capacity(n)
		w := 0.0
		if req.CPU > 0 {
			w += float64(n.UsedCPU+req.CPU) * 100 / float64(cpu)
		} else {
			w += 100
		}
		if req.Memory > 0 {
			w += float64(n.UsedMemory+req.Memory) * 100 / float64(memory)
		} else {
			w += 100
		}
		if m.strategy == "binpack" {
			return w + 10*float64(n.Health)
		}
		return w - 10*float64(n.Health)
	}
	wa, wb, ca, cb := weight(a), weight(b), len(a.Workloads), len(b.Workloads)
	switch {
	case m.strategy == "random":
	case m.strategy == "spread" && wa != wb:
		return wa < wb
	case m.strategy == "binpack" && wa != wb:
		return wa > wb
	case m.strategy == "spread" && ca != cb:
		return ca < cb
	case m.strategy == "binpack" && ca != cb:
		return ca > cb
	}
	return a.Name < b.Name || a.Name == b.Name && a.ID < b.ID
}

func (m naive) passes(filter string, n *placement.Node, req *placement.Request) bool {
	switch filter {
	case "health":
		return n.Health > 0
	case "port":
		return naivePorts(n, req)
	case "containerslots":
		slots, err := strconv.Atoi(n.Labels["containerslots"])
		return err != nil || len(n.Workloads) < slots
	case "dependency":
		for _, d := range req.Dependencies {
			if !naiveResolves(n, d) {
				return false
			}
		}
		return true
	case "whitelist":
		for _, list := range req.Whitelists {
			if !slices.Contains(list, n.Name) {
				return false
			}
		}
		return true
	default:
		for _, e := range naiveExpressions(filter, req) {
			if !e.Soft && !naiveSatisfies(filter, n, e) {
				return false
			}
		}
		return true
	}
}

func naiveExpressions(filter string, req *placement.Request) []placement.Expression {
	switch filter {
	case "affinity":
		return req.Affinities
	case "constraint":
		return req.Constraints
	}
	return nil
}

// naiveSatisfies gathers all the values that the key can mean, and looks
// whether one matches.
func naiveSatisfies(filter string, n *placement.Node, e placement.Expression) bool {
	var values []string
	switch {
	case filter == "constraint" && e.Key == "node":
		values = []string{n.ID, n.Name}
	case filter == "constraint":
		values = []string{n.Labels[e.Key]}
	case e.Key == "container":
		for _, w := range n.Workloads {
			values = append(values, naiveNames(n, w)...)
			for _, id := range []string{w.ID, w.SwarmID} {
				for end := 12; end <= len(id) && naiveLiteral(e.Value); end++ {
					values = append(values, id[:end])
				}
			}
		}
	case e.Key == "image":
		for _, i := range n.Images {
			hex := strings.ReplaceAll(i.ID, "sha256:", "")
			values = append(values, i.ID, hex)
			for end := 12; end <= len(hex) && naiveLiteral(e.Value); end++ {
				values = append(values, hex[:end], "sha256:"+hex[:end])
			}
			for _, ref := range i.Refs {
				repo := regexp.MustCompile(`(:[^:/@]*)?(@.*)?$`).ReplaceAllString(ref, "")
				values = append(values, ref, repo)
				if naiveLiteral(e.Value) {
					values = append(values, "docker.io/library/"+ref, "docker.io/library/"+repo)
				}
			}
		}
	default:
		for _, w := range n.Workloads {
			values = append(values, w.Labels[e.Key])
		}
	}
	re := naivePattern(e.Value)
	return slices.ContainsFunc(values, re.MatchString) == (e.Operator == placement.Equal)
}

func naiveLiteral(value string) bool { return !strings.Contains(value, "*") && value[0] != '/' }

func naivePattern(value string) *regexp.Regexp {
	if len(value) > 2 && strings.HasPrefix(value, "/") && strings.HasSuffix(value, "/") {
		return regexp.MustCompile(value[1 : len(value)-1])
	}
	return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(value), `\*`, `.*`) + `$`)
}

// naiveNames are the IDs and names of w that are not empty. The nodes of the
// properties have no slash in a name.
func naiveNames(n *placement.Node, w *placement.Workload) []string {
	values := []string{w.ID, w.SwarmID}
	for _, name := range append([]string{w.Name}, w.Aliases...) {
		values = append(values, name)
		if name != "" {
			values = append(values, n.Name+"/"+name)
		}
	}
	return slices.DeleteFunc(values, func(s string) bool { return s == "" })
}

func naiveResolves(n *placement.Node, d placement.Dependency) bool {
	ref := d.Ref
	if d.Kind == "--net" {
		ref = strings.Replace(ref, "container:", "", 1)
	} else {
		ref = strings.Split(ref, ":")[0]
	}
	if ref == "" {
		return false
	}
	var exact, starts []*placement.Workload
	for _, w := range n.Workloads {
		ids := []string{w.ID, w.SwarmID}
		start := slices.ContainsFunc(ids, func(id string) bool { return strings.HasPrefix(id, ref) })
		if start {
			starts = append(starts, w)
		}
		if slices.Contains(naiveNames(n, w), ref) || start && len(ref) >= 12 {
			exact = append(exact, w)
		}
	}
	return len(exact) > 0 || len(starts) == 1
}

type naivePort struct {
	number    int
	ip, proto string
	own       bool
}

// naivePorts tries every way to give the request its ports.
func naivePorts(n *placement.Node, req *placement.Request) bool {
	var taken []naivePort
	var ranges []placement.Port
	for _, w := range n.Workloads {
		if w.HostNetwork != req.HostNetwork {
			continue
		}
		for _, p := range w.Ports {
			if p.First == p.Last {
				taken = append(taken, naivePort{int(p.First), p.HostIP, p.Protocol, false})
			} else if !slices.ContainsFunc(w.Ports, func(q placement.Port) bool {
				return q.First == q.Last && q.First >= p.First && q.First <= p.Last && q.Protocol == p.Protocol
			}) {
				ranges = append(ranges, p)
			}
		}
	}
	// The properties use few ports, and ranges only where all interfaces are
	// the same.
	for last := uint16(0); last < 20; last++ {
		for first := uint16(0); first < 20; first++ {
			for _, r := range ranges {
				if r.First != first || r.Last != last {
					continue
				}
				for number := int(first); number <= int(last); number++ {
					try := naivePort{number, r.HostIP, r.Protocol, false}
					if naiveFree(try, taken) {
						taken = append(taken, try)
						break
					}
				}
			}
		}
	}
	return naiveAssign(req.Ports, taken)
}

func naiveAssign(ports []placement.Port, taken []naivePort) bool {
	if len(ports) == 0 {
		return true
	}
	p := ports[0]
	if p.First == 0 {
		return naiveAssign(ports[1:], taken)
	}
	for number := int(p.First); number <= int(p.Last); number++ {
		try := naivePort{number, p.HostIP, p.Protocol, true}
		if naiveFree(try, taken) && naiveAssign(ports[1:], append(slices.Clone(taken), try)) {
			return true
		}
	}
	return false
}

func naiveFree(p naivePort, taken []naivePort) bool {
	return !slices.ContainsFunc(taken, func(t naivePort) bool {
		wide := func(ip string) bool { return ip == "" || ip == "::" || ip == "0.0.0.0" }
		families := p.own && t.own && p.ip != "" && t.ip != "" && strings.Contains(p.ip, ":") != strings.Contains(t.ip, ":")
		return p.number == t.number && p.proto == t.proto && (p.ip == t.ip || wide(p.ip) || wide(t.ip)) && !families
	})
}
