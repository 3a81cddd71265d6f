//go:build linux

package virtualengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skep/skep/internal/lab"
)

const (
	// noticed is how long it may take until an engine that does not answer is
	// shown as such: three probes, each with its timeout, and the wait before.
	noticed = 15 * time.Second
	// returned is how long it may take until one that is back is in use again.
	returned = 15 * time.Second
	// prompt is how long docker ps may take, whatever the engines do.
	prompt = time.Second
)

// do does something to machines, which must succeed.
func (u *user) do(action func(*lab.Lab, context.Context, ...string) error, machines ...string) {
	u.t.Helper()
	if err := action(u.stage.lab, u.t.Context(), machines...); err != nil {
		u.t.Fatal(err)
	}
}

// TestFailure breaks two of three engines at once, in two ways each time, and
// looks at what a user of the third one notices: nothing.
func TestFailure(t *testing.T) {
	type failure struct {
		name         string
		breaks       func(*lab.Lab, context.Context, ...string) error
		mends        func(*lab.Lab, context.Context, ...string) error
		stillRunning bool // what was running, after the return
	}
	hang := failure{"hangs", (*lab.Lab).Pause, (*lab.Lab).Unpause, true}
	kill := failure{"is killed", (*lab.Lab).Kill, (*lab.Lab).Start, false}
	crash := failure{"loses its power", (*lab.Lab).Crash, (*lab.Lab).Start, false}
	cut := failure{"is cut off", (*lab.Lab).Cut, (*lab.Lab).Heal, true}
	for _, broken := range []map[string]failure{{"n2": hang, "n3": cut}, {"n2": kill, "n3": crash}} {
		t.Run(fmt.Sprintf("n2 %s and n3 %s", broken["n2"].name, broken["n3"].name), func(t *testing.T) {
			u := newUser(t)
			for _, node := range []string{"n1", "n2", "n3"} {
				u.run("--name", "on-"+node, "-e", "constraint:node=="+node, tiny, "tiny", "tick")
			}
			events := u.start("events", "--filter", "type=swarm", "--format", "{{.Action}} {{.Actor.Attributes}}")
			u.listening(1)
			logs, attached := u.start("logs", "-f", "on-n1"), u.start("attach", "on-n1")
			logs.expect("tick 2\n")
			attached.expect("tick ")
			for node, f := range broken {
				u.do(f.breaks, node)
			}
			caught := u.start("create", "--name", "caught", "-e", "constraint:node==n2", tiny)
			u.sub("docker ps answers at once all the time, and soon says which hosts are down", func(u *user) {
				u.eventually(noticed, func() error {
					r := u.docker("ps", "-a", "--format", "{{.Names}} {{.Status}}").ok().within(prompt)
					r.shows("n1/on-n1 Up ", "n2/on-n2", "n3/on-n3")
					u.docker("exec", "on-n1", "tiny", "echo", "here").ok().prints("here\n").within(2 * prompt)
					if !strings.Contains(r.stdout, "n2/on-n2 Host Down") || !strings.Contains(r.stdout, "n3/on-n3 Host Down") {
						return errors.New(r.String())
					}
					return nil
				})
			})
			u.sub("a container that was on its way there fails with the reason", func(u *user) {
				caught.wait(noticed).exits(1).complains("n2")
			})
			u.sub("docker info shows the state and the error", func(u *user) {
				r := u.docker("info").ok().within(prompt)
				for node := range broken {
					rows := u.engine(node).rows
					if rows["Status"] != "Unhealthy" || rows["Error"] == "" {
						u.t.Errorf("%s is shown with %v", node, rows)
					}
					r.shows("Error: " + rows["Error"])
				}
				equal(u.t, "status of n1", u.engine("n1").rows["Status"], "Healthy")
			})
			u.sub("commands to a container that is down fail at once and say why", func(u *user) {
				for _, node := range []string{"n2", "n3"} {
					for _, args := range [][]string{{"inspect", "--type", "container"}, {"logs"}, {"stop"}, {"start"}, {"rm", "-f"}, {"attach"}, {"top"}, {"wait"}, {"diff"}} {
						u.docker(append(args, "on-"+node)...).exits(1).within(prompt).complains("unhealthy node " + node)
					}
					u.docker("exec", "on-"+node, "tiny").exits(1).within(prompt).complains("unhealthy node " + node)
					u.docker("cp", "on-"+node+":/plain.txt", "-").exits(1).within(prompt).complains("unhealthy node " + node)
				}
			})
			u.sub("all else goes on without it", func(u *user) {
				for _, args := range [][]string{{"images"}, {"network", "ls"}, {"volume", "ls"}, {"version"}, {"stats", "--no-stream", "on-n1"}, {"events", "--since", "1", "--until", now()}} {
					u.docker(args...).ok().within(5 * time.Second)
				}
				for i := range 3 {
					name := fmt.Sprint("new", i)
					u.run("--name", name, tiny, "tiny", "sleep")
					equal(u.t, "node", u.nodeOf(name), "n1")
					u.docker("rm", "-f", name).ok()
				}
				u.docker("create", "-e", "constraint:node==n2", tiny).exits(1).complains(unplaceable, "1 node: ")
				u.docker("create", "--name", "on-n2", tiny).exits(1).complains("Conflict.")
			})
			u.sub("streams from other engines go on", func(u *user) {
				for _, b := range []*background{logs, attached} {
					b.expect("tick ", strings.Count(b.out.String(), "tick ")+5)
					b.running()
				}
			})
			for node, f := range broken {
				u.do(f.mends, node)
			}
			u.sub("after the return all is right again", func(u *user) {
				u.eventually(returned, func() error {
					for node, f := range broken {
						if s := u.engine(node).rows["Status"]; s != "Healthy" {
							return fmt.Errorf("%s is %s", node, s)
						}
						theirs := u.on(node).out("ps", "-a", "--filter", "name=on-", "--format", "{{.Names}} {{.State}}")
						if ours := u.out("ps", "-a", "--filter", "name=on-", "--filter", "node="+node, "--format", "{{.Names}} {{.State}}"); ours != node+"/"+theirs {
							return fmt.Errorf("docker ps says %s, the engine %s", ours, theirs)
						}
						if running := strings.HasSuffix(theirs, "running"); running != f.stillRunning {
							return fmt.Errorf("after it %s: %s", f.name, theirs)
						}
					}
					return nil
				})
				for node, f := range broken {
					if !f.stillRunning {
						u.docker("start", "on-"+node).ok()
					}
					u.docker("exec", "on-"+node, "tiny", "echo", "here").ok().prints("here\n")
					equal(u.t, "node", u.create("-e", "constraint:node=="+node), node)
					equal(u.t, "error of "+node, u.engine(node).rows["Error"], "")
					events.expect("engine_disconnect map[node.addr:" + u.engine(node).addr)
					events.expect("engine_reconnect map[node.addr:" + u.engine(node).addr)
				}
			})
			u.sub("it has cost no fault", func(u *user) {
				if err := u.boss.faults(); err != nil {
					u.t.Error(err)
				}
			})
		})
	}
}

