package simengine

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// state is where a container is in its life, as lists call it.
type state string

const (
	created state = "created"
	running state = "running"
	paused  state = "paused"
	exited  state = "exited"
)

// container is a container; its engine's mu guards it.
type container struct {
	id, name     string
	image        *image
	config, host json.RawMessage // as given at create
	labels       map[string]string
	path         string
	args         []string
	tty          bool
	autoRemove   bool
	restarts     bool // when its engine starts
	ports        []port

	state                      state
	exitCode                   int
	created, started, finished time.Time
	// waiters are told the exit code when the container stops or goes; each has
	// room for one.
	waiters map[chan int]waitCondition
}

// alive says whether the container has its imagined process.
func (c *container) alive() bool { return c.state == running || c.state == paused }

// What the containers of the beginning share.
var (
	seedConfig = json.RawMessage(`{"Hostname":"sim","Image":"busybox:latest","Cmd":["sleep","infinity"],"Env":["PATH=/bin"],"Labels":{"app":"sim","tier":"web"},"ExposedPorts":{"80/tcp":{}}}`)
	seedHost   = json.RawMessage(`{"Memory":67108864,"NanoCpus":0,"CpuShares":0,"NetworkMode":"bridge","IpcMode":"private","PidMode":"","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"LogConfig":{"Type":"json-file","Config":{}}}`)
	seedLabels = map[string]string{"app": "sim", "tier": "web"}
	seedArgs   = []string{"infinity"}
)

// addContainer takes c in; mu is held, or the engine is not shared yet.
func (e *Engine) addContainer(c *container) {
	e.containers[c.id] = c
	e.names[c.name] = c
	e.ordered = append(e.ordered, c)
}

// find gives the container with this ID, name or beginning of an ID.
func (e *Engine) find(ref string) (*container, error) {
	ref = strings.TrimPrefix(ref, "/")
	if c := e.containers[ref]; c != nil {
		return c, nil
	}
	if c := e.names[ref]; c != nil {
		return c, nil
	}
	var found *container
	for id, c := range e.containers {
		if ref != "" && strings.HasPrefix(id, ref) {
			if found != nil {
				return nil, &failure{http.StatusBadRequest, fmt.Sprintf("Multiple IDs found with provided prefix: %s", ref)}
			}
			found = c
		}
	}
	if found == nil {
		return nil, &failure{http.StatusNotFound, "No such container: " + ref}
	}
	return found, nil
}

// failure is an error with its HTTP status.
type failure struct {
	status  int
	message string
}

func (f *failure) Error() string { return f.message }

func failWith(w http.ResponseWriter, err error) {
	if f, ok := err.(*failure); ok {
		fail(w, f.status, f.message)
		return
	}
	fail(w, http.StatusInternalServerError, err.Error())
}

func (e *Engine) routeContainer(w http.ResponseWriter, r *http.Request, rest string) {
	ref, verb, _ := strings.Cut(rest, "/")
	get := r.Method == http.MethodGet
	switch {
	case get && rest == "json":
		e.listContainers(w, r)
	case r.Method == http.MethodPost && rest == "create":
		e.createContainer(w, r)
	case get && verb == "json":
		e.inspectContainer(w, ref)
	case get && verb == "logs":
		e.logs(w, r, ref)
	case r.Method == http.MethodPost && verb == "wait":
		e.wait(w, r, ref)
	case r.Method == http.MethodPost && verb == "attach":
		e.attach(w, r, ref)
	case r.Method == http.MethodDelete && verb == "":
		e.removeContainer(w, r, ref)
	case r.Method == http.MethodPost && verb != "":
		e.changeContainer(w, r, ref, verb)
	default:
		e.notSimulated(w, r)
	}
}

