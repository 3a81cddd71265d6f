//go:build linux

package virtualengine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// event is an event as the API sends it.
type event struct {
	Type, Action string
	From         string `json:"from"`
	Actor        struct {
		ID         string
		Attributes map[string]string
	}
	TimeNano int64 `json:"timeNano"`
}

func (e event) String() string {
	name := e.Actor.Attributes["name"]
	if name == "" {
		name = e.Actor.ID
	}
	return e.Type + " " + e.Action + " " + name
}

// readEvents reads what `docker events --format '{{json .}}'` prints.
func readEvents(t *testing.T, text string) []event {
	t.Helper()
	var events []event
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			break // not whole yet
		}
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		events = append(events, e)
	}
	return events
}

// now is the present for --since and --until.
func now() string { return fmt.Sprintf("%.9f", float64(time.Now().UnixNano())/1e9) }

// past gives the events that have been.
func (u *user) past(since string, args ...string) []event {
	u.t.Helper()
	args = append([]string{"events", "--since", since, "--until", now(), "--format", "{{json .}}"}, args...)
	return readEvents(u.t, u.docker(args...).ok().stdout)
}

// told are events as text, without those of networks and volumes, which
// engines send besides.
func told(events []event, types ...string) []string {
	var out []string
	for _, e := range events {
		if len(types) == 0 || slices.Contains(types, e.Type) {
			out = append(out, e.String())
		}
	}
	return out
}

func TestEvents(t *testing.T) {
	u := newUser(t)
	began := now()
	live := u.start("events", "--format", "{{json .}}", "--filter", "type=container")
	u.listening(1)
	life := func(name, node string) {
		u.run("--name", name, "-l", "tier="+name, "-e", "constraint:node=="+node, tiny, "tiny", "sleep")
		u.docker("exec", name, "tiny", "echo").ok()
		u.docker("stop", "-t", "5", name).ok()
		u.docker("rm", name).ok()
	}
	life("one", "n1")
	life("two", "n2")
	life("three", "n3")
	// What the life of one container is, by the engines' own account.
	of := func(name string) []string {
		return []string{
			"container create " + name, "container start " + name,
			"container exec_create: tiny echo " + name, "container exec_start: tiny echo " + name, "container exec_die " + name,
			"container kill " + name, "container die " + name, "container stop " + name, "container destroy " + name,
		}
	}
	// An engine does not promise the order of die, stop and exec's end.
	inOrder := func(t *testing.T, what string, got []string) {
		t.Helper()
		want := slices.Concat(of("one"), of("two"), of("three"))
		sameList(t, what, sorted(got...), sorted(want...))
		for i, e := range got {
			if name := []string{"one", "two", "three"}[min(i/9, 2)]; !strings.HasSuffix(e, " "+name) {
				t.Errorf("%s: event %d is %q, not of %s", what, i, e, name)
			}
		}
	}
	u.sub("come live and in order", func(u *user) {
		live.expect(`"destroy"`, 3)
		inOrder(u.t, "live events", told(readEvents(u.t, live.out.String())))
	})
	u.sub("of the past come in order, with --since and --until", func(u *user) {
		inOrder(u.t, "past events", told(u.past(began), "container"))
	})
	u.sub("stand in the order of their times", func(u *user) {
		events := u.past(began)
		if !slices.IsSortedFunc(events, func(a, b event) int { return int(a.TimeNano - b.TimeNano) }) {
			u.t.Errorf("not in order: %v", events)
		}
	})
	u.sub("say which node they are of", func(u *user) {
		for _, e := range u.past(began, "--filter", "container=two") {
			a := e.Actor.Attributes
			if a["node.name"] != "n2" || a["node.addr"] != "10.99.0.12:2375" || a["node.ip"] != "10.99.0.12" || a["node.id"] == "" {
				u.t.Errorf("%s has the attributes %v", e, a)
			}
			equal(u.t, "from", e.From, tiny+" node:n2")
		}
		u.docker("events", "--since", began, "--until", now(), "--filter", "container=two").ok().shows("container create ", "node.name=n2", "image=tiny:1")
	})
	for _, tc := range []struct {
		filters string
		want    []string
	}{
		{"container=one", of("one")},
		{"container=n1/one", of("one")},
		{"container=n2/one", nil},
		{"type=container node=n3", of("three")},
		{"type=container label=tier=two", of("two")},
		{"event=create type=container", []string{"container create one", "container create two", "container create three"}},
		{"event=die container=one container=two", []string{"container die one", "container die two"}},
		{"event=start event=destroy container=three", []string{"container start three", "container destroy three"}},
		{"event=exec_create container=one", []string{"container exec_create: tiny echo one"}},
		{"image=tiny:1 event=start", []string{"container start one", "container start two", "container start three"}},
		{"image=tiny event=start", []string{"container start one", "container start two", "container start three"}},
		{"image=other", nil},
		{"type=volume", nil},
		{"scope=swarm", nil},
	} {
		u.sub("filter "+tc.filters, func(u *user) {
			var args []string
			for f := range strings.FieldsSeq(tc.filters) {
				args = append(args, "--filter", f)
			}
			sameList(u.t, "events", sorted(told(u.past(began, args...))...), sorted(tc.want...))
		})
	}
	u.sub("go from the past into the present without a gap or a double", func(u *user) {
		b := u.start("events", "--since", began, "--filter", "type=container", "--filter", "event=create", "--format", "{{json .}}")
		b.expect("\n", 3)
		for i := range 5 {
			u.docker("create", "--name", fmt.Sprint("later", i), tiny).ok()
		}
		b.expect("later4")
		sameList(u.t, "events", told(readEvents(u.t, b.out.String())), []string{
			"container create one", "container create two", "container create three",
			"container create later0", "container create later1", "container create later2", "container create later3", "container create later4",
		})
	})
	u.sub("end by themselves at --until in the future", func(u *user) {
		u.docker("events", "--until", fmt.Sprint(time.Now().Add(2*time.Second).Unix())).ok().within(5 * time.Second)
	})
	u.sub("of images, networks and volumes too", func(u *user) {
		began := now()
		u.docker("tag", tiny, "tagged:1").ok()
		u.docker("network", "create", "n2/eventful").ok()
		u.docker("volume", "create", "n3/eventful").ok()
		u.docker("network", "rm", "n2/eventful").ok()
		u.docker("volume", "rm", "n3/eventful").ok()
		u.docker("rmi", "tagged:1").ok()
		events := told(u.past(began), "network", "volume", "image")
		for want, n := range map[string]int{
			"network create eventful": 1, "network destroy eventful": 1, "volume create eventful": 1, "volume destroy eventful": 1,
			"image tag tagged:1": 3, "image untag " + u.out("image", "inspect", "-f", "{{.Id}}", tiny): 3,
		} {
			got := 0
			for _, e := range events {
				if e == want {
					got++
				}
			}
			if got != n {
				u.t.Errorf("%q comes %d times, not %d, in %q", want, got, n, events)
			}
		}
	})
	u.sub("that make no sense are refused", func(u *user) {
		u.docker("events", "--since", "2026-01-02T00:00:00Z", "--until", "2026-01-01T00:00:00Z").exits(1).complains("cannot be after `until`")
		u.docker("events", "--filter", "nosuch=x").exits(1).complains("nosuch")
		u.docker("events", "--since", "whenever").exits(1)
	})
	u.sub("reach many listeners", func(u *user) {
		var all []*background
		for range 10 {
			all = append(all, u.start("events", "--filter", "container=widely"))
		}
		u.listening(10)
		u.docker("create", "--name", "widely", tiny).ok()
		for _, b := range all {
			b.expect("container create")
		}
	})
}

