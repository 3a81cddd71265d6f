//go:build linux

package virtualengine

import (
	"strings"
	"testing"
)

func TestVolume(t *testing.T) {
	u := newUser(t)
	list := func(u *user, args ...string) []string {
		u.t.Helper()
		return u.docker(append([]string{"volume", "ls", "-q"}, args...)...).ok().lines()
	}
	u.sub("create makes it on all nodes, or on the one that is named", func(u *user) {
		u.docker("volume", "create", "--label", "tier=db", "data").ok().prints("data\n")
		u.docker("volume", "create", "n2/only").ok().prints("n2/only\n")
		sameList(u.t, "docker volume ls", list(u), []string{"n1/data", "n2/data", "n2/only", "n3/data"})
		u.docker("volume", "create", "data").ok().prints("data\n")
		u.docker("volume", "create", "n9/data").exits(1).complains("n9")
		u.docker("volume", "create", "bad name").exits(1).complains("includes invalid characters for a local volume name")
		u.docker("volume", "ls").ok().shows("DRIVER", "VOLUME NAME", "n2/only")
	})
	u.sub("one without a name gets one, the same everywhere", func(u *user) {
		name := u.out("volume", "create")
		if !fullID.MatchString(name) {
			u.t.Errorf("volume create prints %q", name)
		}
		sameList(u.t, "volumes", list(u, "--filter", "name="+name), []string{"n1/" + name, "n2/" + name, "n3/" + name})
		u.docker("volume", "rm", name).ok()
	})
	u.sub("inspect shows one of them, the one of a node if that is named", func(u *user) {
		u.docker("volume", "inspect", "-f", "{{.Driver}} {{.Labels.tier}} {{.Scope}}", "n3/data").ok().prints("local db local\n")
		u.docker("volume", "inspect", "n2/only").ok()
		u.docker("volume", "inspect", "only").ok()
		u.docker("volume", "inspect", "data").ok()
		u.docker("volume", "inspect", "nosuch").exits(1).prints("[]\n").complains("nosuch")
		u.docker("volume", "inspect", "n1/only").exits(1).complains("no such volume")
	})
	for _, tc := range []struct {
		filters string
		want    []string
	}{
		{"name=data", []string{"n1/data", "n2/data", "n3/data"}},
		{"name=dat node=n2", []string{"n2/data"}},
		{"label=tier", []string{"n1/data", "n2/data", "n3/data"}},
		{"label=tier=web", nil},
		{"driver=local node=n2", []string{"n2/data", "n2/only"}},
		{"driver=nosuch", nil},
		{"dangling=true name=only", []string{"n2/only"}},
		{"dangling=false", nil},
	} {
		u.sub("filter "+tc.filters, func(u *user) {
			var args []string
			for f := range strings.FieldsSeq(tc.filters) {
				args = append(args, "--filter", f)
			}
			sameList(u.t, "volumes", list(u, args...), tc.want)
		})
	}
	u.sub("a container finds one wherever it is placed, and keeps its data there", func(u *user) {
		for _, node := range []string{"n1", "n2", "n3"} {
			at := "constraint:node==" + node
			u.docker("run", "--rm", "--network", "none", "-e", at, "-v", "data:/data", tiny, "tiny", "write", "/data/node", node).ok()
			u.docker("run", "--rm", "--network", "none", "-e", at, "--mount", "source=data,target=/data", tiny, "tiny", "cat", "/data/node").ok().prints(node + "\n")
		}
		u.run("--name", "holder", "-v", "data:/data", "-v", "/anonymous", tiny, "tiny", "sleep")
		sameList(u.t, "volumes in use", list(u, "--filter", "dangling=false", "--filter", "name=data"), []string{u.nodeOf("holder") + "/data"})
	})
	u.sub("rm removes all of the name, or the one that is named, unless in use", func(u *user) {
		u.docker("volume", "rm", "data").exits(1).complains("volume is in use")
		node := u.nodeOf("holder")
		u.docker("volume", "inspect", node+"/data").ok()
		u.docker("rm", "-fv", "holder").ok()
		u.docker("volume", "create", "data").ok() // also where the failed rm has removed it
		u.docker("volume", "rm", node+"/data").ok().prints(node + "/data\n")
		u.docker("volume", "rm", "data", "only").ok().prints("data\nonly\n")
		sameList(u.t, "volumes", list(u), nil)
		u.docker("volume", "rm", "data").exits(1).complains("data")
		u.docker("volume", "rm", "-f", "data").ok()
	})
	u.sub("prune removes those that nobody uses, on all nodes", func(u *user) {
		u.docker("volume", "create", "named").ok()
		for _, node := range []string{"n1", "n3"} {
			u.run("-v", "/left", "--name", "leaves-"+node, "-e", "constraint:node=="+node, tiny)
			u.docker("rm", "-f", "leaves-"+node).ok()
		}
		before := list(u)
		equal(u.t, "volumes", len(before), 5)
		u.docker("volume", "prune", "-f").ok().shows("Total reclaimed space: ")
		// Engines before API 1.42 take those with a name, too, and so does skep.
		sameList(u.t, "volumes", list(u), nil)
	})
}

