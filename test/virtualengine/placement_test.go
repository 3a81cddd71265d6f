//go:build linux

package virtualengine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const unplaceable = "Unable to find a node that satisfies the following conditions"

// create makes a container and gives the node it is on.
func (u *user) create(args ...string) string {
	u.t.Helper()
	args = append([]string{"create", "--network", "none"}, args...)
	if !slices.Contains(args, tiny) {
		args = append(args, tiny)
	}
	return u.nodeOf(u.out(args...))
}

func TestPlacement_constraints(t *testing.T) {
	u := newUser(t)
	for _, tc := range []struct {
		expression string
		nodes      string // that may be chosen
	}{
		{"node==n2", "n2"},
		{"node!=n2", "n1 n3"},
		{"node==n*", "n1 n2 n3"},
		{"node==/^n[23]$/", "n2 n3"},
		{"node!=/^n[12]$/", "n3"},
		{"rack==b", "n2"},
		{"rack!=b", "n1 n3"},
		{"rack==/a|c/", "n1 n3"},
		{"disk==ssd", "n3"},
		{"disk!=ssd", "n1 n2"},
		{"zone==east*", "n1 n2 n3"},
		{"ostype==linux", "n1 n2 n3"},
		{"rack==~a", "n1"},
		{"rack==~z", "n1 n2 n3"},
		{"rack!=~a", "n2 n3"},
		{"lab.node==n2", "n2"},
	} {
		u.sub(tc.expression, func(u *user) {
			for range 4 { // containers that are there push towards other nodes
				if node := u.create("-e", "constraint:"+tc.expression); !strings.Contains(tc.nodes, node) {
					u.t.Errorf("chose %s, want one of %s", node, tc.nodes)
				}
			}
		})
	}
	u.sub("several must all hold", func(u *user) {
		equal(u.t, "node", u.create("-e", "constraint:rack!=a", "-e", "constraint:disk!=ssd"), "n2")
		equal(u.t, "node", u.create("-e", "constraint:rack!=a", "-e", "constraint:node==~n3"), "n3")
	})
	u.sub("the ID of an engine is its name, too", func(u *user) {
		equal(u.t, "node", u.create("-e", "constraint:node=="+u.on("n2").out("info", "-f", "{{.ID}}")), "n2")
	})
	u.sub("as a label", func(u *user) {
		equal(u.t, "node", u.create("--label", `com.docker.swarm.constraints=["rack==c"]`), "n3")
	})
	u.sub("is not in the container's environment, and stays with it as a label", func(u *user) {
		id := u.out("create", "-e", "A=1", "-e", "constraint:rack==c", "-e", "affinity:image==tiny:1", "-e", "B=2", tiny)
		env := strings.Fields(strings.Trim(u.inspect("{{.Config.Env}}", id), "[]"))
		slices.Sort(env) // the CLI sends it in any order
		equal(u.t, "environment", strings.Join(env, " "), "A=1 B=2 FROM_IMAGE=yes PATH=/bin")
		equal(u.t, "label", u.inspect(`{{index .Config.Labels "com.docker.swarm.constraints"}}`, id), `["rack==c"]`)
		equal(u.t, "label", u.inspect(`{{index .Config.Labels "com.docker.swarm.affinities"}}`, id), `["image==tiny:1"]`)
	})
	u.sub("that no node satisfies is an error with the reason", func(u *user) {
		u.docker("run", "-d", "-e", "constraint:rack==z", tiny).exits(125).
			complains(unplaceable, "[rack==z]", `1 node: rack is "a", not z`)
		u.docker("run", "-d", "-e", "constraint:node==n9", "-e", "constraint:disk==ssd", tiny).exits(125).
			complains(unplaceable, "node==n9", "disk==ssd") // in any order: docker keeps none among its -e
	})
	u.sub("whitelist", func(u *user) {
		for range 4 {
			if node := u.create("-e", "whitelist:node==n1|n3"); node == "n2" {
				u.t.Error("chose n2")
			}
		}
		u.docker("create", "-e", "whitelist:node==n8|n9", tiny).exits(1).complains(unplaceable, "n8|n9")
	})
}

