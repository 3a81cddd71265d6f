//go:build linux

package virtualengine

import (
	"testing"

	"github.com/skep/skep/internal/lab"
)

// What is to be moved is known to a manager that was not there when its engine
// failed, and that the engine will not tell. One is asked for by a label.
func TestReschedule_whatWasLostWhileTheManagerWasDownIsMoved(t *testing.T) {
	u := newUser(t)
	u.run("--name", "byenv", "-e", "reschedule:on-node-failure", "-e", "constraint:node==~n3", tiny, "tiny", "sleep")
	u.run("--name", "bylabel", "--label", `com.docker.swarm.reschedule-policies=["on-node-failure"]`, "--label", `com.docker.swarm.constraints=["node==~n3"]`, tiny, "tiny", "sleep")
	u.run("--name", "stays", "-e", "constraint:node==~n3", tiny, "tiny", "sleep")
	for _, name := range []string{"byenv", "bylabel", "stays"} {
		equal(t, "node of "+name, u.nodeOf(name), "n3")
	}
	swarmID := u.inspect(`{{index .Config.Labels "com.docker.swarm.id"}}`, "bylabel")
	if err := u.boss.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-u.boss.done
	u.do((*lab.Lab).Crash, "n3")
	if err := u.boss.start(); err != nil {
		t.Fatal(err)
	}
	u.runsOn("byenv", "n1", "n2")
	u.runsOn("bylabel", "n1", "n2")
	equal(t, "swarm ID", u.inspect(`{{index .Config.Labels "com.docker.swarm.id"}}`, "bylabel"), swarmID)
	for _, node := range []string{"n1", "n2"} {
		equal(t, "what nobody wanted to be moved, on "+node, u.on(node).out("ps", "-aq", "--filter", "name=stays"), "")
	}
	u.do((*lab.Lab).Start, "n3")
	u.awaitEngines(machines)
}
