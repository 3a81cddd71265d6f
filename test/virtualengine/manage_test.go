//go:build linux

package virtualengine

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/lab"
)

func TestManage_restart(t *testing.T) {
	u := newUser(t)
	id := u.run("--name", "survivor", "--restart", "always", tiny, "tiny", "tick")
	u.docker("network", "create", "n1/lan").ok()
	u.docker("volume", "create", "data").ok()
	u.docker("create", "--name", "idle", tiny).ok()
	status, body := u.post("/containers/survivor/exec", `{"Cmd":["tiny","tick"]}`)
	var exec struct{ ID string }
	if err := json.Unmarshal([]byte(body), &exec); err != nil || status != 201 {
		t.Fatalf("exec: status %d: %s", status, body)
	}
	if status, body := u.post("/exec/"+exec.ID+"/start", `{"Detach":true}`); status != 200 {
		t.Fatalf("exec start: status %d: %s", status, body)
	}
	look := func(u *user) string {
		var all []string
		for _, args := range [][]string{
			{"ps", "-a", "--format", "{{.ID}} {{.Names}} {{.State}}"}, {"network", "ls"}, {"volume", "ls"}, {"images"},
			{"inspect", "-f", "{{.Id}} {{.Node.Name}}", "survivor"},
		} {
			all = append(all, u.out(args...))
		}
		return strings.Join(all, "\n")
	}
	before := look(u)
	streaming := u.start("logs", "-f", "survivor")
	streaming.expect("tick 2\n")
	u.sub("ends within its grace though streams are open", func(u *user) {
		began := time.Now()
		if err := u.boss.stop(); err != nil {
			u.t.Fatal(err)
		}
		if took := time.Since(began); took > 12*time.Second {
			u.t.Errorf("it took %s", took)
		}
		u.docker("ps").exits(1).complains("Cannot connect to the Docker daemon")
	})
	u.sub("everything is there again after the start", func(u *user) {
		if err := u.boss.start(); err != nil {
			u.t.Fatal(err)
		}
		u.awaitEngines(machines)
		equal(u.t, "what docker shows", look(u), before)
		equal(u.t, "ID", u.inspect("{{.Id}} {{.State.Running}}", "survivor"), id+" true")
	})
	u.sub("an exec that was made before is found", func(u *user) {
		body, err := u.boss.get("/exec/" + exec.ID + "/json")
		if err != nil {
			u.t.Fatal(err)
		}
		var found struct {
			ID, ContainerID string
			Running         bool
		}
		if err := json.Unmarshal(body, &found); err != nil {
			u.t.Fatal(err)
		}
		equal(u.t, "exec", fmt.Sprint(found), fmt.Sprint(struct {
			ID, ContainerID string
			Running         bool
		}{exec.ID, id, true}))
	})
}

func TestManage_fileDiscovery(t *testing.T) {
	u := newUser(t)
	path := filepath.Join(t.TempDir(), "engines")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# all of them\n10.99.0.[11:13]:2375\n")
	u.sub("skep list prints what the file says", func(u *user) {
		out, err := exec.Command(u.stage.Skep, "list", "file://"+path).CombinedOutput()
		equal(u.t, "skep list", string(out), "10.99.0.11:2375\n10.99.0.12:2375\n10.99.0.13:2375\n")
		if err != nil {
			u.t.Error(err)
		}
	})
	for _, node := range []string{"n1", "n2", "n3"} {
		u.run("--name", "on-"+node, "-e", "constraint:node=="+node, tiny, "tiny", "sleep")
	}
	write("10.99.0.11:2375 # one\n")
	u = u.at(u.manager("file", "--heartbeat=1s", "file://"+path))
	u.awaitEngines(1)
	nodes := func(want ...string) {
		u.t.Helper()
		u.eventually(8*time.Second, func() error {
			engines, err := u.boss.engines()
			if err != nil {
				return err
			}
			if names := u.names("-a"); len(names) != len(want) || len(engines) != len(want) {
				return fmt.Errorf("docker ps shows %q, docker info %d engines, want %q", names, len(engines), want)
			}
			return nil
		})
		for _, node := range want {
			equal(u.t, "node", u.nodeOf("on-"+node), node)
		}
	}
	u.sub("an engine that the file names is there", func(u *user) { nodes("n1") })
	u.sub("an engine that is added to the file appears", func(u *user) {
		write("10.99.0.11:2375\n10.99.0.13:2375\n")
		nodes("n1", "n3")
	})
	u.sub("an engine that is removed from the file disappears, with what is on it", func(u *user) {
		write("10.99.0.13:2375\n")
		nodes("n3")
		u.docker("inspect", "--type", "container", "on-n1").exits(1).complains("No such container: on-n1")
		u.docker("run", "-d", "-e", "constraint:node==n1", tiny).exits(125).complains(unplaceable)
	})
	u.sub("a file that cannot be read changes nothing", func(u *user) {
		if err := os.Remove(path); err != nil {
			u.t.Fatal(err)
		}
		u.eventually(noticed, func() error {
			if !strings.Contains(u.boss.logFrom(0), "failed to read") {
				return fmt.Errorf("the log says nothing:\n%s", u.boss.logFrom(0))
			}
			return nil
		})
		nodes("n3")
		write("10.99.0.[11:13]:2375\n")
		nodes("n1", "n2", "n3")
	})
}

