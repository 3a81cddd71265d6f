package simengine

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"strconv"
)

// waitCondition is what a client waits for.
type waitCondition string

const (
	untilNotRunning waitCondition = "not-running"
	untilNextExit   waitCondition = "next-exit"
	untilRemoved    waitCondition = "removed"
)

// wake tells those who wait for one of these conditions; the engine's mu is held.
func (c *container) wake(met ...waitCondition) {
	for ch, want := range c.waiters {
		for _, condition := range met {
			if want == condition {
				ch <- c.exitCode // has room: it is told once
				delete(c.waiters, ch)
				break
			}
		}
	}
}

// wait answers its head at once, so that a client knows that it will miss
// nothing, and its body when the condition is met.
func (e *Engine) wait(w http.ResponseWriter, r *http.Request, ref string) {
	condition := waitCondition(r.URL.Query().Get("condition"))
	switch condition {
	case "":
		condition = untilNotRunning
	case untilNotRunning, untilNextExit, untilRemoved:
	default:
		fail(w, http.StatusBadRequest, fmt.Sprintf("invalid condition: %q", condition))
		return
	}
	e.mu.Lock()
	c, err := e.find(ref)
	if err != nil {
		e.mu.Unlock()
		failWith(w, err)
		return
	}
	ended := make(chan int, 1)
	if condition == untilNotRunning && c.state != running && c.state != paused {
		ended <- c.exitCode
	} else {
		if c.waiters == nil {
			c.waiters = map[chan int]waitCondition{}
		}
		c.waiters[ended] = condition
	}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(c.waiters, ended)
	}()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case code := <-ended:
		_, _ = w.Write([]byte(`{"StatusCode":` + strconv.Itoa(code) + "}\n")) // a client that has gone needs no answer
	}
}

// logs gives the one line that every simulated container writes when it starts.
func (e *Engine) logs(w http.ResponseWriter, r *http.Request, ref string) {
	query := r.URL.Query()
	e.mu.Lock()
	c, err := e.find(ref)
	var line string
	var tty bool
	if err == nil {
		tty = c.tty
		if !c.started.IsZero() {
			line = "simulated container " + c.name + " runs on " + e.cfg.Name + "\n"
		}
	}
	e.mu.Unlock()
	if err != nil {
		failWith(w, err)
		return
	}
	stdout, _ := strconv.ParseBool(query.Get("stdout"))
	stderr, _ := strconv.ParseBool(query.Get("stderr"))
	if !stdout && !stderr {
		fail(w, http.StatusBadRequest, "Bad parameters: you must choose at least one stream")
		return
	}
	follow, _ := strconv.ParseBool(query.Get("follow"))
	var out []byte
	if stdout && line != "" && query.Get("tail") != "0" {
		if tty {
			out = []byte(line)
		} else {
			out = append(binary.BigEndian.AppendUint32([]byte{1, 0, 0, 0}, uint32(len(line))), line...)
		}
	}
	kind := "application/vnd.docker.multiplexed-stream"
	if tty {
		kind = "application/vnd.docker.raw-stream"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(out) // a client that has gone needs no answer
	if follow {
		e.untilStopped(w, r, c)
	}
}

// untilStopped holds a stream open while the container runs.
func (e *Engine) untilStopped(w http.ResponseWriter, r *http.Request, c *container) {
	_ = http.NewResponseController(w).Flush()
	ended := make(chan int, 1)
	e.mu.Lock()
	if c.state != running && c.state != paused {
		e.mu.Unlock()
		return
	}
	if c.waiters == nil {
		c.waiters = map[chan int]waitCondition{}
	}
	c.waiters[ended] = untilNotRunning
	e.mu.Unlock()
	select {
	case <-r.Context().Done():
	case <-ended:
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(c.waiters, ended)
}
