//go:build linux

package virtualengine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// statusOf is the STATUS column of `docker ps -a` for one container.
func (u *user) statusOf(name string) string {
	u.t.Helper()
	return u.out("ps", "-a", "--filter", "name=^/"+name+"$", "--format", "{{.Status}}")
}

func TestLifecycle(t *testing.T) {
	u := newUser(t)
	id := u.out("create", "--name", "life", "--network", "none", tiny, "tiny", "sleep")
	step := func(sentence, wantStatus string, do func(u *user)) {
		u.sub(sentence, func(u *user) {
			do(u)
			// At once: who has given a command sees its effect.
			if got := u.statusOf("life"); !strings.HasPrefix(got, wantStatus) {
				u.t.Errorf("docker ps -a says %q, want %q…", got, wantStatus)
			}
		})
	}
	step("create makes it and does not start it", "Created", func(u *user) {
		sameList(u.t, "docker ps", u.names(), nil)
	})
	step("start starts it, twice is once", "Up ", func(u *user) {
		u.docker("start", "life").ok().prints("life\n")
		u.docker("start", id[:12]).ok().prints(id[:12] + "\n")
	})
	step("pause freezes it", "Up ", func(u *user) {
		u.docker("pause", "life").ok().prints("life\n")
		if got := u.statusOf("life"); !strings.HasSuffix(got, "(Paused)") {
			u.t.Errorf("docker ps -a says %q", got)
		}
		u.docker("pause", "life").exits(1).complains("is already paused")
		u.docker("exec", "life", "tiny", "echo").exits(1).complains("is paused, unpause the container before exec")
	})
	step("unpause lets it go on", "Up ", func(u *user) {
		u.docker("unpause", "life").ok().prints("life\n")
		if got := u.statusOf("life"); strings.Contains(got, "Paused") {
			u.t.Errorf("docker ps -a says %q", got)
		}
		u.docker("unpause", "life").exits(1).complains("is not paused")
	})
	step("restart gives it a new life", "Up ", func(u *user) {
		before := u.inspect("{{.State.StartedAt}}", "life")
		u.docker("restart", "-t", "2", "life").ok().prints("life\n")
		if after := u.inspect("{{.State.StartedAt}}", "life"); after == before {
			u.t.Errorf("it was started at %s before and after", after)
		}
	})
	step("rename gives it another name, everywhere", "Up ", func(u *user) {
		u.docker("rename", "life", "other").ok()
		u.docker("inspect", "life").exits(1).complains("No such object: life")
		equal(u.t, "name", u.inspect("{{.Name}}", "other"), "/other")
		u.run("--name", "third", tiny, "tiny", "sleep")
		u.docker("rename", "other", "third").exits(1).complains("Conflict.", `"/third" is already in use`)
		u.docker("rename", "other", "bad name").exits(1).complains("Invalid container name")
		u.docker("rename", "other", "other").exits(1).complains("Renaming a container with the same name as its current name")
		u.docker("rename", "nobody", "some").exits(1).complains("No such container: nobody")
		u.docker("rm", "-f", "third").ok()
		u.docker("rename", "other", "life").ok()
	})
	step("update changes its limits", "Up ", func(u *user) {
		u.docker("update", "--memory", "64m", "--memory-swap", "64m", "--cpus", "0.5", "--restart", "on-failure:3", "life").ok().prints("life\n")
		equal(u.t, "limits", u.inspect("{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy.Name}}", "life"), "67108864 500000000 on-failure")
		u.docker("update", "--memory", "1m", "life").exits(1).complains("Minimum memory limit allowed is 6MB")
		u.docker("update", "--restart", "no", "life").ok()
	})
	step("kill sends a signal of choice", "Exited (137)", func(u *user) {
		u.docker("kill", "-s", "HUP", "nobody").exits(1).complains("No such container: nobody")
		u.docker("kill", "-s", "NOSUCH", "life").exits(1).complains("Invalid signal: NOSUCH")
		u.docker("kill", "life").ok().prints("life\n")
		u.docker("wait", "life").ok().prints("137\n")
		u.docker("kill", "life").exits(1).complains("is not running")
	})
	step("stop ends it in an orderly way, within its time", "Exited (0)", func(u *user) {
		u.docker("start", "life").ok()
		u.docker("stop", "life").ok().prints("life\n").within(8 * time.Second)
		u.docker("stop", "life").ok().prints("life\n")
	})
	u.sub("wait waits for the end and gives the status", func(u *user) {
		u.run("--name", "timed", tiny, "tiny", "exit", "9", "1s")
		u.docker("wait", "timed", "life").ok().prints("9\n0\n")
		equal(u.t, "docker ps after wait", strings.HasPrefix(u.statusOf("timed"), "Exited (9)"), true)
	})
	u.sub("stop kills what does not end", func(u *user) {
		u.run("--name", "stubborn", tiny, "tiny", "stay")
		u.docker("stop", "-t", "1", "stubborn").ok().within(6 * time.Second)
		equal(u.t, "status", u.inspect("{{.State.ExitCode}}", "stubborn"), "137")
	})
	u.sub("start -a shows the output and gives the status", func(u *user) {
		u.docker("create", "--name", "again", tiny, "tiny", "echo", "once more").ok()
		u.docker("start", "-a", "again").ok().prints("once more\n")
		u.docker("create", "--name", "failing", tiny, "tiny", "exit", "5").ok()
		u.docker("start", "-a", "failing").exits(5)
		u.docker("create", "-i", "--name", "reading", tiny, "tiny", "cat").ok()
		u.typing("read this").docker("start", "-ai", "reading").ok().prints("read this")
	})
	u.sub("rm removes what does not run, rm -f all", func(u *user) {
		u.docker("rm", "life").ok().prints("life\n")
		u.docker("rm", "life").exits(1).complains("No such container: life")
		u.run("--name", "busy", tiny, "tiny", "sleep")
		u.docker("rm", "busy").exits(1).complains("You cannot remove a running container", "Stop the container before attempting removal or force remove")
		u.docker("rm", "-f", "busy").ok().prints("busy\n")
		sameList(u.t, "docker ps -a", u.names("-a", "--filter", "name=busy"), nil)
	})
	u.sub("commands on several at once do what they can", func(u *user) {
		for i := range 4 {
			u.run("--name", fmt.Sprint("many", i), tiny, "tiny", "sleep")
		}
		u.docker("stop", "-t", "1", "many0", "nobody", "many1").exits(1).complains("No such container: nobody").prints("many0\nmany1\n")
		u.docker("start", "many0", "many1").ok().prints("many0\nmany1\n")
		u.docker("rm", "-f", "many0", "many1", "many2", "many3").ok()
	})
}

