package simengine

import (
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
	// untilStarted is for the simulator's own streams.
	untilStarted waitCondition = "started"
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

// await gives a channel that is told the container's exit code when the
// condition is met; mu is held. leave ends it.
func (c *container) await(condition waitCondition) chan int {
	met := make(chan int, 1)
	if condition == untilNotRunning && !c.alive() {
		met <- c.exitCode
		return met
	}
	if c.waiters == nil {
		c.waiters = map[chan int]waitCondition{}
	}
	c.waiters[met] = condition
	return met
}

func (e *Engine) leave(c *container, waiters ...chan int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ch := range waiters {
		delete(c.waiters, ch)
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
	ended := c.await(condition)
	e.mu.Unlock()
	defer e.leave(c, ended)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case code := <-ended:
		_, _ = w.Write([]byte(`{"StatusCode":` + strconv.Itoa(code) + "}\n")) // a client that has gone needs no answer
	}
}
