//go:build linux

package virtualengine

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestNetwork(t *testing.T) {
	u := newUser(t)
	list := func(u *user, args ...string) []string {
		u.t.Helper()
		return u.docker(append([]string{"network", "ls", "--format", "{{.Name}}"}, args...)...).ok().lines()
	}
	u.sub("those of each engine are shown with its name", func(u *user) {
		sameList(u.t, "docker network ls", list(u), []string{
			"n1/bridge", "n1/host", "n1/none", "n2/bridge", "n2/host", "n2/none", "n3/bridge", "n3/host", "n3/none",
		})
		u.docker("network", "ls").ok().shows("NETWORK ID", "NAME", "DRIVER", "SCOPE", "n2/bridge")
	})
	var id string
	u.sub("create makes it on the node that is named, or on one", func(u *user) {
		id = u.out("network", "create", "--label", "tier=web", "--subnet", "172.30.0.0/24", "n2/lan")
		if !fullID.MatchString(id) {
			u.t.Errorf("network create prints %q", id)
		}
		u.docker("network", "create", "anywhere").ok()
		found := list(u, "--filter", "type=custom")
		if len(found) != 2 || !slices.Contains(found, "n2/lan") {
			u.t.Errorf("docker network ls shows %q", found)
		}
		u.on("n2").docker("network", "inspect", "lan").ok()
		u.docker("network", "create", "n9/lan").exits(1)
		u.docker("network", "create", "n2/lan").exits(1).complains("network with name lan already exists")
		u.docker("network", "create", "--subnet", "172.30.0.0/24", "n2/lan3").exits(1).complains("Pool overlaps with other one on this address space")
	})
	u.sub("inspect finds it by name, node/name, ID and prefix", func(u *user) {
		for _, ref := range []string{"lan", "n2/lan", id, id[:12], id[:6]} {
			equal(u.t, "ID", u.out("network", "inspect", "-f", "{{.Id}}", ref), id)
		}
		equal(u.t, "subnet", u.out("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}} {{.Labels.tier}} {{.Driver}}", "lan"), "172.30.0.0/24 web bridge")
		equal(u.t, "docker inspect", u.out("inspect", "-f", "{{.Id}}", "lan"), id)
		u.docker("network", "inspect", "nosuch").exits(1).prints("[]\n").complains("nosuch")
		u.docker("network", "inspect", "n1/lan").exits(1)
	})
	for _, tc := range []struct {
		filters string
		want    []string
	}{
		{"name=lan", []string{"lan"}},
		{"name=la", []string{"n2/lan"}},
		{"name=n2/lan", []string{"n2/lan"}},
		{"id=" + id[:20], []string{"n2/lan"}},
		{"label=tier=web", []string{"n2/lan"}},
		{"label=tier=db", nil},
		{"driver=host", []string{"n1/host", "n2/host", "n3/host"}},
		{"type=custom node=n2 label=tier", []string{"n2/lan"}},
		{"node=n1 type=builtin", []string{"n1/bridge", "n1/host", "n1/none"}},
		{"scope=swarm", nil},
	} {
		u.sub("filter "+tc.filters, func(u *user) {
			var args []string
			for f := range strings.FieldsSeq(tc.filters) {
				args = append(args, "--filter", f)
			}
			sameList(u.t, "networks", list(u, args...), tc.want)
		})
	}
	u.sub("bad filters are refused", func(u *user) {
		u.docker("network", "ls", "--filter", "type=odd").exits(1).complains("'type'='odd'")
		u.docker("network", "ls", "--filter", "nosuch=1").exits(1).complains("nosuch")
	})
	u.sub("a container goes where the network is, by its bare name or with the node's", func(u *user) {
		for _, ref := range []string{"lan", "n2/lan", id} {
			equal(u.t, "node", u.nodeOf(u.run("--network", ref, tiny)), "n2")
		}
		u.docker("run", "-d", "--network", "lan", "-e", "constraint:node==n1", tiny).exits(125).complains(unplaceable)
		u.docker("run", "-d", "--network", "nosuch", tiny).exits(125).complains("network nosuch not found")
		equal(u.t, "node", u.nodeOf(u.run("--network", "n3/bridge", tiny)), "n3")
	})
	u.sub("its containers know each other by name", func(u *user) {
		u.run("--network", "lan", "--network-alias", "alias", "--name", "server", tiny, "tiny", "serve")
		host := u.inspect("{{.Config.Hostname}}", "server")
		for _, name := range []string{"server", "alias"} {
			u.docker("run", "--rm", "--network", "lan", tiny, "tiny", "get", "http://"+name+"/").ok().prints("hello from " + host + "\n")
		}
	})
	u.sub("inspect shows its containers", func(u *user) {
		var networks []struct {
			Containers map[string]struct{ Name, IPv4Address string }
		}
		if err := json.Unmarshal([]byte(u.out("network", "inspect", "lan")), &networks); err != nil {
			u.t.Fatal(err)
		}
		found := networks[0].Containers[u.inspect("{{.Id}}", "server")]
		if !strings.HasSuffix(found.Name, "server") || !strings.HasPrefix(found.IPv4Address, "172.30.0.") {
			u.t.Errorf("inspect shows %v", networks[0].Containers)
		}
	})
	u.sub("connect and disconnect", func(u *user) {
		u.run("--network", "n2/bridge", "--name", "visitor", tiny)
		u.docker("network", "connect", "--alias", "guest", "--ip", "172.30.0.77", "lan", "visitor").ok()
		equal(u.t, "address", u.inspect("{{.NetworkSettings.Networks.lan.IPAddress}}", "visitor"), "172.30.0.77")
		sameList(u.t, "docker ps", u.names("--filter", "network=lan", "--filter", "name=visitor"), []string{"n2/visitor"})
		u.docker("network", "connect", "lan", "visitor").exits(1).complains("already exists in network lan")
		u.docker("network", "disconnect", "n2/lan", "n2/visitor").ok()
		sameList(u.t, "docker ps", u.names("--filter", "network=lan", "--filter", "name=visitor"), nil)
		u.docker("network", "disconnect", "lan", "visitor").exits(1).complains("is not connected")
		u.run("--name", "stranger", "-e", "constraint:node==n1", "--network", "bridge", tiny)
		u.docker("network", "connect", "lan", "stranger").exits(1).complains("n1", "n2")
		u.docker("network", "connect", "nosuch", "visitor").exits(1).complains("nosuch")
		u.docker("network", "connect", "lan", "nobody").exits(1).complains("nobody")
	})
	u.sub("rm removes it, unless it is in use", func(u *user) {
		u.docker("network", "rm", "lan").exits(1).complains("has active endpoints")
		u.docker(append([]string{"rm", "-f"}, u.docker("ps", "-aq").ok().lines()...)...).ok()
		u.docker("network", "rm", "lan").ok().prints("lan\n")
		u.docker("network", "rm", "lan").exits(1).complains("lan")
		u.docker("network", "rm", "bridge").exits(1)
		u.docker("network", "rm", "n1/bridge").exits(1).complains("bridge is a pre-defined network and cannot be removed")
	})
	u.sub("prune removes those without containers, on all nodes", func(u *user) {
		u.docker("network", "create", "n1/idle").ok()
		u.docker("network", "create", "n3/idle").ok()
		u.docker("network", "create", "n3/busy").ok()
		u.run("--network", "busy", tiny)
		u.docker("network", "prune", "-f").ok().shows("Deleted Networks:", "n1/idle", "n3/idle", "anywhere")
		sameList(u.t, "networks", list(u, "--filter", "type=custom"), []string{"n3/busy"})
		u.docker("network", "prune", "-f").ok().prints("")
	})
	u.sub("of two with the same name each is named by its node", func(u *user) {
		u.docker("network", "create", "n1/twin").ok()
		u.docker("network", "create", "n2/twin").ok()
		u.docker("network", "inspect", "twin").exits(1).complains("n1/twin", "n2/twin")
		equal(u.t, "node", u.nodeOf(u.run("--network", "n1/twin", tiny)), "n1")
		if node := u.nodeOf(u.run("--network", "twin", tiny)); node == "n3" {
			u.t.Error("the container is on n3, where there is no network twin")
		}
		u.docker("network", "rm", "twin").exits(1).complains("ambiguous")
	})
}
