package placement_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/skep/skep/internal/placement"
)

// benchNodes are count machines with 30 containers each, of which five publish
// a port, and five images.
func benchNodes(count int) []*placement.Node {
	nodes := make([]*placement.Node, count)
	for i := range nodes {
		n := node(fmt.Sprintf("node-%05d", i),
			machine(64*core, 256*gib),
			used(int64(i%60)*core, int64(i%200)*gib),
			label("rack", fmt.Sprintf("r%d", i%20)),
			label("disk", []string{"ssd", "hdd"}[i%2]),
			label("ostype", "linux"),
			label("containerslots", "1000"),
			label("kernelversion", "6.1.0-18-amd64"),
		)
		for j := range 30 {
			w := container(fmt.Sprintf("web-%d-%d", i, j), labelled("app", fmt.Sprintf("app-%d", j)))
			w.SwarmID = fmt.Sprintf("%064x", i*100+j)
			if j < 5 {
				w.Ports = []placement.Port{port(uint16(8000 + j))}
			}
			n.Workloads = append(n.Workloads, w)
		}
		for j := range 5 {
			n.Images = append(n.Images, &placement.Image{
				ID:   fmt.Sprintf("sha256:%064x", j),
				Refs: []string{fmt.Sprintf("reg.example/team/image-%d:1.0", j)},
			})
		}
		nodes[i] = n
	}
	// Snapshots do not come in the order in which they would be ranked.
	rand.New(rand.NewPCG(1, 2)).Shuffle(count, func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes
}

func BenchmarkPlace(b *testing.B) {
	requests := []struct {
		name     string
		strategy string
		req      placement.Request
	}{
		{"nothing_asked", "spread", placement.Request{}},
		{"resources", "spread", placement.Request{CPU: core, Memory: gib}},
		{"resources_binpack", "binpack", placement.Request{CPU: core, Memory: gib}},
		{"constraints", "spread", placement.Request{
			CPU: core, Memory: gib,
			Constraints: expressions(b, "ostype==linux", "disk==ssd", "rack!=r1*", "kernelversion==~6.*"),
		}},
		{"constraints_and_port", "spread", placement.Request{
			CPU: core, Memory: gib, Ports: []placement.Port{port(80), port(443)},
			Constraints: expressions(b, "ostype==linux", "disk==ssd"),
		}},
		{"affinities", "spread", placement.Request{
			CPU: core, Memory: gib, Affinities: expressions(b, "container!=db*", "image==reg.example/team/image-4", "app!=bank"),
		}},
		{"regexp", "spread", placement.Request{Constraints: expressions(b, "node==/^node-[0-9]*[02468]$/")}},
		{"port_range", "spread", placement.Request{Ports: []placement.Port{portRange(8000, 8010)}}},
		{"ten_thousand_ports", "spread", placement.Request{Ports: manyPorts(10000)}},
		{"refused_at_once", "spread", placement.Request{Constraints: expressions(b, "rack==nowhere")}},
	}
	for _, count := range []int{10, 1000, 10000} {
		nodes := benchNodes(count)
		for _, tc := range requests {
			p := policy(b, tc.strategy)
			b.Run(fmt.Sprintf("%s/nodes=%d", tc.name, count), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = p.Place(nodes, &tc.req)
				}
			})
			b.Run(fmt.Sprintf("%s_best/nodes=%d", tc.name, count), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, _ = p.Best(nodes, &tc.req)
				}
			})
		}
	}
}

func manyPorts(count int) []placement.Port {
	ports := make([]placement.Port, count)
	for i := range ports {
		ports[i] = udp(port(uint16(20000 + i)))
	}
	return ports
}

func BenchmarkParseExpression(b *testing.B) {
	for _, s := range []string{"rack==a", "rack==~a*b", "node!=/n[12]/"} {
		b.Run(s, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = placement.ParseExpression(s)
			}
		})
	}
}
