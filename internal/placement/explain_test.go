package placement_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/placement"
)

func TestUnplaceableError_readsAs(t *testing.T) {
	web := holding(container("web", publishing(port(80))))
	dns := holding(container("dns", onHostNetwork, publishing(udp(port(53)))))

	for _, tc := range []struct {
		name    string
		filters []string
		nodes   []*placement.Node
		req     placement.Request
		want    string
	}{
		{
			name: "no nodes",
			want: "No nodes available in the cluster",
		},
		{
			name:  "no healthy node",
			nodes: []*placement.Node{node("a", health(0)), node("b", health(0))},
			req:   placement.Request{CPU: 100 * core, Constraints: expressions(t, "rack==zz")},
			want:  "No healthy node available in the cluster",
		},
		{
			name:    "no healthy node, whatever comes first",
			filters: []string{"constraint", "health"},
			nodes:   []*placement.Node{node("a", health(0))},
			req:     placement.Request{Constraints: expressions(t, "rack==zz")},
			want:    "No healthy node available in the cluster",
		},
		{
			name:    "no healthy node where health is not asked",
			filters: []string{"constraint"},
			nodes:   []*placement.Node{node("a", health(0))},
			req:     placement.Request{Constraints: expressions(t, "rack==zz")},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[rack==zz]" +
				"\n1 node: rack is not set",
		},
		{
			name:  "a port in use on each node",
			nodes: []*placement.Node{node("a", web), node("b", web)},
			req:   placement.Request{Ports: []placement.Port{port(80)}},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[port 80 (Bridge mode)]" +
				"\n2 nodes: port 80/tcp is in use",
		},
		{
			name:  "ports of the host's network",
			nodes: []*placement.Node{node("a", dns)},
			req:   placement.Request{HostNetwork: true, Ports: []placement.Port{port(80), udp(port(53))}},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[port 80/tcp (Host mode) port 53/udp (Host mode)]" +
				"\n1 node: port 53/udp is in use",
		},
		{
			name:  "ranges, interfaces and protocols",
			nodes: []*placement.Node{node("a", web), node("b", holding(container("x", publishing(on("::1", port(81))))))},
			req: placement.Request{Ports: []placement.Port{
				{}, udp(port(53)), on("127.0.0.1", portRange(80, 80)), on("::1", port(81)),
			}},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[port 53/udp (Bridge mode) port 80 (Bridge mode) port 81 (Bridge mode)]" +
				"\n1 node: port 127.0.0.1:80/tcp is in use; 1 node: port [::1]:81/tcp is in use",
		},
		{
			name:  "a range that is used up",
			nodes: []*placement.Node{node("a", holding(container("x", publishing(port(80), port(81)))))},
			req:   placement.Request{Ports: []placement.Port{portRange(80, 81)}},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[port 80-81 (Bridge mode)]" +
				"\n1 node: no port of 80-81/tcp is free",
		},
		{
			name:  "a port asked for twice",
			nodes: []*placement.Node{node("a"), node("b", web)},
			req:   placement.Request{Ports: []placement.Port{port(80), port(80)}},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[port 80 (Bridge mode) port 80 (Bridge mode)]" +
				"\n2 nodes: port 80/tcp is asked for more than once",
		},
		{
			name:  "no container slots, after a port that would be free",
			nodes: []*placement.Node{node("a", label("containerslots", "1"), web), node("b", label("containerslots", "0"))},
			req:   placement.Request{Ports: []placement.Port{port(81)}},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[port 81 (Bridge mode)]" +
				"\n[available container slots]" +
				"\n1 node: no container slot of 1 is free; 1 node: there are no container slots",
		},
		{
			name:  "a dependency",
			nodes: []*placement.Node{node("a"), node("b")},
			req:   placement.Request{Dependencies: []placement.Dependency{{Kind: "--link", Ref: "x:y"}, {Kind: "--volumes-from", Ref: "d:ro"}, {Kind: "--net", Ref: "container:z"}}},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[available container slots]" +
				"\n[--link=x:y --volumes-from=d:ro --net=container:z]" +
				"\n2 nodes: container x is not there, which --link=x:y needs",
		},
		{
			name: "affinities",
			nodes: []*placement.Node{
				node("a", holding(container("x"))),
				node("b"),
				node("c", images(&placement.Image{ID: "sha256:1", Refs: []string{"busybox:1"}})),
				node("d", images(&placement.Image{ID: "sha256:1", Refs: []string{"busybox:1"}}), holding(container("y", labelled("app", "shop")))),
				node("e", images(&placement.Image{ID: "sha256:2", Refs: []string{"busybox:1", "old:1"}})),
			},
			req: placement.Request{Affinities: expressions(t, "container!=x", "image==busybox", "image!=old", "app!=shop", "app==bank", "soft==~very")},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[available container slots]" +
				"\n[container!=x (soft=false) image==busybox (soft=false) image!=old (soft=false) app!=shop (soft=false) app==bank (soft=false)]" +
				"\n1 node: there is a container with app shop, which is excluded" +
				"; 1 node: there is a container x, which is excluded" +
				"; 1 node: there is an image old, which is excluded" +
				"; 1 node: there is no container with app bank" +
				"; 1 node: there is no image busybox",
		},
		{
			name: "constraints",
			nodes: []*placement.Node{
				node("a", label("rack", "b")),
				node("b", label("rack", "b")),
				node("c"),
				node("d", label("rack", "zz"), label("ostype", "windows")),
				node("e", label("rack", "zz"), label("ostype", "linux"), label("old", "yes")),
				node("f", label("rack", "zz"), label("ostype", "linux")),
			},
			req: placement.Request{Constraints: expressions(t, "rack==zz", "disk==~ssd", "ostype==linux", "old!=y*", "gpu!=/^$/")},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[available container slots]" +
				"\n[rack==zz ostype==linux old!=y* gpu!=/^$/]" +
				"\n2 nodes: rack is \"b\", not zz" +
				"; 1 node: gpu is not set, which gpu!=/^$/ excludes" +
				"; 1 node: old is \"yes\", which old!=y* excludes" +
				"; 1 node: ostype is \"windows\", not linux" +
				"; 1 node: rack is not set",
		},
		{
			name:  "a node by name",
			nodes: []*placement.Node{node("a"), node("b"), node("c")},
			req:   placement.Request{Constraints: expressions(t, "node!=a", "node==z")},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[available container slots]" +
				"\n[node!=a node==z]" +
				"\n2 nodes: node is not z; 1 node: node is a, which is excluded",
		},
		{
			name:  "a whitelist",
			nodes: []*placement.Node{node("a"), node("b")},
			req:   placement.Request{Whitelists: [][]string{{"a", "c"}, {"b"}}},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[available container slots]" +
				"\n[node==a|c node==b]" +
				"\n2 nodes: not in the whitelist",
		},
		{
			name:  "different reasons, of filters up to the last that refused",
			nodes: []*placement.Node{node("a", web), node("b", web), node("c", label("rack", "b")), node("d", health(0))},
			req: placement.Request{
				Ports:       []placement.Port{port(80)},
				Constraints: expressions(t, "rack==zz"),
				Whitelists:  [][]string{{"nobody"}},
			},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[port 80 (Bridge mode)]" +
				"\n[available container slots]" +
				"\n[rack==zz]" +
				"\n2 nodes: port 80/tcp is in use; 1 node: not healthy; 1 node: rack is \"b\", not zz",
		},
		{
			name: "more reasons than anyone reads",
			nodes: []*placement.Node{
				node("1", label("rack", "1")), node("2", label("rack", "2")), node("3", label("rack", "3")), node("4", label("rack", "4")),
				node("5", label("rack", "5")), node("6", label("rack", "6")), node("7", label("rack", "7")), node("8", label("rack", "7")),
			},
			req: placement.Request{Constraints: expressions(t, "rack==zz")},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[available container slots]" +
				"\n[rack==zz]" +
				"\n2 nodes: rack is \"7\", not zz; 1 node: rack is \"1\", not zz; 1 node: rack is \"2\", not zz" +
				"; 1 node: rack is \"3\", not zz; 1 node: rack is \"4\", not zz; and 2 more",
		},
		{
			name:    "one more reason",
			filters: []string{"constraint"},
			nodes: []*placement.Node{
				node("1", label("rack", "1")), node("2", label("rack", "2")), node("3", label("rack", "3")),
				node("4", label("rack", "4")), node("5", label("rack", "5")), node("6", label("rack", "6")),
			},
			req: placement.Request{Constraints: expressions(t, "rack==zz")},
			want: "Unable to find a node that satisfies the following conditions" +
				"\n[rack==zz]" +
				"\n1 node: rack is \"1\", not zz; 1 node: rack is \"2\", not zz; 1 node: rack is \"3\", not zz" +
				"; 1 node: rack is \"4\", not zz; 1 node: rack is \"5\", not zz; and 1 more",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := policy(t, "spread", tc.filters...).Place(tc.nodes, &tc.req)
			checkText(t, err, tc.want)
			var unplaceable *placement.UnplaceableError
			if !errors.As(err, &unplaceable) || !errdefs.IsUnavailable(err) {
				t.Errorf("%T is not an UnplaceableError that is unavailable", err)
			}
		})
	}
}

