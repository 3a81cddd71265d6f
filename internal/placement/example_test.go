package placement_test

import (
	"fmt"

	"github.com/skep/skep/internal/placement"
)

// The error is the one that docs/placement.md explains.
func Example() {
	policy, err := placement.NewPolicy("spread", nil, 0.05)
	if err != nil {
		panic(err)
	}
	constraints, err := placement.ParseExpressions([]string{"disk==ssd", "rack==~r1"})
	if err != nil {
		panic(err)
	}
	request := &placement.Request{
		CPU: 2e9, Memory: 4 << 30,
		Ports:       []placement.Port{{First: 80, Last: 80, Protocol: "tcp"}},
		Constraints: constraints,
	}
	web := &placement.Workload{Name: "web", Ports: request.Ports}
	machine := func(name, rack, disk string, ws ...*placement.Workload) *placement.Node {
		return &placement.Node{
			ID: name, Name: name, Health: 100, CPU: 4e9, Memory: 8 << 30, Workloads: ws,
			Labels: map[string]string{"rack": rack, "disk": disk},
		}
	}
	nodes := []*placement.Node{
		machine("node-1", "r1", "hdd"), machine("node-2", "r2", "ssd"), machine("node-3", "r2", "ssd"),
	}

	ranked, err := policy.Place(nodes, request)
	fmt.Println(len(ranked), ranked[0].Name, err)

	nodes[1] = machine("node-2", "r2", "ssd", web)
	nodes[2] = machine("node-3", "r2", "ssd", web)
	_, err = policy.Place(nodes, request)
	fmt.Println(err)

	nodes[2] = machine("node-3", "r2", "ssd")
	nodes[2].UsedCPU, nodes[2].UsedMemory = 3e9, 6<<30
	_, err = policy.Place(nodes, request)
	fmt.Println(err)

	// Output:
	// 2 node-2 <nil>
	// Unable to find a node that satisfies the following conditions
	// [port 80 (Bridge mode)]
	// [available container slots]
	// [disk==ssd]
	// 2 nodes: port 80/tcp is in use; 1 node: disk is "hdd", not ssd
	// Unable to find a node that satisfies the following conditions
	// [port 80 (Bridge mode)]
	// [available container slots]
	// [disk==ssd]
	// no resources available to schedule container: asked for 2 CPUs and 4 GiB of memory, the most that is free on a node is 1.2 CPUs (node-3) and 2.4 GiB of memory (node-3)
	// 1 node: disk is "hdd", not ssd; 1 node: not enough free CPU and memory; 1 node: port 80/tcp is in use
}