func TestManage_withoutEngines(t *testing.T) {
	u := newUser(t)
	u = u.at(u.manager("nobody", "nodes://10.99.0.99:2375"))
	u.sub("answers, and shows why there is nothing", func(u *user) {
		u.docker("ps").ok()
		u.docker("images").ok()
		u.docker("info").ok().shows("Nodes: 1", "(unknown): 10.99.0.99:2375", "Status: Pending")
	})
	u.sub("refuses what needs an engine with a sentence", func(u *user) {
		u.docker("run", "-d", "--pull", "never", tiny).exits(125).complains("No nodes available in the cluster")
		u.docker("pull", tiny).exits(1).complains("No healthy node available in the cluster")
		u.docker("network", "create", "x").exits(1)
		u.docker("volume", "create", "x").exits(1).complains("No healthy node available in the cluster")
	})
}

// Over TCP connections end in other ways than over unix sockets.
func TestManage_tcp(t *testing.T) {
	u := newUser(t)
	const addr = "tcp://127.0.0.1:23750"
	m := u.manager("tcp", "-H", addr, lab.Discovery(u.stage.lab.Machines()))
	v := u.at(m)
	v.awaitEngines(machines)
	// docker runs the CLI on the LAN, which is where the manager's loopback is.
	docker := func(u *user, stdin string, args ...string) (string, error) {
		cmd := u.stage.lab.Command(u.t.Context(), lab.Hub, u.cli.path, args...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+addr, "DOCKER_CONFIG="+u.stage.configDir())
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	u.sub("the end of the input reaches the container, and its output the user", func(u *user) {
		for range 5 {
			if out, err := docker(u, "typed", "run", "-i", "--rm", "--network", "none", tiny, "tiny", "cat"); out != "typed" || err != nil {
				u.t.Errorf("it prints %q, %v", out, err)
			}
		}
		much := strings.Repeat("0123456789abcde\n", 1<<16)
		if out, err := docker(u, much, "run", "-i", "--rm", "--network", "none", tiny, "tiny", "sum"); !strings.HasPrefix(out, fmt.Sprint(len(much))) || err != nil {
			u.t.Errorf("it prints %q, %v", out, err)
		}
	})
	u.sub("exec and its status", func(u *user) {
		v.run("--name", "far", tiny, "tiny", "sleep")
		if out, err := docker(u, "typed", "exec", "-i", "far", "tiny", "cat"); out != "typed" || err != nil {
			u.t.Errorf("it prints %q, %v", out, err)
		}
		if _, err := docker(u, "", "exec", "far", "tiny", "exit", "5"); err == nil || err.Error() != "exit status 5" {
			u.t.Errorf("it ends with %v", err)
		}
	})
	u.sub("two managers show the same", func(u *user) {
		u.eventually(eventTime, func() error {
			if here, there := strings.Join(u.names("-a"), " "), strings.Join(v.names("-a"), " "); here != there {
				return fmt.Errorf("one shows %q, the other %q", here, there)
			}
			return nil
		})
	})
}

func TestManage_flags(t *testing.T) {
	u := newUser(t)
	for _, tc := range []struct{ args, want string }{
		{"manage", "discovery required to manage a cluster"},
		{"manage --strategy fair nodes://a:1", "strategy"},
		{"manage --filter nosuch nodes://a:1", "filter"},
		{"manage --heartbeat 1ms nodes://a:1", "--heartbeat should be at least one second"},
		{"manage -H nowhere://x nodes://a:1", "unsupported protocol"},
		{"manage -H tcp://0.0.0.0:9999 nodes://a:1", "refusing to listen on 0.0.0.0:9999 without TLS"},
		{"manage -H unix://" + u.boss.socket + " nodes://a:1", "somebody listens there already"},
		{"manage --tlscert x nodes://a:1", "--tlscert, --tlskey and --tlscacert require the use of either --tls or --tlsverify"},
		{"manage bogus://abc", "discovery service not supported"},
		{"manage --nosuch nodes://a:1", "unknown flag: --nosuch"},
	} {
		u.sub("skep "+tc.args, func(u *user) {
			out, err := exec.CommandContext(u.t.Context(), u.stage.Skep, strings.Fields(tc.args)...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), tc.want) || strings.Contains(string(out), "goroutine") {
				u.t.Errorf("%v, want %q in\n%s", err, tc.want, out)
			}
		})
	}
}