func TestUnplaceableError_saysWhatIsFree(t *testing.T) {
	for _, tc := range []struct {
		name  string
		nodes []*placement.Node
		req   placement.Request
		want  string
	}{
		{
			name:  "CPU",
			nodes: []*placement.Node{node("a", used(core, 0)), node("b", used(5*core/2, 0))},
			req:   placement.Request{CPU: 7 * core / 2},
			want: "\nno resources available to schedule container: asked for 3.5 CPUs, the most that is free on a node is 3 CPUs (a)" +
				"\n2 nodes: not enough free CPU",
		},
		{
			name:  "one CPU of none",
			nodes: []*placement.Node{node("b", used(4*core, 0)), node("a", used(9*core, 0))},
			req:   placement.Request{CPU: core},
			want: "\nno resources available to schedule container: asked for 1 CPU, the most that is free on a node is 0 CPUs (b)" +
				"\n2 nodes: not enough free CPU",
		},
		{
			name:  "memory",
			nodes: []*placement.Node{node("b", used(0, 7*gib)), node("a", used(0, 7*gib))},
			req:   placement.Request{Memory: 1536 * mib},
			want: "\nno resources available to schedule container: asked for 1.5 GiB of memory, the most that is free on a node is 1 GiB of memory (a)" +
				"\n2 nodes: not enough free memory",
		},
		{
			name:  "memory that misses by a byte",
			nodes: []*placement.Node{node("a")},
			req:   placement.Request{Memory: 8*gib + 1},
			want: "\nno resources available to schedule container: asked for 8589934593 B of memory, the most that is free on a node is 8589934592 B of memory (a)" +
				"\n1 node: not enough free memory",
		},
		{
			name:  "both, on no node together",
			nodes: []*placement.Node{node("a", used(3*core, 0)), node("b", used(0, 7*gib)), node("c", used(4*core, 8*gib))},
			req:   placement.Request{CPU: 2 * core, Memory: 512*mib + 2*gib},
			want: "\nno resources available to schedule container: asked for 2 CPUs and 2.5 GiB of memory, the most that is free on a node is 4 CPUs (b) and 8 GiB of memory (a), but no node has both" +
				"\n1 node: not enough free CPU; 1 node: not enough free CPU and memory; 1 node: not enough free memory",
		},
		{
			name:  "only of the nodes that would do otherwise",
			nodes: []*placement.Node{node("a", health(0)), node("b", used(3*core, 0))},
			req:   placement.Request{CPU: 2 * core},
			want: "\nno resources available to schedule container: asked for 2 CPUs, the most that is free on a node is 1 CPU (b)" +
				"\n1 node: not enough free CPU; 1 node: not healthy",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := policy(t, "binpack").Place(tc.nodes, &tc.req)
			checkText(t, err, "Unable to find a node that satisfies the following conditions\n[available container slots]"+tc.want)
		})
	}
}

