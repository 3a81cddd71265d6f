package placement_test

import (
	"testing"

	"github.com/skep/skep/internal/placement"
)

const (
	core = int64(1e9)
	gib  = int64(1) << 30
	mib  = int64(1) << 20
)

// node is a healthy machine of 4 cores and 8 GiB, changed by each of with.
func node(name string, with ...func(*placement.Node)) *placement.Node {
	n := &placement.Node{
		ID: "id-of-" + name, Name: name, Health: 100,
		CPU: 4 * core, Memory: 8 * gib,
	}
	for _, change := range with {
		change(n)
	}
	return n
}

func health(h int) func(*placement.Node) { return func(n *placement.Node) { n.Health = h } }

func label(key, value string) func(*placement.Node) {
	return func(n *placement.Node) {
		if n.Labels == nil {
			n.Labels = map[string]string{}
		}
		n.Labels[key] = value
	}
}

func used(cpu, memory int64) func(*placement.Node) {
	return func(n *placement.Node) { n.UsedCPU, n.UsedMemory = cpu, memory }
}

func machine(cpu, memory int64) func(*placement.Node) {
	return func(n *placement.Node) { n.CPU, n.Memory = cpu, memory }
}

func holding(ws ...*placement.Workload) func(*placement.Node) {
	return func(n *placement.Node) { n.Workloads = append(n.Workloads, ws...) }
}

func images(is ...*placement.Image) func(*placement.Node) {
	return func(n *placement.Node) { n.Images = append(n.Images, is...) }
}

func container(name string, with ...func(*placement.Workload)) *placement.Workload {
	w := &placement.Workload{ID: "id-of-container-" + name, Name: name}
	for _, change := range with {
		change(w)
	}
	return w
}

func publishing(ports ...placement.Port) func(*placement.Workload) {
	return func(w *placement.Workload) { w.Ports = append(w.Ports, ports...) }
}

func onHostNetwork(w *placement.Workload) { w.HostNetwork = true }

func labelled(key, value string) func(*placement.Workload) {
	return func(w *placement.Workload) { w.Labels = map[string]string{key: value} }
}

func port(number uint16) placement.Port {
	return placement.Port{First: number, Last: number, Protocol: "tcp"}
}

func portRange(first, last uint16) placement.Port {
	return placement.Port{First: first, Last: last, Protocol: "tcp"}
}

func on(ip string, p placement.Port) placement.Port {
	p.HostIP = ip
	return p
}

func udp(p placement.Port) placement.Port {
	p.Protocol = "udp"
	return p
}

func policy(t testing.TB, strategy string, filters ...string) *placement.Policy {
	t.Helper()
	p, err := placement.NewPolicy(strategy, filters, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func expressions(t testing.TB, ss ...string) []placement.Expression {
	t.Helper()
	es, err := placement.ParseExpressions(ss)
	if err != nil {
		t.Fatal(err)
	}
	return es
}

// admits reports whether n alone will do, under all filters.
func admits(t testing.TB, n *placement.Node, req *placement.Request) bool {
	t.Helper()
	got, err := policy(t, "spread").Place([]*placement.Node{n}, req)
	if (err == nil) != (len(got) == 1) {
		t.Fatalf("Place = %v, %v: want either one node or an error", names(got), err)
	}
	return err == nil
}

func place(t testing.TB, p *placement.Policy, nodes []*placement.Node, req *placement.Request) []string {
	t.Helper()
	got, err := p.Place(nodes, req)
	if err != nil {
		t.Fatal(err)
	}
	return names(got)
}

func names(nodes []*placement.Node) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.Name
	}
	return out
}