func TestPlacement_affinities(t *testing.T) {
	u := newUser(t)
	u.create("--name", "first", "-e", "constraint:node==n2", "-l", "app=shop")
	id := u.inspect("{{.Id}}", "first")
	for _, expression := range []string{
		"container==first", "container==n2/first", "container==" + id, "container==" + id[:12], "container==fir*", "container==/^f.rst$/", "app==shop", "app==/sho/",
	} {
		u.sub(expression, func(u *user) {
			equal(u.t, "node", u.create("-e", "affinity:"+expression), "n2")
		})
	}
	for _, expression := range []string{"container!=first", "app!=shop", "container!=~first"} {
		u.sub(expression, func(u *user) {
			if node := u.create("-e", "affinity:"+expression); node == "n2" {
				u.t.Error("chose n2")
			}
		})
	}
	u.sub("one on each node", func(u *user) {
		var nodes []string
		for range 3 {
			nodes = append(nodes, u.create("-l", "kind=single", "-e", "affinity:kind!=single"))
		}
		sameList(u.t, "nodes", sorted(nodes...), []string{"n1", "n2", "n3"})
		u.docker("create", "-l", "kind=single", "-e", "affinity:kind!=single", tiny).exits(1).complains(unplaceable, "[kind!=single (soft=false)]", "3 nodes: there is a container with kind single")
		u.docker("create", "-l", "kind=single", "-e", "affinity:kind!=~single", tiny).ok()
	})
	u.sub("image", func(u *user) {
		u.on("n3").docker("tag", tiny, "only-on-n3:1").ok()
		u.eventually(eventTime, func() error {
			if r := u.docker("create", "-e", "affinity:image==only-on-n3:1", tiny); r.code != 0 {
				return fmt.Errorf("%s", r)
			}
			return nil
		})
		equal(u.t, "node", u.create("-e", "affinity:image==only-on-n3:1"), "n3")
		equal(u.t, "node", u.create("-e", "affinity:image==only-on-n3"), "n3")
		equal(u.t, "node of a container of this image", u.create("--pull", "never", "only-on-n3:1"), "n3")
		u.docker("create", "-e", "affinity:image==nowhere", tiny).exits(1).complains(unplaceable, "[image==nowhere (soft=false)]")
		u.docker("create", "-e", "affinity:image==~nowhere", tiny).ok()
	})
	u.sub("as a label", func(u *user) {
		equal(u.t, "node", u.create("--label", `com.docker.swarm.affinities=["container==first"]`), "n2")
	})
}

func TestPlacement_badExpressions(t *testing.T) {
	u := newUser(t)
	for _, expression := range []string{
		"constraint:node==/", "constraint:node==/(/", "constraint:node", "constraint:node=n1", "constraint:", "constraint:==x", "constraint:a b==c",
		"constraint:node==", "affinity:container==/[/", "affinity:image==", "affinity:", "whitelist:node", "whitelist:node==n1*", "whitelist:",
		"reschedule:whenever", "constraint:node==<script>", "constraint:node==~", "affinity:container=~x",
	} {
		u.sub(expression, func(u *user) {
			r := u.docker("run", "-d", "-e", expression, tiny)
			if r.code != 125 || !strings.HasPrefix(r.stderr, "docker: Error response from daemon: ") || len(strings.TrimSpace(r.stderr)) < 50 {
				u.t.Errorf("this is no helpful error:\n%s", r)
			}
		})
	}
	u.sub("two reschedule policies", func(u *user) {
		u.docker("create", "-e", "reschedule:off", "-e", "reschedule:on-node-failure", tiny).exits(1).complains("too many reschedule policies")
		u.docker("create", "-e", "reschedule:on-node-failure", tiny).ok()
	})
	u.sub("a label that is no list says nothing", func(u *user) {
		u.docker("create", "--label", "com.docker.swarm.constraints=rack==z", tiny).ok()
	})
	u.sub("the manager goes on placing", func(u *user) {
		for range 3 {
			u.docker("run", "--rm", "--network", "none", tiny, "tiny", "echo").ok()
		}
	})
	u.sub("an error is 400 for the expression and 503 for the lack of a node", func(u *user) {
		for expression, want := range map[string]int{"constraint:node==/(/": 400, "constraint:node==n9": 503} {
			status, body := u.post("/containers/create", fmt.Sprintf(`{"Image":%q,"Env":[%q]}`, tiny, expression))
			if status != want || !strings.HasPrefix(body, `{"message":"`) {
				u.t.Errorf("%s: status %d, want %d: %s", expression, status, want, body)
			}
		}
	})
}

