//go:build linux

package virtualengine

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestClients goes through the core of what the other tests do with the first
// CLI, with every other CLI of this machine.
func TestClients(t *testing.T) {
	u := newUser(t)
	if len(u.stage.clis) == 1 {
		t.Logf("there is no other docker CLI than %s %s", u.cli.path, u.cli.version)
	}
	for _, c := range u.stage.clis[1:] {
		t.Run(fmt.Sprintf("docker %s at %s", c.version, c.path), func(t *testing.T) {
			u := newUser(t).with(c)
			testCore(u)
		})
	}
}

func testCore(u *user) {
	u.sub("version and info", func(u *user) {
		u.docker("version").ok().shows("Server: skep", "API version:")
		r := u.docker("info").ok().shows("Server Version: skep/", "Nodes: 3", " n2: 10.99.0.12:2375")
		equal(u.t, "healthy engines", strings.Count(r.stdout, "└ Status: Healthy"), 3)
	})
	u.sub("run, and its statuses", func(u *user) {
		u.docker("run", "--rm", tiny, "tiny", "echo", "hello").ok().prints("hello\n")
		u.typing("typed").docker("run", "-i", "--rm", tiny, "tiny", "cat").ok().prints("typed")
		u.docker("run", "--rm", tiny, "tiny", "exit", "42").exits(42)
		u.docker("run", "--rm", "--memory", "1k", tiny).exits(125).complains("Minimum memory limit")
		u.docker("run", "--rm", tiny, "/plain.txt").exits(126)
		u.docker("run", "--rm", tiny, "nothing").exits(127)
		u.docker("run", "-d", "-e", "constraint:rack==z", tiny).exits(125).complains(unplaceable)
		b := u.terminal("run", "-it", "--rm", tiny, "tiny", "shell")
		b.expect("> ")
		b.send("hello\nexit 3\n")
		b.wait(10 * time.Second).exits(3).shows("you said hello")
	})
	u.sub("the life of a container", func(u *user) {
		id := u.run("--name", "life", "-p", "8080:80", "-e", "constraint:node==n2", tiny, "tiny", "serve")
		sameList(u.t, "docker ps", u.names(), []string{"n2/life"})
		u.docker("port", "life", "80").ok().prints("10.99.0.12:8080\n")
		for _, ref := range []string{id, id[:6], "life", "n2/life"} {
			equal(u.t, "ID", u.inspect("{{.Id}}", ref), id)
		}
		u.docker("inspect", "nobody").exits(1).complains("No such object: nobody")
		u.docker("exec", "life", "tiny", "echo", "inside").ok().prints("inside\n")
		b := u.terminal("exec", "-it", "life", "tiny", "shell")
		b.expect("> ")
		b.send("exit 4\n")
		b.wait(10 * time.Second).exits(4)
		u.docker("logs", "life").ok().prints("serving on :80\n")
		u.docker("top", "life").ok().shows("tiny serve")
		u.docker("stats", "--no-stream", "--format", "{{.Name}}", "life").ok().shows("life")
		u.docker("cp", "life:/plain.txt", "-").ok().shows("no program")
		u.docker("diff", "life").ok()
		for _, step := range []string{"pause", "unpause", "restart", "stop", "start", "kill"} {
			u.docker(step, "life").ok().prints("life\n")
		}
		u.docker("wait", "life").ok().prints("137\n")
		u.docker("rename", "life", "after").ok()
		u.docker("commit", "after", "snapshot:1").ok()
		u.docker("rm", "after").ok().prints("after\n")
	})
	u.sub("attach", func(u *user) {
		u.run("-i", "--name", "talker", tiny, "tiny", "shell")
		b := u.start("attach", "talker")
		b.send("one\n")
		b.expect("you said one")
		b.send("exit 6\n")
		b.wait(10 * time.Second).exits(6)
	})
	u.sub("images", func(u *user) {
		u.docker("build", "-t", "built:1", u.buildContext("FROM tiny:1\nCMD [\"tiny\",\"echo\",\"built\"]\n")).ok()
		u.docker("run", "--rm", "built:1").ok().prints("built\n")
		saved := u.docker("save", "built:1").ok().stdout
		u.typing(saved).docker("load").ok().shows("Loaded image: built:1")
		sameList(u.t, "nodes", u.nodesWith("built:1"), []string{"n1", "n2", "n3"})
		u.docker("tag", "built:1", "other/name:2").ok()
		u.docker("images").ok().shows("other/name", "snapshot")
		u.docker("history", "built:1").ok()
		u.docker("rmi", "built:1", "other/name:2").ok().shows("Untagged: built:1")
		u.docker("pull", "10.99.0.1:5001/nothing:1").exits(1)
	})
	u.sub("networks and volumes", func(u *user) {
		u.docker("network", "create", "n3/lan").ok()
		u.docker("network", "ls").ok().shows("n3/lan", "n1/bridge")
		equal(u.t, "node", u.nodeOf(u.run("--name", "netted", "--network", "lan", tiny)), "n3")
		u.docker("network", "inspect", "lan").ok().shows("netted")
		u.docker("rm", "-f", "netted").ok()
		u.docker("network", "rm", "lan").ok()
		u.docker("volume", "create", "data").ok()
		u.docker("volume", "ls", "-q").ok().shows("n1/data", "n3/data")
		u.docker("run", "--rm", "-v", "data:/data", tiny, "tiny", "write", "/data/x", "y").ok()
		u.docker("volume", "rm", "data").ok()
	})
	u.sub("events, disk usage, prune", func(u *user) {
		began := now()
		u.docker("create", "--name", "eventful", tiny).ok()
		u.docker("events", "--since", began, "--until", now()).ok().shows("container create", "node.name=")
		u.docker("system", "df").ok().shows("Images", "Containers")
		u.docker("system", "prune", "-f").ok().shows("Total reclaimed space")
		sameList(u.t, "docker ps", u.names("-a", "--filter", "name=eventful"), nil)
	})
	u.sub("what there is not over many engines", func(u *user) {
		u.docker("service", "ls").exits(1).complains("This node is not a swarm manager")
		u.docker("plugin", "ls").exits(1).complains("plugins belong to one engine each")
	})
}