func TestFailure_powerCutEndsPausedContainers(t *testing.T) {
	u := newUser(t)
	u.run("--name", "frozen", "-e", "constraint:node==n3", tiny, "tiny", "sleep")
	u.docker("pause", "frozen").ok()
	u.do((*lab.Lab).Crash, "n3")
	u.do((*lab.Lab).Start, "n3")
	u.eventually(noticed+returned, func() error {
		if s := u.docker("inspect", "-f", "{{.State.Status}}", "frozen").stdout; s != "exited\n" {
			return fmt.Errorf("it is %q", s)
		}
		return nil
	})
	u.docker("start", "frozen").ok()
	u.docker("exec", "frozen", "tiny", "echo", "thawed").ok().prints("thawed\n")
}

// TestFailure_events compares what a listener at the manager is told of an
// engine's events with what the engine itself tells.
func TestFailure_events(t *testing.T) {
	u := newUser(t)
	local := u.on("n2")
	u.sub("none is lost or doubled when the engine is restarted", func(u *user) {
		for i := range 3 {
			local.run("--name", fmt.Sprint("phoenix", i), "--restart", "always", tiny, "tiny", "sleep")
		}
		began := now()
		ours := u.start("events", "--filter", "node=n2", "--filter", "type=container", "--format", "{{json .}}")
		theirs := local.start("events", "--since", began, "--filter", "type=container", "--format", "{{json .}}")
		u.listening(1)
		for i := range 5 {
			local.docker("create", "--name", fmt.Sprint("before", i), tiny).ok()
		}
		theirs.expect("before4")
		u.do((*lab.Lab).Stop, "n2")
		theirs.wait(10 * time.Second)
		u.do((*lab.Lab).Start, "n2")
		local.docker("create", "--name", "after", tiny).ok()
		u.eventually(returned, func() error {
			if s := u.engine("n2").rows["Status"]; s != "Healthy" {
				return fmt.Errorf("n2 is %s", s)
			}
			return nil
		})
		ours.expect(`"name":"after"`)
		// The first listener was cut off by the stop; the second is told what
		// the new engine has done since.
		want := readEvents(u.t, theirs.out.String())
		want = append(want, local.past(began, "--filter", "type=container")...)
		u.eventually(eventTime, func() error {
			got := told(readEvents(u.t, ours.out.String()))
			if w := told(want); !slices.Equal(sorted(got...), sorted(w...)) {
				return fmt.Errorf("skep tells %q,\nthe engine %q", got, w)
			}
			return nil
		})
	})
	u.sub("none is lost or doubled while the engine is cut off", func(u *user) {
		began := now()
		ours := u.start("events", "--filter", "node=n2", "--filter", "type=container", "--format", "{{json .}}")
		u.listening(1)
		u.do((*lab.Lab).Cut, "n2")
		for i := range 20 {
			local.docker("create", "--name", fmt.Sprint("hidden", i), tiny).ok()
		}
		u.eventually(noticed, func() error {
			if s := u.engine("n2").rows["Status"]; s != "Unhealthy" {
				return fmt.Errorf("n2 is %s", s)
			}
			return nil
		})
		u.do((*lab.Lab).Heal, "n2")
		u.eventually(returned, func() error {
			got, want := told(readEvents(u.t, ours.out.String())), told(local.past(began, "--filter", "type=container"))
			equal(u.t, "events of the engine", len(want), 20)
			if !slices.Equal(got, want) {
				return fmt.Errorf("skep tells %q,\nthe engine %q", got, want)
			}
			return nil
		})
	})
}