func TestPlacement_ports(t *testing.T) {
	u := newUser(t)
	var nodes []string
	for i := range 3 {
		nodes = append(nodes, u.nodeOf(u.run("--name", fmt.Sprint("web", i), "-p", "80:80", tiny)))
	}
	u.sub("each goes where the port is free", func(u *user) {
		sameList(u.t, "nodes", sorted(nodes...), []string{"n1", "n2", "n3"})
	})
	u.sub("the next is refused with a sentence", func(u *user) {
		u.docker("run", "-d", "-p", "80:8080", tiny).exits(125).complains(unplaceable, "[port 80 (Bridge mode)]", "3 nodes: port 80/tcp is in use")
		sameList(u.t, "docker ps -a", sorted(u.names("-a")...), sorted(nodes[0]+"/web0", nodes[1]+"/web1", nodes[2]+"/web2"))
	})
	u.sub("another protocol, any port and a range are free", func(u *user) {
		u.run("-p", "80:80/udp", tiny)
		u.run("-p", "80", tiny)
		u.run("-p", "80-90:80", tiny)
	})
	u.sub("it is free again where its container is removed", func(u *user) {
		u.docker("rm", "-f", "web1").ok()
		equal(u.t, "node", u.nodeOf(u.run("-p", "80:80", tiny)), nodes[1])
	})
	u.sub("a container that does not run keeps its port", func(u *user) {
		u.docker("stop", "-t", "1", "web2").ok()
		u.docker("run", "-d", "-p", "80:80", tiny).exits(125).complains(unplaceable)
		u.docker("start", "web2").ok()
	})
	u.sub("on the host's network what is exposed counts", func(u *user) {
		var nodes []string
		for range 3 {
			nodes = append(nodes, u.nodeOf(u.run("--network", "host", "--expose", "9000", tiny)))
		}
		sameList(u.t, "nodes", sorted(nodes...), []string{"n1", "n2", "n3"})
		u.docker("run", "-d", "--network", "host", "--expose", "9000", tiny).exits(125).complains(unplaceable, "[port 9000/tcp (Host mode)]")
	})
	u.sub("many at once do not take the same", func(u *user) {
		var all []*background
		for range 6 {
			all = append(all, u.start("run", "-d", "-p", "8000:80", tiny))
		}
		var ok int
		for _, b := range all {
			if r := b.wait(commandTimeout); r.code == 0 {
				ok++
			} else {
				r.exits(125).complains(unplaceable, "port 8000/tcp is in use")
			}
		}
		equal(u.t, "containers with port 8000", ok, 3)
	})
}

func TestPlacement_dependencies(t *testing.T) {
	u := newUser(t)
	for _, node := range []string{"n1", "n3"} {
		u.run("--name", "base-"+node, "--network", "bridge", "-v", "/shared", "-e", "constraint:node=="+node, tiny)
	}
	for _, option := range [][]string{
		{"--volumes-from", "base-n3"}, {"--volumes-from", "base-n3:ro"}, {"--link", "base-n3:base"}, {"--network", "container:base-n3"},
		{"--network", "container:n3/base-n3"}, {"--volumes-from", "n3/base-n3"}, {"--link", "n3/base-n3:base"},
		{"--network", "container:" + u.inspect("{{.Id}}", "base-n3")}, {"--pid", "container:base-n3"}, {"--ipc", "container:base-n3"},
	} {
		u.sub("with "+strings.Join(option, " ")+" it goes where the other is, and works", func(u *user) {
			if option[0] == "--ipc" {
				u.docker("rm", "-f", "base-n3").ok()
				u.run("--name", "base-n3", "--network", "bridge", "--ipc", "shareable", "-e", "constraint:node==n3", tiny)
			}
			for range 2 {
				equal(u.t, "node", u.nodeOf(u.run(append(option, tiny)...)), "n3")
			}
		})
	}
	u.sub("all of them must be on one node", func(u *user) {
		u.docker("run", "-d", "--volumes-from", "base-n1", "--link", "base-n3:base", tiny).exits(125).
			complains(unplaceable, "--volumes-from=base-n1", "--link=base-n3:base")
	})
	u.sub("one that is nowhere is an error", func(u *user) {
		u.docker("run", "-d", "--volumes-from", "nobody", tiny).exits(125).complains("nobody")
		u.docker("run", "-d", "--network", "container:nobody", tiny).exits(125).complains("nobody")
	})
	u.sub("a volume from another holds what the other has written", func(u *user) {
		u.docker("exec", "base-n1", "tiny", "write", "/shared/text", "from the other").ok()
		u.docker("run", "--rm", "--volumes-from", "base-n1", tiny, "tiny", "cat", "/shared/text").ok().prints("from the other\n")
	})
}