// changeContainer carries out the verbs that move a container from state to
// state. Those that find it where they would bring it answer 304.
func (e *Engine) changeContainer(w http.ResponseWriter, r *http.Request, ref, verb string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.find(ref)
	if err != nil {
		failWith(w, err)
		return
	}
	alive := c.alive()
	conflict := func(what string) { fail(w, http.StatusConflict, "Container "+c.id+" is "+what) }
	switch verb {
	case "start":
		if alive {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if err := e.start(c); err != nil {
			failWith(w, err)
			return
		}
	case "stop":
		if !alive {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		e.signal(c, "15")
		e.stopped(c, 137)
		e.tell(c, "stop", nil)
	case "kill":
		if !alive {
			conflict("not running")
			return
		}
		number, deadly := signalOf(r.URL.Query().Get("signal"))
		e.signal(c, number)
		if deadly > 0 {
			e.stopped(c, 128+deadly)
		}
	case "restart":
		if alive {
			removed := c.autoRemove
			c.autoRemove = false // a restart is no end
			e.signal(c, "15")
			e.stopped(c, 137)
			c.autoRemove = removed
		}
		if err := e.start(c); err != nil {
			failWith(w, err)
			return
		}
		e.tell(c, "restart", nil)
	case "pause":
		if c.state != running {
			conflict("not running")
			return
		}
		c.state = paused
		e.tell(c, "pause", nil)
	case "unpause":
		if c.state != paused {
			conflict("not paused")
			return
		}
		c.state = running
		e.tell(c, "unpause", nil)
	case "rename":
		if err := e.rename(c, strings.TrimPrefix(r.URL.Query().Get("name"), "/")); err != nil {
			failWith(w, err)
			return
		}
	default:
		e.notSimulated(w, r)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// signalOf gives a signal as events tell it, and its number if it is one that
// ends a container's process, else 0.
func signalOf(given string) (told string, deadly int) {
	given = strings.TrimPrefix(strings.ToUpper(given), "SIG")
	if given == "" {
		given = "KILL"
	}
	for name, number := range map[string]int{"KILL": 9, "TERM": 15, "INT": 2, "QUIT": 3, "HUP": 1} {
		if told := strconv.Itoa(number); given == name || given == told {
			return told, number
		}
	}
	return given, 0
}

func (e *Engine) signal(c *container, number string) {
	e.tell(c, "kill", map[string]string{"signal": number})
}

// start makes the container run; mu is held. The commands true and false end at
// once: there must be a way to see a container end by itself.
func (e *Engine) start(c *container) error {
	if err := e.openPorts(c); err != nil {
		return err
	}
	c.state, c.started, c.exitCode = running, time.Now().UTC(), 0
	e.tell(c, "start", nil)
	c.wake(untilStarted)
	switch c.path {
	case "true", "/bin/true":
		e.stopped(c, 0)
	case "false", "/bin/false":
		e.stopped(c, 1)
	}
	return nil
}

// stopped ends the container's imagined process; mu is held.
func (e *Engine) stopped(c *container, code int) {
	c.state, c.exitCode, c.finished = exited, code, time.Now().UTC()
	e.tell(c, "die", map[string]string{"exitCode": strconv.Itoa(code)})
	c.wake(untilNotRunning, untilNextExit)
	if c.autoRemove {
		e.drop(c)
	}
}

func (e *Engine) rename(c *container, name string) error {
	switch other := e.names[name]; {
	case name == "":
		return &failure{http.StatusBadRequest, "Neither old nor new names may be empty"}
	case !containerName.MatchString(name):
		return badName(name)
	case other != nil && other != c:
		return &failure{http.StatusConflict, fmt.Sprintf("Conflict. The container name %q is already in use by container %q.", "/"+name, other.id)}
	}
	old := c.name
	delete(e.names, old)
	c.name = name
	e.names[name] = c
	e.tell(c, "rename", map[string]string{"oldName": "/" + old})
	return nil
}

func (e *Engine) removeContainer(w http.ResponseWriter, r *http.Request, ref string) {
	force, _ := strconv.ParseBool(r.URL.Query().Get("force"))
	e.mu.Lock()
	defer e.mu.Unlock()
	c, err := e.find(ref)
	if err != nil {
		failWith(w, err)
		return
	}
	if c.alive() {
		if !force {
			fail(w, http.StatusConflict, fmt.Sprintf("cannot remove container %q: container is %s: stop the container before removing or force remove", "/"+c.name, c.state))
			return
		}
		c.autoRemove = false
		e.signal(c, "9")
		e.stopped(c, 137)
	}
	e.drop(c)
	w.WriteHeader(http.StatusNoContent)
}

// drop takes a stopped container out; mu is held.
func (e *Engine) drop(c *container) {
	delete(e.containers, c.id)
	delete(e.names, c.name)
	for i := len(e.ordered) - 1; i >= 0; i-- {
		if e.ordered[i] == c {
			e.ordered[i] = nil
			e.holes++
			break
		}
	}
	if e.holes > 64 && e.holes > len(e.containers) {
		kept := make([]*container, 0, len(e.containers))
		for _, other := range e.ordered {
			if other != nil {
				kept = append(kept, other)
			}
		}
		e.ordered, e.holes = kept, 0
	}
	e.tell(c, "destroy", nil)
	c.wake(untilNotRunning, untilNextExit, untilRemoved)
}