// listening waits until the manager has so many listeners.
func (u *user) listening(n int) {
	u.t.Helper()
	u.eventually(10*time.Second, func() error {
		body, err := u.boss.get("/info")
		if err != nil {
			return err
		}
		var info struct{ NEventsListener int }
		if err := json.Unmarshal(body, &info); err != nil {
			return err
		}
		if info.NEventsListener < n {
			return fmt.Errorf("%d listen, not %d", info.NEventsListener, n)
		}
		return nil
	})
}

// What users do with an engine's own CLI must show, and vanish, by itself.
func TestEvents_behindTheManagersBack(t *testing.T) {
	u := newUser(t)
	shows := func(u *user, want ...string) {
		u.t.Helper()
		u.eventually(eventTime, func() error {
			if got := u.docker("ps", "-a", "--format", "{{.Names}} {{.State}}").ok().lines(); !slices.Equal(got, want) {
				return fmt.Errorf("docker ps -a shows %q, not %q", got, want)
			}
			return nil
		})
	}
	u.sub("a container shows, changes and vanishes", func(u *user) {
		local := u.on("n2")
		local.run("--name", "local", tiny, "tiny", "sleep")
		shows(u, "n2/local running")
		u.docker("exec", "local", "tiny", "echo", "hello").ok().prints("hello\n")
		local.docker("pause", "local").ok()
		shows(u, "n2/local paused")
		local.docker("unpause", "local").ok()
		local.docker("rename", "local", "renamed").ok()
		shows(u, "n2/renamed running")
		local.docker("stop", "-t", "1", "renamed").ok()
		shows(u, "n2/renamed exited")
		local.docker("rm", "renamed").ok()
		shows(u)
	})
	u.sub("an image shows and vanishes", func(u *user) {
		images := func(want int) {
			u.t.Helper()
			u.eventually(eventTime, func() error {
				if got := u.docker("images", "-q", "local:1").ok().lines(); len(got) != want {
					return fmt.Errorf("docker images shows %q", got)
				}
				return nil
			})
		}
		u.on("n3").docker("tag", tiny, "local:1").ok()
		images(1)
		u.on("n3").docker("rmi", "local:1").ok()
		images(0)
	})
	u.sub("a network and a volume show and vanish", func(u *user) {
		for _, kind := range []string{"network", "volume"} {
			is := func(want string) {
				u.t.Helper()
				u.eventually(eventTime, func() error {
					if got := u.out(kind, "ls", "--filter", "name=local", "--format", "{{.Name}}"); got != want {
						return errors.New("docker " + kind + " ls shows " + got)
					}
					return nil
				})
			}
			u.on("n1").docker(kind, "create", "local-"+kind).ok()
			is("n1/local-" + kind)
			u.on("n1").docker(kind, "rm", "local-"+kind).ok()
			is("")
		}
	})
}