func TestPlacement_resources(t *testing.T) {
	u := newUser(t)
	cpus := u.on("n1").out("info", "-f", "{{.NCPU}}")
	u.sub("each takes what it was promised, until nothing is left", func(u *user) {
		var nodes []string
		for range 3 {
			nodes = append(nodes, u.create("--cpus", cpus))
		}
		sameList(u.t, "nodes", sorted(nodes...), []string{"n1", "n2", "n3"})
		u.docker("create", "--cpus", cpus, tiny).exits(1).
			complains(unplaceable, "no resources available to schedule container: asked for "+cpus+" CPUs")
		u.docker("create", tiny).ok()
		u.docker("info").ok().shows("Reserved CPUs: " + cpus + " / ")
	})
	u.sub("memory likewise", func(u *user) {
		u.docker("create", "--memory", "1000g", tiny).exits(1).
			complains("no resources available to schedule container: asked for 1000 GiB of memory")
		u.create("--name", "large", "--memory", "20g", "-e", "constraint:node==n1")
		u.docker("info").ok().shows("Reserved Memory: 20GiB / ")
		for range 3 {
			if node := u.create("--memory", "8g"); node == "n1" {
				u.t.Error("chose n1, which is the fullest")
			}
		}
		u.docker("rm", "large").ok()
		u.docker("info").ok().shows("Reserved Memory: 0B / ")
	})
	u.sub("update changes what is reserved", func(u *user) {
		u.run("--name", "grows", "--memory", "1g", "-e", "constraint:node==n2", tiny)
		u.docker("update", "--memory", "3g", "--memory-swap", "3g", "grows").ok()
		if r := u.engine("n2").rows["Reserved Memory"]; !strings.Contains(r, "GiB / ") || strings.HasPrefix(r, "1GiB") {
			u.t.Errorf("reserved memory of n2 is %s", r)
		}
	})
}

func TestPlacement_strategies(t *testing.T) {
	u := newUser(t)
	count := func(u *user, args ...string) map[string]int {
		nodes := map[string]int{}
		for range 6 {
			nodes[u.create(args...)]++
		}
		return nodes
	}
	u.sub("spread gives each node the same", func(u *user) {
		if nodes := count(u); nodes["n1"] != 2 || nodes["n2"] != 2 || nodes["n3"] != 2 {
			u.t.Errorf("six containers are on %v", nodes)
		}
	})
	u.sub("binpack fills one node before the next", func(u *user) {
		u = u.at(u.manager("binpack", "--strategy=binpack"))
		u.awaitEngines(machines)
		u.docker("info").ok().shows("Strategy: binpack")
		u.create("--memory", "2g", "-e", "constraint:node==n2")
		if nodes := count(u, "--memory", "1g"); nodes["n2"] != 6 {
			u.t.Errorf("six containers are on %v", nodes)
		}
	})
	u.sub("random takes any", func(u *user) {
		u = u.at(u.manager("random", "--strategy=random"))
		u.awaitEngines(machines)
		u.docker("info").ok().shows("Strategy: random")
		nodes := map[string]int{}
		for range 30 {
			nodes[u.create()]++
		}
		if len(nodes) != 3 { // once in 10^5 runs
			u.t.Errorf("30 containers are on %v", nodes)
		}
	})
	u.sub("a manager without a filter does not apply it", func(u *user) {
		u = u.at(u.manager("filters", "--filter=health", "--filter=port"))
		u.awaitEngines(machines)
		u.docker("info").ok().shows("Filters: health, port\n")
		u.docker("create", "-e", "constraint:rack==z", tiny).ok()
	})
}
