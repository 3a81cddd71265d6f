//go:build linux

package virtualengine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/skep/skep/internal/lab"
)

// gossipTime is how long engines may take to tell each other what is in a
// network, after one of them joined again or died.
const gossipTime = time.Minute

// joined makes one swarm of the engines, which have networks in common then.
// After the test they leave it and stop: an engine that joins a second swarm in
// one life mixes the two up.
func (u *user) joined() {
	u.t.Helper()
	machines := u.stage.lab.Machines()
	u.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		errs := make([]error, len(machines))
		var leaving sync.WaitGroup
		for i, m := range machines { // at once: those that stay would wait for a quorum
			leaving.Go(func() { errs[i] = left(ctx, m) })
		}
		leaving.Wait()
		errs = append(errs, u.stage.lab.Stop(ctx, u.stage.names()...))
		if err := errors.Join(errs...); err != nil {
			u.t.Logf("the engines leave their swarm: %v", err)
		}
	})
	first := u.on(machines[0].Name)
	first.docker("swarm", "init", "--advertise-addr", machines[0].Addr.String()).ok()
	token := first.out("swarm", "join-token", "-q", "manager")
	for _, m := range machines[1:] {
		u.on(m.Name).docker("swarm", "join", "--advertise-addr", m.Addr.String(), "--token", token, machines[0].Addr.String()+":2377").ok()
	}
}

// left makes the engine of a machine leave its swarm, within some seconds.
func left(ctx context.Context, m lab.Machine) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	c, err := client.New(client.WithHost(m.Host()))
	if err != nil {
		return err
	}
	defer c.Close()
	return leaveSwarm(ctx, c)
}

// A network that engines have in common is one network, wherever it is asked
// for, and containers take it with them.
func TestOverlay_isOneNetworkOfAllEngines(t *testing.T) {
	u := newUser(t)
	u.joined()
	id := u.out("network", "create", "-d", "overlay", "--attachable", "--label", "tier=web", "wide")
	u.eventually(gossipTime, func() error {
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
			u.eventually(gossipTime, func() error {
				return u.docker("exec", "on-n2", "tiny", "get", "http://"+name+"/").printed("hello from " + host + "\n")
			})
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
		u.eventually(gossipTime, func() error {
			return u.docker("exec", "on-n2", "tiny", "get", "http://wanderer/").printed("hello from " + host + "\n")
		})
		u.do((*lab.Lab).Start, first)
		u.awaitEngines(machines)
	})
	u.sub("rm removes it", func(u *user) {
		u.docker("network", "rm", "wide").exits(1)
		u.docker("rm", "-f", "on-n1", "on-n2", "mover").ok()
		u.eventually(gossipTime, func() error { // the engines' swarm may know a container for longer
			return u.docker("network", "rm", "wide").printed("wide\n")
		})
		began := time.Now()
		u.eventually(gossipTime, func() error {
			list := []string{"network", "ls", "-q", "--filter", "label=tier=web"}
			shown := u.out(list...)
			if shown == "" {
				return nil
			}
			for _, m := range u.stage.lab.Machines() {
				// One that was killed in its swarm may never let go of a network.
				if time.Since(began) > gossipTime/2 && u.on(m.Name).out(list...) != "" {
					u.t.Logf("the engine of %s itself still has it", m.Name)
					return nil
				}
			}
			return fmt.Errorf("docker network ls shows %q", shown)
		})
	})
}