func TestContainerPrune(t *testing.T) {
	u := newUser(t)
	u.run("--name", "runs", tiny, "tiny", "sleep")
	var ended []string
	for i := range 6 {
		ended = append(ended, u.out("create", "--name", fmt.Sprint("ended", i), "--label", fmt.Sprint("odd=", i%2), tiny))
	}
	u.sub("a filter spares the others", func(u *user) {
		r := u.docker("container", "prune", "-f", "--filter", "label=odd=1").ok().shows("Deleted Containers:", "Total reclaimed space: 0B")
		for i, id := range ended {
			if strings.Contains(r.stdout, id) != (i%2 == 1) {
				u.t.Errorf("container %d: wrongly deleted or spared\n%s", i, r)
			}
		}
	})
	u.sub("all that do not run go, on every engine, and are gone at once", func(u *user) {
		u.docker("container", "prune", "-f").ok().shows(ended[0], ended[2], ended[4])
		sameList(u.t, "docker ps -a", u.names("-a"), []string{u.nodeOf("runs") + "/runs"})
	})
	u.sub("with nothing to do it says so", func(u *user) {
		u.docker("container", "prune", "-f").ok().prints("Total reclaimed space: 0B\n")
	})
}

func TestInspect(t *testing.T) {
	u := newUser(t)
	id := u.run("--name", "looked-at", "-l", "a=b", tiny, "tiny", "sleep")
	node := u.nodeOf(id)
	u.sub("finds it by ID, short ID, prefix, name, /name and node/name", func(u *user) {
		for _, ref := range []string{id, id[:12], id[:7], "looked-at", "/looked-at", node + "/looked-at"} {
			equal(u.t, "inspect "+ref, u.inspect("{{.Id}}", ref), id)
			equal(u.t, "docker inspect "+ref, u.out("inspect", "-f", "{{.Id}}", ref), id)
		}
	})
	u.sub("finds it by the ID that stays with it when it is moved", func(u *user) {
		swarmID := u.inspect(`{{index .Config.Labels "com.docker.swarm.id"}}`, id)
		for _, ref := range []string{swarmID, swarmID[:12], swarmID[:8]} {
			equal(u.t, "inspect "+ref, u.inspect("{{.Id}}", ref), id)
		}
	})
	u.sub("does not find it on another node", func(u *user) {
		other := map[string]string{"n1": "n2", "n2": "n3", "n3": "n1"}[node]
		u.docker("inspect", "--type", "container", other+"/looked-at").exits(1).complains("No such container: " + other + "/looked-at")
	})
	u.sub("adds the node to the engine's own answer and leaves the rest alone", func(u *user) {
		var ours, engines []map[string]any
		if err := json.Unmarshal([]byte(u.out("inspect", id)), &ours); err != nil {
			u.t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(u.on(node).out("inspect", id)), &engines); err != nil {
			u.t.Fatal(err)
		}
		about := ours[0]["Node"].(map[string]any)
		equal(u.t, "Node.Name", about["Name"], any(node))
		equal(u.t, "Node.Addr", about["Addr"].(string), about["IP"].(string)+":2375")
		equal(u.t, "Node.ID", about["ID"].(string), u.on(node).out("info", "-f", "{{.ID}}"))
		equal(u.t, "Node.Labels.rack", about["Labels"].(map[string]any)["rack"], any(map[string]string{"n1": "a", "n2": "b", "n3": "c"}[node]))
		delete(ours[0], "Node")
		for key, want := range engines[0] {
			if got := ours[0][key]; fmt.Sprint(got) != fmt.Sprint(want) {
				u.t.Errorf("%s is %v, the engine says %v", key, got, want)
			}
			delete(ours[0], key)
		}
		if len(ours[0]) > 0 {
			u.t.Errorf("there is more than the engine says: %v", ours[0])
		}
	})
	u.sub("with sizes", func(u *user) {
		if size := u.out("inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", id); strings.Contains(size, "nil") || strings.HasSuffix(size, " 0") {
			u.t.Errorf("the sizes are %s", size)
		}
	})
	u.sub("says what there is not", func(u *user) {
		u.docker("inspect", "nobody").exits(1).prints("[]\n").complains("No such object: nobody")
		u.docker("container", "inspect", "nobody").exits(1).prints("[]\n").complains("No such container: nobody")
		r := u.docker("inspect", "-f", "{{.Id}}", "looked-at", "nobody").exits(1).prints(id + "\n")
		r.complains("No such object: nobody")
	})
	u.sub("an ambiguous prefix is refused, with the candidates", func(u *user) {
		var ids []string
		first := map[byte]bool{}
		twice := ""
		for range 20 {
			id := u.out("create", "--network", "none", tiny)
			if first[id[0]] {
				twice = id[:1]
				break
			}
			first[id[0]] = true
			ids = append(ids, id)
		}
		if twice == "" {
			u.t.Fatalf("20 of 16 IDs begin differently: %q", ids)
		}
		u.docker("inspect", "--type", "container", twice).exits(1).complains("ambiguous")
		u.docker("rm", twice).exits(1).complains("ambiguous")
	})
}

