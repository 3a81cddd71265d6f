//go:build linux

package virtualengine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/lab"
)

// joined makes one swarm of the engines, which have networks in common then. The
// sweep before the next test ends it.
func (u *user) joined() {
	u.t.Helper()
	machines := u.stage.lab.Machines()
	first := u.on(machines[0].Name)
	first.docker("swarm", "init", "--advertise-addr", machines[0].Addr.String()).ok()
	token := first.out("swarm", "join-token", "-q", "manager")
	for _, m := range machines[1:] {
		u.on(m.Name).docker("swarm", "join", "--advertise-addr", m.Addr.String(), "--token", token, machines[0].Addr.String()+":2377").ok()
	}
}

// A network that engines have in common is one network, wherever it is asked
// for, and containers take it with them.
func TestOverlay_isOneNetworkOfAllEngines(t *testing.T) {
	u := newUser(t)
	u.joined()
	id := u.out("network", "create", "-d", "overlay", "--attachable", "--label", "tier=web", "wide")
	u.eventually(eventTime, func() error {
		if shown := u.out("network", "ls", "--filter", "label=tier=web", "--format", "{{.ID}} {{.Name}} {{.Scope}}", "--no-trunc"); shown != id+" wide swarm" {
			return fmt.Errorf("docker network ls shows %q", shown)
		}
		return nil
	})
	for _, n := range []string{"n1", "n2"} {
		u.run("--network", "wide", "--network-alias", "alias-"+n, "-e", "constraint:node=="+n, "--name", "on-"+n, tiny, "tiny", "serve")
	}
	u.sub("its containers reach each other over engines", func(u *user) {
		host := u.inspect("{{.Config.Hostname}}", "on-n1")
		for _, name := range []string{"on-n1", "alias-n1"} {
			u.docker("exec", "on-n2", "tiny", "get", "http://"+name+"/").ok().prints("hello from " + host + "\n")
		}
	})
	u.sub("inspect shows those of all engines", func(u *user) {
		shown := u.out("network", "inspect", "-f", "{{range .Containers}}{{.Name}} {{end}}", "wide")
		if !strings.Contains(shown, "on-n1") || !strings.Contains(shown, "on-n2") {
			u.t.Errorf("docker network inspect shows %q", shown)
		}
	})
	u.sub("a container that is moved stays in it", func(u *user) {
		u.run("--network", "wide", "--network-alias", "wanderer", "-e", "reschedule:on-node-failure", "-e", "constraint:node==~n3", "--name", "mover", tiny, "tiny", "serve")
		first := u.nodeOf("mover")
		equal(u.t, "node", first, "n3")
		u.do((*lab.Lab).Kill, first)
		u.runsOn("mover", "n1", "n2")
		host := u.inspect("{{.Config.Hostname}}", "mover")
		u.eventually(10*time.Second, func() error {
			if got := u.docker("exec", "on-n2", "tiny", "get", "http://wanderer/"); got.stdout != "hello from "+host+"\n" {
				return fmt.Errorf("%s", got)
			}
			return nil
		})
		u.do((*lab.Lab).Start, first)
		u.awaitEngines(machines)
	})
	u.sub("rm removes it from all", func(u *user) {
		u.docker("network", "rm", "wide").exits(1)
		u.docker("rm", "-f", "on-n1", "on-n2", "mover").ok()
		u.docker("network", "rm", "wide").ok().prints("wide\n")
		u.eventually(eventTime, func() error {
			if shown := u.out("network", "ls", "-q", "--filter", "label=tier=web"); shown != "" {
				return fmt.Errorf("docker network ls shows %q", shown)
			}
			return nil
		})
	})
}
