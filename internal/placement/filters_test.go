package placement_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/placement"
)

func TestPortFilter(t *testing.T) {
	web := node("n", holding(container("web", publishing(port(80), on("10.0.0.1", port(443)), portRange(8000, 8001)))))
	host := node("n", holding(container("dns", onHostNetwork, publishing(port(53)))))
	given := node("n", holding(container("web", publishing(portRange(8000, 8001), port(8001)))))

	for _, tc := range []struct {
		name string
		node *placement.Node
		want bool
		req  placement.Request
	}{
		{"a port in use is refused", web, false, placement.Request{Ports: []placement.Port{port(80)}}},
		{"another port is free", web, true, placement.Request{Ports: []placement.Port{port(81)}}},
		{"another protocol is free", web, true, placement.Request{Ports: []placement.Port{udp(port(80))}}},
		{"a protocol in capitals is the same", web, false, placement.Request{Ports: []placement.Port{{First: 80, Last: 80, Protocol: "TCP"}}}},
		{"no protocol means tcp", web, false, placement.Request{Ports: []placement.Port{{First: 80, Last: 80}}}},
		{"one interface clashes with all", web, false, placement.Request{Ports: []placement.Port{on("10.0.0.1", port(80))}}},
		{"all interfaces clash with one", web, false, placement.Request{Ports: []placement.Port{port(443)}}},
		{"0.0.0.0 clashes with one", web, false, placement.Request{Ports: []placement.Port{on("0.0.0.0", port(443))}}},
		{":: clashes with one", web, false, placement.Request{Ports: []placement.Port{on("::", port(443))}}},
		{"the same interface clashes", web, false, placement.Request{Ports: []placement.Port{on("10.0.0.1", port(443))}}},
		{"two interfaces go together", web, true, placement.Request{Ports: []placement.Port{on("10.0.0.2", port(443))}}},
		{"any free port is always free", web, true, placement.Request{Ports: []placement.Port{{}, {}}}},
		{"a range needs one free port", web, true, placement.Request{Ports: []placement.Port{portRange(79, 80)}}},
		{"a range that is all in use is refused", web, false, placement.Request{Ports: []placement.Port{portRange(80, 80)}}},
		{"a range backwards is its first port", web, false, placement.Request{Ports: []placement.Port{{First: 80, Last: 10}}}},
		{"the last port of all ends a range", web, true, placement.Request{Ports: []placement.Port{portRange(65535, 65535), portRange(65534, 65535)}}},

		{"a range on the node counts as its lowest port", web, false, placement.Request{Ports: []placement.Port{port(8000)}}},
		{"and leaves the others", web, true, placement.Request{Ports: []placement.Port{port(8001)}}},
		{"a range beside a range gets the next port", web, true, placement.Request{Ports: []placement.Port{portRange(8000, 8001)}}},
		{"until there is none", web, false, placement.Request{Ports: []placement.Port{portRange(8000, 8001), portRange(8000, 8001)}}},
		{"a range on the node is settled by the port it was given", given, true, placement.Request{Ports: []placement.Port{port(8000)}}},
		{"which is then in use", given, false, placement.Request{Ports: []placement.Port{port(8001)}}},

		{"two ports of one request must differ", node("n"), false, placement.Request{Ports: []placement.Port{port(80), port(80)}}},
		{"or their protocol", node("n"), true, placement.Request{Ports: []placement.Port{port(80), udp(port(80))}}},
		{"or their interface", node("n"), true, placement.Request{Ports: []placement.Port{on("10.0.0.1", port(80)), on("10.0.0.2", port(80))}}},
		{"one of all families clashes with one family", node("n"), false, placement.Request{Ports: []placement.Port{port(80), on("::", port(80))}}},
		{"both families may be published", node("n"), true, placement.Request{Ports: []placement.Port{on("0.0.0.0", port(80)), on("::", port(80))}}},
		{"ranges of one request share what is free", node("n"), true, placement.Request{Ports: []placement.Port{portRange(80, 82), port(80), portRange(80, 81)}}},
		{"as long as it lasts", node("n"), false, placement.Request{Ports: []placement.Port{portRange(80, 81), port(80), portRange(80, 81)}}},
		{"the tighter range is served first", node("n"), true, placement.Request{Ports: []placement.Port{portRange(80, 82), portRange(80, 80), portRange(80, 81)}}},

		{"the host's network does not meet published ports", web, true, placement.Request{HostNetwork: true, Ports: []placement.Port{port(80)}}},
		{"nor the other way round", host, true, placement.Request{Ports: []placement.Port{port(53)}}},
		{"two on the host's network clash", host, false, placement.Request{HostNetwork: true, Ports: []placement.Port{port(53)}}},
		{"unless the protocol differs", host, true, placement.Request{HostNetwork: true, Ports: []placement.Port{udp(port(53))}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := admits(t, tc.node, &tc.req); got != tc.want {
				t.Errorf("admitted: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestPortFilter_doesNotDependOnTheOrderOfContainers(t *testing.T) {
	a := container("a", publishing(portRange(80, 81)))
	b := container("b", publishing(portRange(80, 80)))
	c := container("c", publishing(port(82)))
	req := &placement.Request{Ports: []placement.Port{portRange(80, 83)}}
	last := &placement.Request{Ports: []placement.Port{portRange(80, 82)}}
	for _, order := range [][]*placement.Workload{{a, b, c}, {a, c, b}, {b, a, c}, {b, c, a}, {c, a, b}, {c, b, a}} {
		if n := node("n", holding(order...)); !admits(t, n, req) || admits(t, n, last) {
			t.Errorf("%s, %s, %s: the answer differs", order[0].Name, order[1].Name, order[2].Name)
		}
	}
}

func TestSlotsFilter(t *testing.T) {
	two := holding(container("a"), container("b"))
	for _, tc := range []struct {
		name  string
		slots string
		want  bool
	}{
		{"fewer containers than slots", "3", true},
		{"as many", "2", false},
		{"more", "1", false},
		{"no slots at all", "0", false},
		{"less than none", "-1", false},
		{"no integer is no limit", "many", true},
		{"nor is half a one", "1.5", true},
		{"nor is nothing", "", true},
		{"a number too large is no limit", "99999999999999999999", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := admits(t, node("n", two, label("containerslots", tc.slots)), &placement.Request{}); got != tc.want {
				t.Errorf("containerslots=%q admitted: %v, want %v", tc.slots, got, tc.want)
			}
		})
	}
}

func TestDependencyFilter(t *testing.T) {
	db := &placement.Workload{
		ID: "aaaa1111bbbb2222cccc", SwarmID: "5555aaaa6666bbbb7777", Name: "db",
		Aliases: []string{"/web/database", "old"},
	}
	cache := &placement.Workload{ID: "aaaa9999", Name: "/cache"}
	n := node("n1", holding(db, cache))

	for _, tc := range []struct {
		name, kind, ref string
		want            bool
	}{
		{"by name", "--link", "db", true},
		{"by name with a slash", "--link", "/db", true},
		{"by a name that is kept with a slash", "--link", "cache", true},
		{"by alias", "--link", "old", true},
		{"by an alias with slashes", "--link", "/web/database", true},
		{"by node and name", "--link", "n1/db", true},
		{"by node ID and name", "--link", "id-of-n1/db", true},
		{"not on another node", "--link", "n2/db", false},
		{"by ID", "--link", "aaaa1111bbbb2222cccc", true},
		{"by short ID", "--link", "aaaa1111bbbb", true},
		{"by the start of one ID", "--link", "aaaa1", true},
		{"not by the start of two", "--link", "aaaa", false},
		{"by swarm ID", "--link", "5555aaaa6666bbbb7777", true},
		{"by the start of a swarm ID", "--link", "5555", true},
		{"not by nothing", "--link", "", false},
		{"not by a slash", "--link", "/", false},
		{"not what is not there", "--link", "d", false},
		{"a link with an alias", "--link", "db:postgres", true},
		{"volumes with a mode", "--volumes-from", "db:ro", true},
		{"volumes of what is not there", "--volumes-from", "data:ro", false},
		{"a container's network", "--net", "container:db", true},
		{"the network of what is not there", "--net", "container:web", false},
		{"no container's network", "--net", "container:", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := &placement.Request{Dependencies: []placement.Dependency{{Kind: tc.kind, Ref: tc.ref}}}
			if got := admits(t, n, req); got != tc.want {
				t.Errorf("%s=%s admitted: %v, want %v", tc.kind, tc.ref, got, tc.want)
			}
		})
	}

	t.Run("all of them are needed", func(t *testing.T) {
		req := &placement.Request{Dependencies: []placement.Dependency{{Kind: "--link", Ref: "db"}, {Kind: "--link", Ref: "web"}}}
		if admits(t, n, req) {
			t.Error("admitted with one of two")
		}
	})
	t.Run("an ID of 12 characters need not be the only one", func(t *testing.T) {
		twins := node("n", holding(&placement.Workload{ID: "aaaa1111bbbb2"}, &placement.Workload{ID: "aaaa1111bbbb3"}))
		if !admits(t, twins, &placement.Request{Dependencies: []placement.Dependency{{Kind: "--link", Ref: "aaaa1111bbbb"}}}) {
			t.Error("refused")
		}
	})
}

func TestAffinityFilter(t *testing.T) {
	n := node("n1",
		holding(
			&placement.Workload{ID: "aaaa1111bbbb2222cccc", SwarmID: "5555aaaa6666bbbb7777", Name: "/web-1", Aliases: []string{"front"}, Labels: map[string]string{"app": "shop"}},
			&placement.Workload{Name: "being-created", Labels: map[string]string{"app": "shop", "tier": "back"}},
		),
		images(
			&placement.Image{ID: "sha256:ddddeeeeffff00001111", Refs: []string{"busybox:latest", "busybox@sha256:9999"}},
			&placement.Image{ID: "sha256:0123456789abcdef", Refs: []string{"reg.example:5000/a/b:1.0"}},
			&placement.Image{ID: "sha256:1111", Refs: []string{"team/app:1"}},
			&placement.Image{ID: "sha256:dangling"},
		))
	empty := node("n2")

	for _, tc := range []struct {
		expression      string
		onNode, onEmpty bool
	}{
		{"container==web-1", true, false},
		{"container==/web-1", true, false},
		{"container==front", true, false},
		{"container==n1/web-1", true, false},
		{"container==n2/web-1", false, false},
		{"container==being-created", true, false},
		{"container==aaaa1111bbbb2222cccc", true, false},
		{"container==aaaa1111bbbb", true, false},
		{"container==aaaa1111bbb", false, false}, // too short to stand for an ID
		{"container==aaaa1111*", true, false},
		{"container==5555aaaa6666bbbb7777", true, false},
		{"container==5555aaaa6666", true, false},
		{"container==web*", true, false},
		{"container==/web*", true, false},
		{"container==/^web-[0-9]+$/", true, false},
		{"container==*", true, false},
		{"container==db", false, false},
		{"container!=web-1", false, true},
		{"container!=web*", false, true},
		{"container!=db", true, true},
		{"image==busybox", true, false},
		{"image==busybox:latest", true, false},
		{"image==busybox:1.36", false, false},
		{"image==busy", false, false},
		{"image==docker.io/library/busybox", true, false},
		{"image==docker.io/library/busybox:latest", true, false},
		{"image==index.docker.io/busybox", true, false},
		{"image==library/busybox", true, false},
		{"image==docker.io/team/app", true, false},
		{"image==docker.io/library/team/app", false, false},
		{"image==docker.io//app/", false, false}, // a name, if a strange one
		{"image==busybox@sha256:9999", true, false},
		{"image==busybox:1.36@sha256:9999", true, false},
		{"image==reg.example:5000/a/b", true, false},
		{"image==reg.example:5000/a/b:1.0", true, false},
		{"image==reg.example", false, false},
		{"image==sha256:ddddeeeeffff00001111", true, false},
		{"image==ddddeeeeffff00001111", true, false},
		{"image==ddddeeeeffff", true, false},
		{"image==sha256:ddddeeeeffff", true, false},
		{"image==ddddeeeefff", false, false}, // too short to stand for an ID
		{"image==/team.app$/", true, false},  // the repository, without a tag
		{"image==busy*", true, false},
		{"image==docker.io/*", false, false},
		{"image==/:1[.]0$/", true, false},
		{"image==/^0123/", true, false},
		{"image!=busybox", false, true},
		{"image!=nginx", true, true},
		{"app==shop", true, false},
		{"app==s*", true, false},
		{"app!=shop", false, true},
		{"app==bank", false, false},
		{"tier==/^$/", true, false}, // one container is without
		{"absent!=x", true, true},
		{"absent==x", false, false},
	} {
		t.Run(tc.expression, func(t *testing.T) {
			req := &placement.Request{Affinities: expressions(t, tc.expression)}
			if got := admits(t, n, req); got != tc.onNode {
				t.Errorf("admitted: %v, want %v", got, tc.onNode)
			}
			if got := admits(t, empty, req); got != tc.onEmpty {
				t.Errorf("on a node without anything: %v, want %v", got, tc.onEmpty)
			}
		})
	}
}

func TestConstraintFilter(t *testing.T) {
	n := node("n1", label("rack", "a"), label("ostype", "linux"), label("kernelversion", "6.1.0-18"), label("node", "masked"))
	for _, tc := range []struct {
		expression string
		want       bool
	}{
		{"node==n1", true},
		{"node==id-of-n1", true},
		{"node==n*", true},
		{"node==n2", false},
		{"node==masked", false}, // a label cannot pose as the node's name
		{"node!=n1", false},
		{"node!=id-of-n1", false},
		{"node!=n2", true},
		{"node==/^n[12]$/", true},
		{"rack==a", true},
		{"rack!=a", false},
		{"ostype==linux", true},
		{"kernelversion==6.1.*", true},
		{"zone==a", false},
		{"zone!=a", true},
	} {
		t.Run(tc.expression, func(t *testing.T) {
			if got := admits(t, n, &placement.Request{Constraints: expressions(t, tc.expression)}); got != tc.want {
				t.Errorf("admitted: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestWhitelistFilter(t *testing.T) {
	n := node("n1")
	for _, tc := range []struct {
		name  string
		lists [][]string
		want  bool
	}{
		{"no list", nil, true},
		{"a list with the node", [][]string{{"n2", "n1"}}, true},
		{"a list without it", [][]string{{"n2", "n"}}, false},
		{"a node's ID is no name", [][]string{{"id-of-n1"}}, false},
		{"two lists with it", [][]string{{"n1"}, {"n1", "n3"}}, true},
		{"one of two lists with it", [][]string{{"n1"}, {"n3"}}, false},
		{"an empty list", [][]string{{}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := admits(t, n, &placement.Request{Whitelists: tc.lists}); got != tc.want {
				t.Errorf("admitted: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestParseWhitelist(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want []string
	}{
		{"node==n1", []string{"n1"}},
		{"node==n1|n2", []string{"n1", "n2"}},
		{"anything==n1||n2|", []string{"n1", "n2"}},
	} {
		got, err := placement.ParseWhitelist(tc.in)
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %v, %v, want %v", tc.in, got, err, tc.want)
		}
	}
	for _, in := range []string{"", "n1|n2", "node!=n1", "node==~n1", "node==n*", "node==/n1/", "node==|", "node=="} {
		got, err := placement.ParseWhitelist(in)
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "write") {
			t.Errorf("%q: got %v, %v, want an error that says what to write", in, got, err)
		}
	}
}
