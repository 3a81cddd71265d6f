//go:build linux

package virtualengine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/lab"
)

// moved is how long it may take until a container of an engine that has failed
// runs elsewhere: it is noticed, waited for, and made anew.
const moved = noticed + 15*time.Second

// runsOn waits until a container runs on a node, and there alone.
func (u *user) runsOn(name string, nodes ...string) (node string) {
	u.t.Helper()
	u.eventually(moved, func() error {
		var shown []string
		for _, line := range u.docker("ps", "-a", "--format", "{{.Names}} {{.Status}}").ok().lines() {
			if strings.Contains(line, "/"+name+" ") {
				shown = append(shown, line)
			}
		}
		for _, n := range nodes {
			if len(shown) == 1 && strings.HasPrefix(shown[0], n+"/"+name+" Up ") {
				node = n
				return nil
			}
		}
		return fmt.Errorf("docker ps shows %q", shown)
	})
	return node
}

func TestReschedule_aKilledEnginesContainerRunsElsewhere(t *testing.T) {
	u := newUser(t)
	u.run("--name", "phoenix", "-e", "reschedule:on-node-failure", "-e", "constraint:node==~n2", "-e", "KEPT=yes", "-v", "named:/data", "--label", "mine=1", tiny, "tiny", "sleep")
	first := u.nodeOf("phoenix")
	swarmID := u.inspect(`{{index .Config.Labels "com.docker.swarm.id"}}`, "phoenix")
	events := u.start("events", "--filter", "type=swarm", "--format", "{{.Action}} {{.Actor.Attributes}}")
	u.listening(1)
	u.do((*lab.Lab).Kill, first)
	var others []string
	for _, n := range []string{"n1", "n2", "n3"} {
		if n != first {
			others = append(others, n)
		}
	}
	second := u.runsOn("phoenix", others...)
	equal(t, "swarm ID", u.inspect(`{{index .Config.Labels "com.docker.swarm.id"}}`, "phoenix"), swarmID)
	equal(t, "label", u.inspect(`{{index .Config.Labels "mine"}}`, "phoenix"), "1")
	if env := u.inspect(`{{.Config.Env}}`, "phoenix"); !strings.Contains(env, "KEPT=yes") {
		t.Errorf("environment is %s", env)
	}
	equal(t, "volume", u.inspect(`{{(index .Mounts 0).Name}}`, "phoenix"), "named")
	u.docker("exec", "phoenix", "tiny", "echo", "here").ok().prints("here\n")
	events.expect("container_rescheduled")
	u.do((*lab.Lab).Start, first)
	u.eventually(returned, func() error {
		if left := u.on(first).out("ps", "--format", "{{.Names}}"); left != "" {
			return fmt.Errorf("on %s there runs %s", first, left)
		}
		return nil
	})
	events.expect("container_superseded")
	equal(t, "node", u.runsOn("phoenix", second), second)
	u.sub("the first is removed, as it holds no data, and its volume stays", func(u *user) {
		u.eventually(returned, func() error {
			if left := u.on(first).out("ps", "-a", "--format", "{{.Names}}"); left != "" {
				return fmt.Errorf("on %s there is %s", first, left)
			}
			return nil
		})
		u.on(first).docker("volume", "inspect", "named").ok()
	})
}

func TestReschedule_aPartitionThatHealsLosesNoData(t *testing.T) {
	u := newUser(t)
	id := u.run("--name", "twin", "-e", "reschedule:on-node-failure", "-v", "/data", tiny, "tiny", "sleep")
	first := u.nodeOf("twin")
	volume := u.inspect(`{{(index .Mounts 0).Name}}`, "twin")
	var others []string
	for _, n := range []string{"n1", "n2", "n3"} {
		if n != first {
			others = append(others, n)
		}
	}
	u.do((*lab.Lab).Cut, first)
	second := u.runsOn("twin", others...)
	u.do((*lab.Lab).Heal, first)
	kept := "twin-superseded-" + id[:12]
	u.eventually(returned+15*time.Second, func() error {
		if got := u.on(first).docker("inspect", "-f", "{{.State.Running}} {{(index .Mounts 0).Name}}", kept); got.stdout != "false "+volume+"\n" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	u.on(first).docker("volume", "inspect", volume).ok()
	equal(t, "node of the one that runs", u.nodeOf("twin"), second)
	u.eventually(eventTime, func() error {
		if shown := u.out("ps", "-a", "--format", "{{.Names}}"); !strings.Contains(shown, first+"/"+kept) || !strings.Contains(shown, second+"/twin") {
			return fmt.Errorf("docker ps -a shows %s", shown)
		}
		return nil
	})
}