// keyFile is where a machine's engine has its ID.
func (u *user) keyFile(machine string) string {
	return filepath.Join(u.stage.Dir, "lab", machine, "etc-docker", "key.json")
}

// rekey gives a machine's engine another key file, none for nil, and with it
// another ID.
func (u *user) rekey(machine string, key []byte) {
	u.t.Helper()
	u.do((*lab.Lab).Stop, machine)
	err := os.Remove(u.keyFile(machine))
	if err == nil && key != nil {
		err = os.WriteFile(u.keyFile(machine), key, 0o600)
	}
	if rerr := os.Remove(filepath.Join(u.stage.Dir, "lab", machine, "data", "engine-id")); !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	if err != nil {
		u.t.Fatal(err)
	}
	u.do((*lab.Lab).Start, machine)
}

func TestFailure_identity(t *testing.T) {
	u := newUser(t)
	u.run("--name", "keeper", "-e", "constraint:node==n3", "--restart", "always", tiny, "tiny", "sleep")
	u.run("--name", "other", "-e", "constraint:node==n1", tiny, "tiny", "sleep")
	u.sub("an engine that comes back with another ID is taken for another engine, and used", func(u *user) {
		before := u.engine("n3").rows["ID"]
		u.rekey("n3", nil)
		u.eventually(returned, func() error {
			rows := u.engine("n3").rows
			if rows["Status"] != "Healthy" || rows["ID"] == before {
				return fmt.Errorf("n3 was %s and is %v", before, rows)
			}
			return nil
		})
		equal(u.t, "node", u.nodeOf("keeper"), "n3")
		equal(u.t, "ID of the node", u.inspect("{{.Node.ID}}", "keeper"), u.on("n3").out("info", "-f", "{{.ID}}"))
		u.docker("exec", "keeper", "tiny", "echo", "here").ok().prints("here\n")
		equal(u.t, "containers", len(u.names("-a")), 2)
	})
	u.sub("an engine with the ID of another is shown with the error, and not used", func(u *user) {
		key, err := os.ReadFile(u.keyFile("n1"))
		if err != nil {
			u.t.Fatal(err)
		}
		u.t.Cleanup(func() {
			v := *u
			v.t = t // the sub-test's context is done
			v.rekey("n2", nil)
		})
		u.rekey("n2", key)
		u.eventually(returned, func() error {
			rows := u.engine("n2").rows
			if rows["Status"] != "Pending" || !strings.Contains(rows["Error"], "ID duplicated") {
				return fmt.Errorf("n2 is shown as %v", rows)
			}
			return nil
		})
		u.docker("info").ok().shows("(unknown): 10.99.0.12:2375", "ID duplicated", "10.99.0.11:2375")
		u.docker("exec", "other", "tiny", "echo", "here").ok().prints("here\n")
		for range 4 {
			if node := u.create(); node == "n2" {
				u.t.Error("a container is placed on n2")
			}
		}
	})
	u.sub("and is used again once it has its own", func(u *user) {
		u.eventually(returned+20*time.Second, func() error {
			if rows := u.engine("n2").rows; rows["Status"] != "Healthy" {
				return fmt.Errorf("n2 is shown as %v", rows)
			}
			return nil
		})
		equal(u.t, "node", u.create("-e", "constraint:node==n2"), "n2")
	})
}
