//go:build linux

package virtualengine

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// pathWords are names of containers and images that also are words of the
// API's paths: whoever edits paths as text trips over them.
var pathWords = []string{"v1", "v1.41", "json", "containers", "create", "images", "exec", "start", "logs", "prune", "container", "archive", "n1", "attach"}

func TestNames_containersLikePathWords(t *testing.T) {
	u := newUser(t)
	for _, name := range pathWords {
		u.sub(name, func(u *user) {
			u.run("--name", name, tiny, "tiny", "sleep")
			u.docker("exec", name, "tiny", "echo", "in "+name).ok().prints("in " + name + "\n")
			equal(u.t, "name", u.inspect("{{.Name}}", name), "/"+name)
			u.docker("logs", name).ok()
			u.docker("top", name).ok()
			u.docker("diff", name).ok()
			u.docker("cp", name+":/plain.txt", "-").ok()
			u.docker("pause", name).ok()
			u.docker("unpause", name).ok()
			u.docker("rename", name, name+".x").ok()
			u.docker("stop", "-t", "1", u.nodeOf(name+".x")+"/"+name+".x").ok()
			u.docker("wait", name+".x").ok().prints("0\n")
			u.docker("rm", name+".x").ok()
		})
	}
}

func TestNames_imagesLikePathWords(t *testing.T) {
	u := newUser(t)
	for _, name := range []string{"json:1", "v1:json", "containers:create", "a/b:1", "a/b/json:1", "images/json:v1.41", "localhost:5000/x/y:1", "get:load", "push", "history/json", "10.99.0.1:5000/json/history:get"} {
		u.sub(name, func(u *user) {
			u.docker("tag", tiny, name).ok()
			for _, command := range [][]string{{"image", "inspect", name}, {"history", name}, {"run", "--rm", "--network", "none", "--pull", "never", name, "tiny", "echo"}} {
				u.docker(command...).ok()
			}
			if r := u.docker("save", name).ok(); len(r.stdout) < 1<<20 {
				u.t.Errorf("save gave %d bytes", len(r.stdout))
			}
			tagged := name
			if at := strings.LastIndex(name, ":"); at < strings.LastIndex(name, "/") || at < 0 {
				tagged += ":latest"
			}
			u.docker("images", "--format", "{{.Repository}}:{{.Tag}}", name).ok().prints(tagged + "\n")
			u.docker("rmi", name).ok().prints("Untagged: " + tagged + "\n")
			u.docker("image", "inspect", name).exits(1).complains("No such image: " + name)
		})
	}
}

func TestNames_precedence(t *testing.T) {
	u := newUser(t)
	id := u.run("--name", "first", tiny, "tiny", "sleep")
	u.sub("a name goes before the beginning of another's ID", func(u *user) {
		u.docker("create", "--name", id[:6], tiny).ok()
		equal(u.t, "name", u.inspect("{{.Name}}", id[:6]), "/"+id[:6])
		equal(u.t, "ID", u.inspect("{{.Id}}", id[:12]), id)
	})
	u.sub("of two with one name, made behind the manager's back, each is named by its node", func(u *user) {
		ids := map[string]string{}
		for _, node := range []string{"n1", "n2"} {
			ids[node] = u.on(node).run("--name", "twin", tiny, "tiny", "sleep")
		}
		u.eventually(eventTime, func() error {
			if got := u.names("--filter", "name=twin"); len(got) != 2 {
				return fmt.Errorf("docker ps shows %q", got)
			}
			return nil
		})
		u.docker("inspect", "--type", "container", "twin").exits(1).complains("n1/twin", "n2/twin")
		u.docker("stop", "twin").exits(1).complains("ambiguous")
		for node, id := range ids {
			equal(u.t, "ID", u.inspect("{{.Id}}", node+"/twin"), id)
			u.docker("exec", node+"/twin", "tiny", "id").ok().shows("host=" + id[:12])
		}
		u.docker("rename", "n2/twin", "other").ok()
		equal(u.t, "ID", u.inspect("{{.Id}}", "twin"), ids["n1"])
	})
	u.sub("a name is free for all nodes once its container is gone", func(u *user) {
		for _, node := range []string{"n1", "n2", "n3"} {
			u.run("--name", "again", "-e", "constraint:node=="+node, tiny, "tiny", "sleep")
			u.docker("rm", "-f", "again").ok()
		}
	})
	u.sub("two at once do not get the same name", func(u *user) {
		var all []*background
		for range 6 {
			all = append(all, u.start("create", "--name", "only-one", tiny))
		}
		won := 0
		for _, b := range all {
			if r := b.wait(30 * time.Second); r.code == 0 {
				won++
			} else {
				r.complains("Conflict.", "only-one")
			}
		}
		equal(u.t, "containers made", won, 1)
	})
}