func checkText(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("placed")
	}
	if err.Error() != want {
		t.Errorf("got\n%s\nwant\n%s", err, want)
	}
}

func TestUnplaceableError_staysShort(t *testing.T) {
	long := strings.Repeat("ü", 5000)
	var nodes []*placement.Node
	for i := range 1000 {
		nodes = append(nodes, node(fmt.Sprint(i), label("rack", long+fmt.Sprint(i)), label(strings.Repeat("k", 5000), fmt.Sprint(i, long))))
	}
	var list []string
	for range 1000 {
		list = append(list, long)
	}
	for name, req := range map[string]*placement.Request{
		"constraints":  {Constraints: expressions(t, "rack=="+strings.Repeat("a", 5000))},
		"keys":         {Constraints: expressions(t, strings.Repeat("k", 5000)+"==a")},
		"affinities":   {Affinities: expressions(t, strings.Repeat("k", 5000)+"=="+strings.Repeat("a", 5000))},
		"dependencies": {Dependencies: []placement.Dependency{{Kind: "--link", Ref: long}}},
		"whitelists":   {Whitelists: [][]string{list}},
		"protocols":    {Ports: []placement.Port{{First: 1, Protocol: long}, {First: 1, Protocol: long}}},
	} {
		_, err := policy(t, "spread").Place(nodes, req)
		if err == nil {
			t.Errorf("%s: placed", name)
		} else if text := err.Error(); len(text) > 3000 || strings.ContainsRune(text, '\ufffd') {
			t.Errorf("%s: %d bytes: %s", name, len(text), text)
		}
	}
}