func TestSystem(t *testing.T) {
	u := newUser(t)
	u.sub("version", func(u *user) {
		u.docker("version").ok().shows("Client:", "Server: skep", "API version:", "1.24")
		equal(u.t, "API version", u.out("version", "-f", "{{.Server.APIVersion}}"), u.on("n1").out("version", "-f", "{{.Server.APIVersion}}"))
	})
	u.sub("info is the sum of the engines", func(u *user) {
		u.run("--name", "runs", tiny)
		u.run("--name", "paused", tiny)
		u.docker("pause", "paused").ok()
		u.docker("create", tiny).ok()
		equal(u.t, "containers", u.out("info", "-f", "{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.ContainersStopped}}"), "3 1 1 1")
		r := u.docker("info").ok().shows("Server Version: skep/", "Role: primary", "Strategy: spread", "Nodes: 3", "Swarm: inactive",
			" n1: 10.99.0.11:2375\n", " n3: 10.99.0.13:2375\n", "└ Status: Healthy", "rack=b", "└ ServerVersion: ")
		equal(u.t, "healthy engines", strings.Count(r.stdout, "└ Status: Healthy"), 3)
		if id := u.out("info", "-f", "{{.ID}}"); id == "" {
			u.t.Error("there is no ID")
		}
	})
	u.sub("df adds up what the engines have", func(u *user) {
		u.docker("volume", "create", "data").ok()
		u.docker("system", "df").ok().shows("TYPE", "Images          3         ", "Containers      3         2", "Local Volumes   3         0", "Build Cache")
		u.docker("system", "df", "-v").ok().shows("Images space usage:", "tiny", "n1/data", "/runs")
	})
	u.sub("prune removes what is not used, on all nodes", func(u *user) {
		for _, node := range []string{"n1", "n2", "n3"} {
			u.docker("create", "--name", "idle-"+node, "-e", "constraint:node=="+node, tiny).ok()
			u.docker("network", "create", node+"/idle-"+node).ok()
		}
		u.docker("system", "prune", "-f", "--volumes").ok().shows("Deleted Containers:", "Deleted Networks:", "n1/idle-n1", "n2/idle-n2", "n3/idle-n3", "Total reclaimed space:")
		equal(u.t, "containers", len(u.names("-a")), 2)
		equal(u.t, "networks", len(u.docker("network", "ls", "-q", "--filter", "type=custom").ok().lines()), 0)
		u.docker("image", "inspect", tiny).ok()
	})
	u.sub("what belongs to swarm mode says so", func(u *user) {
		for _, args := range [][]string{
			{"service", "ls"}, {"node", "ls"}, {"stack", "ls"}, {"secret", "ls"}, {"config", "ls"}, {"service", "create", tiny}, {"node", "inspect", "self"},
			{"swarm", "ca"}, {"stack", "ps", "x"},
		} {
			r := u.docker(args...)
			if r.code != 1 || !strings.Contains(strings.ToLower(r.stderr), "this node is not") {
				u.t.Errorf("this is no helpful error:\n%s", r)
			}
		}
		u.docker("swarm", "init").exits(1).complains("skep manage serves its engines without a swarm")
		u.docker("swarm", "join", "--token", "x", "10.99.0.11:2377").exits(1).complains("skep manage serves its engines without a swarm")
	})
	u.sub("what belongs to one engine says so", func(u *user) {
		u.docker("plugin", "ls").exits(1).complains("plugins belong to one engine each")
		u.docker("plugin", "install", "x").exits(1).complains("plugins belong to one engine each")
		u.docker("plugin", "inspect", "x").exits(1).complains(`plugin "x" not found`)
	})
	u.sub("an unknown path and a wrong version are told as engines do", func(u *user) {
		for _, tc := range []struct {
			path   string
			status int
			want   string
		}{
			{"/nosuch", 404, `{"message":"page not found"}`},
			{"/v1.41/nosuch", 404, `{"message":"page not found"}`},
			{"/v9.99/info", 400, "client version 9.99 is too new"},
			{"/v1.10/info", 400, "client version 1.10 is too old"},
			{"/v1.24/containers/json", 200, "["},
			{"/containers/nobody/json", 404, `{"message":"No such container: nobody"}`},
		} {
			if status, body := u.call("GET", tc.path); status != tc.status || !strings.HasPrefix(body, tc.want) && !strings.Contains(body, tc.want) {
				u.t.Errorf("GET %s: status %d: %s", tc.path, status, body)
			}
		}
		if status, body := u.call("PATCH", "/info"); status != 404 {
			u.t.Errorf("PATCH /info: status %d: %s", status, body)
		}
	})
	u.sub("each CLI's own list of commands is served", func(u *user) {
		for _, args := range [][]string{{"container", "ls"}, {"image", "ls"}, {"network", "ls"}, {"volume", "ls"}, {"system", "info"}, {"system", "df"}, {"builder", "prune", "-f"}} {
			u.docker(args...).ok()
		}
	})
}