func TestList(t *testing.T) {
	u := newUser(t)
	network := u.out("network", "create", "n1/lan")
	u.docker("volume", "create", "data").ok()
	running := u.run("--name", "running", "-l", "tier=web", "-e", "constraint:node==n1", tiny, "tiny", "sleep")
	u.run("--name", "paused", "-l", "tier=db", "-e", "constraint:node==n2", tiny, "tiny", "sleep")
	u.docker("pause", "paused").ok()
	u.docker("run", "--network", "none", "--name", "exited3", "-e", "constraint:node==n3", tiny, "tiny", "exit", "3").exits(3)
	u.docker("run", "--network", "none", "--name", "exited0", "-l", "tier=web", tiny, "tiny", "exit", "0").ok()
	u.docker("create", "--network", "none", "--name", "created", "-l", "tier", tiny).ok()
	u.run("--name", "netted", "--network", "lan", tiny, "tiny", "sleep")
	u.run("--name", "stored", "-v", "data:/data", "-v", "/host/dir:/dir", tiny, "tiny", "sleep")
	u.docker("commit", "running", "child:1").ok()
	u.run("--name", "inherited", "child:1", "tiny", "sleep")
	all := []string{"inherited", "stored", "netted", "created", "exited0", "exited3", "paused", "running"}

	// bare are names without their nodes.
	bare := func(names []string) []string {
		var out []string
		for _, n := range names {
			out = append(out, n[strings.LastIndex(n, "/")+1:])
		}
		return out
	}
	u.sub("newest first, those that run unless all are asked for", func(u *user) {
		sameList(u.t, "docker ps -a", bare(u.names("-a")), all)
		sameList(u.t, "docker ps", bare(u.names()), []string{"inherited", "stored", "netted", "paused", "running"})
	})
	u.sub("-n and -l count those that do not run, too", func(u *user) {
		sameList(u.t, "docker ps -n 3", bare(u.names("-n", "3")), all[:3])
		sameList(u.t, "docker ps -n 100", bare(u.names("-n", "100")), all)
		sameList(u.t, "docker ps -l", bare(u.names("-l")), all[:1])
		sameList(u.t, "docker ps -n 2 -f status=exited", bare(u.names("-n", "1", "-f", "status=exited")), []string{"exited0"})
	})
	u.sub("-q and --no-trunc", func(u *user) {
		equal(u.t, "docker ps -q", u.out("ps", "-q", "--filter", "name=running"), running[:12])
		equal(u.t, "docker ps -q --no-trunc", u.out("ps", "-q", "--no-trunc", "--filter", "name=running"), running)
	})
	u.sub("-s adds up sizes", func(u *user) {
		u.docker("exec", "running", "tiny", "write", "/file", strings.Repeat("x", 4000)).ok()
		r := u.docker("ps", "-s", "--format", "{{.Names}} {{.Size}}").ok()
		for _, line := range r.lines() {
			if !strings.Contains(line, "(virtual ") {
				u.t.Errorf("no size in %q", line)
			}
		}
		r.shows("n1/running 4kB (virtual 6.", "n2/paused 0B (virtual 6.")
	})
	u.sub("as a table, as JSON, as a template", func(u *user) {
		u.docker("ps").ok().shows("CONTAINER ID   IMAGE", "STATUS", "NAMES", "n1/running")
		var entry struct{ Names, State, Labels, Networks, Mounts, LocalVolumes string }
		line := u.out("ps", "--format", "{{json .}}", "--filter", "name=stored")
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			u.t.Fatalf("%v in %s", err, line)
		}
		equal(u.t, "Mounts", strings.Join(sorted(strings.Split(entry.Mounts, ",")...), " "), "/host/dir data")
		equal(u.t, "State", entry.State, "running")
		u.docker("ps", "--format", "{{.Label \"tier\"}}", "--filter", "name=running").ok().prints("web\n")
	})
	for _, tc := range []struct {
		filters string
		want    []string
	}{
		{"name=exited", []string{"exited0", "exited3"}},
		{"name=^/running$", []string{"running"}},
		{"name=^running$", []string{"running"}},
		{"name=n1/running", []string{"running"}},
		{"name=running name=paused", []string{"paused", "running"}},
		{"id=" + running[:10], []string{"running"}},
		{"status=exited", []string{"exited0", "exited3"}},
		{"status=created", []string{"created"}},
		{"status=paused", []string{"paused"}},
		{"status=running", []string{"inherited", "stored", "netted", "running"}},
		{"status=created status=paused", []string{"created", "paused"}},
		{"status=dead", nil},
		{"status=restarting", nil},
		{"status=removing", nil},
		{"exited=3", []string{"exited3"}},
		{"exited=0", []string{"exited0"}},
		{"exited=0 exited=3", []string{"exited0", "exited3"}},
		{"label=tier", []string{"inherited", "created", "exited0", "paused", "running"}},
		{"label=tier=web", []string{"inherited", "exited0", "running"}},
		{"label=tier=", []string{"created"}},
		{"label=tier=web status=running", []string{"inherited", "running"}},
		{"label=made.by=test", all},
		{"ancestor=" + tiny, all},
		{"ancestor=tiny", nil},
		{"ancestor=child:1", []string{"inherited"}},
		{"before=exited3", []string{"paused", "running"}},
		{"before=running", nil},
		{"since=created", []string{"inherited", "stored", "netted"}},
		{"since=inherited", nil},
		{"since=paused before=created", []string{"exited0", "exited3"}},
		{"network=lan", []string{"netted"}},
		{"network=n1/lan", []string{"netted"}},
		{"network=" + network, []string{"netted"}},
		{"volume=data", []string{"stored"}},
		{"volume=/data", []string{"stored"}},
		{"volume=/host/dir", []string{"stored"}},
		{"volume=/dir", []string{"stored"}},
		{"volume=nothing", nil},
		{"node=n1 name=running", []string{"running"}},
		{"node=n2 name=running", nil},
		{"node=n4", nil},
		{"health=none status=paused", []string{"paused"}},
		{"health=healthy", nil},
		{"is-task=false name=paused", []string{"paused"}},
		{"is-task=true", nil},
	} {
		u.sub("filter "+tc.filters, func(u *user) {
			args := []string{"-a"}
			for f := range strings.FieldsSeq(tc.filters) {
				args = append(args, "--filter", f)
			}
			sameList(u.t, "containers", bare(u.names(args...)), tc.want)
		})
	}
	u.sub("all containers of a node are those of its engine", func(u *user) {
		for _, node := range []string{"n1", "n2", "n3"} {
			theirs := u.on(node).names("-a")
			ours := bare(u.names("-a", "--filter", "node="+node))
			slices.Sort(theirs)
			slices.Sort(ours)
			sameList(u.t, "containers of "+node, ours, theirs)
		}
	})
	u.sub("a filter that makes no sense is refused as an engine does", func(u *user) {
		for _, f := range []string{"nosuch=x", "status=odd", "exited=many", "before=nobody", "since=nobody", "health=odd", "is-task=perhaps", "publish=http"} {
			theirs, ours := u.on("n1").docker("ps", "--filter", f), u.docker("ps", "--filter", f)
			if ours.code != theirs.code {
				u.t.Errorf("one engine:\n%s\nskep:\n%s", theirs, ours)
			}
		}
		u.docker("ps", "--filter", "before=nobody").exits(1).complains("No such container: nobody")
	})
}
