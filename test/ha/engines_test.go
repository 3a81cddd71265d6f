//go:build linux

package ha_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/lab"
)

const (
	// noticed is how long it may take until an engine that does not answer is
	// left out: probes, each with its timeout, and the wait before.
	noticed = 15 * time.Second
	// moved is how long it may take until its containers run elsewhere.
	moved = noticed + 15*time.Second
	// prompt is how long docker ps and docker info may take, whatever happens.
	prompt = time.Second
)

func (c *cluster) enginesFail(t *testing.T) {
	for _, f := range []struct {
		name          string
		breaks, mends func(*lab.Lab, context.Context, ...string) error
	}{
		{"an engine is killed", (*lab.Lab).Kill, (*lab.Lab).Start},
		{"an engine hangs", (*lab.Lab).Pause, (*lab.Lab).Unpause},
		{"an engine is cut off", (*lab.Lab).Cut, (*lab.Lab).Heal},
	} {
		t.Run(f.name, func(t *testing.T) { c.loseEngine(t, f.breaks, f.mends) })
	}
}

// loseEngine breaks n2, while containers are created everywhere.
func (c *cluster) loseEngine(t *testing.T, breaks, mends func(*lab.Lab, context.Context, ...string) error) {
	_, replicas := c.awaitAll(t)
	defer c.sweep(t)
	const victim = "n2"
	phoenixes := []string{c.own("phoenix0"), c.own("phoenix1")}
	ids := map[string]string{}
	for _, name := range phoenixes {
		ids[name] = replicas[0].runs(t, name, `"Cmd":["tiny","sleep"],"Env":["reschedule:on-node-failure","constraint:node==~`+victim+`"],"Volumes":{"/data":{}},"HostConfig":{"NetworkMode":"none"}`)
	}
	l := startLoad(t, c.own("engine"), c.managers...)
	replicas[0].carries(t, l)
	broken := time.Now()
	if err := breaks(c.lab, t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	t.Logf("containers run elsewhere %s after the fault", eventually(t, moved, func() error {
		for _, m := range c.managers {
			for _, path := range []string{"/containers/json?limit=10", "/info"} {
				m.call(t, prompt, http.MethodGet, path, "")
			}
		}
		return c.runOnce(t, victim, phoenixes)
	}).Round(time.Millisecond))
	quiet := time.Now()
	for _, m := range c.managers {
		t.Logf("%s: a create takes %s", m.name, l.servedAfter(t, quiet, m, 2*grace).Round(time.Millisecond))
	}
	l.stop()
	if err := mends(c.lab, t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	for _, m := range c.managers {
		m.seesEngines(t, machines, 20*time.Second)
	}
	t.Logf("it is healthy for all managers %s after its return", time.Since(back).Round(time.Millisecond))
	eventually(t, 30*time.Second, func() error { return c.superseded(t, victim, ids) })
	t.Logf("what is there twice is settled %s after its return", time.Since(back).Round(time.Millisecond))
	made := l.finish()
	for _, one := range made {
		if took := one.ended.Sub(one.sent); took > noticed+prompt {
			t.Errorf("%s after the fault: a client had to wait too long: %s", one.sent.Sub(broken).Round(time.Millisecond), one)
		}
	}
	c.judge(t, made)
	for _, name := range phoenixes {
		eventually(t, moved, func() error {
			status, text, err := ask(t.Context(), replicas[0].socket, http.MethodGet, "/containers/"+name+"/json", "")
			var found struct{ State struct{ Running bool } }
			if err != nil || status != http.StatusOK || json.Unmarshal(text, &found) != nil || !found.State.Running {
				return fmt.Errorf("%s is shown as %d %s %v", name, status, text, err)
			}
			return nil
		})
	}
}

// inheritStranded: an engine fails, then a manager is started that knows nothing
// of it, and then the manager fails that does.
func (c *cluster) inheritStranded(t *testing.T) {
	primary, replicas := c.awaitAll(t)
	heir := replicas[0]
	const victim, network = "n2", "lonely"
	defer c.sweep(t)
	c.onNetwork(t, victim, http.MethodPost, "/networks/create", `{"Name":"`+network+`"}`)
	defer func() {
		for _, m := range c.lab.Machines() {
			c.onNetwork(t, m.Name, http.MethodDelete, "/networks/"+network, "")
		}
	}()
	defer c.sweep(t) // containers go before their network
	eventually(t, 30*time.Second, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		status, text, err := ask(ctx, primary.socket, http.MethodGet, "/networks/"+network, "")
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("the network is not known: %d %s %v", status, text, err)
		}
		return nil
	})
	// Nobody can move it before another engine has its network.
	primary.runs(t, c.own("stray"), `"Cmd":["tiny","sleep"],"Env":["reschedule:on-node-failure"],"HostConfig":{"NetworkMode":"`+network+`"}`)
	heir.stop(t)
	if err := os.RemoveAll(heir.socket[:len(heir.socket)-len("sock")] + "state"); err != nil {
		t.Fatal(err)
	}
	if err := c.lab.Kill(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	primary.seesEngines(t, machines-1, noticed)
	heir.start(t)
	eventually(t, noticed, func() error {
		if log := tail(heir.log, 1<<20); !strings.Contains(log, "learned of containers on engines that are down") {
			return fmt.Errorf("%s has learned nothing:\n%s", heir.name, tail(heir.log, 3000))
		}
		return nil
	})
	primary.kill(t)
	heir.becomes(t, "primary", ttl+grace)
	c.onNetwork(t, "n1", http.MethodPost, "/networks/create", `{"Name":"`+network+`"}`)
	t.Logf("it runs elsewhere after another %s", eventually(t, 20*time.Second+moved, func() error { return c.runOnce(t, victim, []string{c.own("stray")}) }).Round(time.Millisecond))
	primary.start(t)
	if err := c.lab.Start(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	c.awaitAll(t)
}

// onNetwork changes a network of an engine, which may not be there.
func (c *cluster) onNetwork(t *testing.T, machine, method, path, body string) {
	t.Helper()
	for _, m := range c.lab.Machines() {
		if m.Name != machine {
			continue
		}
		status, text, err := ask(context.Background(), strings.TrimPrefix(m.Host(), "unix://"), method, path, body)
		if err != nil || status >= 400 && status != http.StatusNotFound {
			t.Errorf("%s %s on %s: %d %s %v", method, path, machine, status, text, err)
		}
	}
}

// runs creates and starts a container.
func (m *manager) runs(t *testing.T, name, config string) (id string) {
	t.Helper()
	status, text := m.call(t, 20*time.Second, http.MethodPost, "/containers/create?name="+name,
		`{"Image":"`+tiny+`",`+config+`}`)
	var answer struct{ Id string }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusCreated {
		t.Fatalf("create %s: %d %s", name, status, text)
	}
	if status, text := m.call(t, 20*time.Second, http.MethodPost, "/containers/"+name+"/start", ""); status != http.StatusNoContent {
		t.Fatalf("start %s: %d %s", name, status, text)
	}
	return answer.Id
}

// runOnce says whether each of the containers runs on exactly one of the
// engines that are left.
func (c *cluster) runOnce(t *testing.T, victim string, names []string) error {
	t.Helper()
	running := map[string][]string{}
	for _, one := range c.onEngines(t, victim) {
		if one.running {
			running[one.name] = append(running[one.name], one.engine)
		}
	}
	for _, name := range names {
		if len(running[name]) > 1 {
			t.Fatalf("%s runs on %v", name, running[name])
		}
		if len(running[name]) == 0 {
			return fmt.Errorf("%s does not run", name)
		}
	}
	return nil
}

// superseded says whether the containers of the engine that has come back are
// stopped and kept under another name, as they hold data, and run elsewhere.
func (c *cluster) superseded(t *testing.T, victim string, ids map[string]string) error {
	t.Helper()
	seen := map[string]string{}
	for _, one := range c.onEngines(t) {
		for name, id := range ids {
			switch {
			case one.id == id:
				if want := name + "-superseded-" + id[:12]; one.running || one.name != want || one.engine != victim {
					return fmt.Errorf("the first %s is %+v, want %s", name, one, want)
				}
				seen[id] = one.engine
			case one.name == name && one.running:
				if other, twice := seen[name]; twice {
					t.Fatalf("%s runs on %s and %s", name, other, one.engine)
				}
				seen[name] = one.engine
			case strings.HasPrefix(one.name, name):
				return fmt.Errorf("there is %+v", one)
			}
		}
	}
	if len(seen) != 2*len(ids) {
		return fmt.Errorf("only these are there: %v", seen)
	}
	return nil
}
