package engine

import (
	"context"
	"fmt"
	"time"
)

// move changes the state and tells the observer, one move after the other.
// Illegal moves do nothing: they come from probes that ended after the engine
// was removed.
func (e *Engine) move(to State, err error) {
	e.moves.Lock()
	defer e.moves.Unlock()
	e.moveLocked(to, err)
}

// moveLocked is move for those that hold e.moves.
func (e *Engine) moveLocked(to State, err error) {
	e.mu.Lock()
	from := e.state
	if to == Healthy && e.maintenance {
		to = Maintenance
	}
	if from != to && !from.CanBecome(to) {
		e.mu.Unlock()
		return
	}
	e.lastErr = err
	if err == nil {
		e.failures = 0
		e.updated = time.Now()
	}
	e.state = to
	answers := to == Healthy || to == Maintenance
	if answers && e.alive.Err() != nil {
		e.alive, e.die = context.WithCancel(context.Background())
	}
	if !answers {
		e.die()
	}
	e.mu.Unlock()
	if from != to {
		e.cfg.Observer.EngineState(e, from, to, err)
	}
}

func (e *Engine) becomeHealthy() { e.move(Healthy, nil) }

func (e *Engine) becomePending(err error) {
	e.transport.CloseIdleConnections()
	e.move(Pending, err)
	e.forget()
}

func (e *Engine) disconnect() {
	e.move(Disconnected, nil)
	e.forget()
	e.transport.CloseIdleConnections()
}

// forget empties the inventory; what is not known must not be shown.
func (e *Engine) forget() {
	seq := e.seq.Add(1)
	e.containers.clear(seq)
	e.images.put(seq, ImageSet{})
	e.networks.put(seq, nil)
	e.volumes.put(seq, nil)
}

func (e *Engine) probeSucceeded() {
	e.mu.Lock()
	recovered := e.failures > 0
	e.failures, e.lastErr, e.updated = 0, nil, time.Now()
	e.mu.Unlock()
	if recovered {
		e.cfg.Observer.EngineObjects(e)
	}
}

func (e *Engine) probeFailed(err error) {
	e.mu.Lock()
	e.failures++
	condemned := e.failures >= e.cfg.FailureRetry
	e.lastErr = err
	e.mu.Unlock()
	e.cfg.Observer.EngineObjects(e)
	if condemned {
		e.transport.CloseIdleConnections()
		e.move(Unhealthy, fmt.Errorf("%d probes in a row failed, the last: %w", e.cfg.FailureRetry, err))
	}
}

func (e *Engine) setError(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastErr = err
}

// SetMaintenance takes the engine out of placement, or puts it back. An engine
// that is not healthy goes into maintenance once it is.
func (e *Engine) SetMaintenance(on bool) {
	e.moves.Lock()
	defer e.moves.Unlock()
	e.mu.Lock()
	e.maintenance = on
	state, err := e.state, e.lastErr
	e.mu.Unlock()
	switch {
	case on && state == Healthy:
		e.moveLocked(Maintenance, err)
	case !on && state == Maintenance:
		e.moveLocked(Healthy, err)
	}
}

// aliveContext is done when the engine stops answering its probes. While an
// engine is not yet known to answer, it is not done either: its first calls
// have their own deadlines.
func (e *Engine) aliveContext() context.Context {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.state == Healthy || e.state == Maintenance {
		return e.alive
	}
	return context.Background()
}

// Status is the health of an engine at one moment.
type Status struct {
	State    State
	Failures int       // probes in a row
	Err      error     // why it is not well; nil when it is
	Updated  time.Time // when it was last heard of
}

// Status gives the engine's health.
func (e *Engine) Status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return Status{State: e.state, Failures: e.failures, Err: e.lastErr, Updated: e.updated}
}

// State gives the engine's state.
func (e *Engine) State() State { return e.Status().State }

// Answers says whether calls to the engine make sense now.
func (e *Engine) Answers() bool {
	s := e.State()
	return s == Healthy || s == Maintenance
}

// Health is 100 for an engine that answered its last probe, less for each that
// it failed since, and 0 when it must not be given anything new.
func (e *Engine) Health() int {
	s := e.Status()
	if s.State != Healthy {
		return 0
	}
	return max(1, 100-100*s.Failures/e.cfg.FailureRetry)
}

// Address is where the engine listens.
func (e *Engine) Address() Address { return e.addr }

// Identity is what the engine last said of itself; nil before it has.
func (e *Engine) Identity() *Identity { return e.identity.Load() }

// Name is the engine's name, or its address before it is known.
func (e *Engine) Name() string {
	if id := e.Identity(); id != nil && id.Name != "" {
		return id.Name
	}
	return e.addr.String()
}

// Containers gives every container, in no order.
func (e *Engine) Containers() []*Container { return e.containers.all() }

// Container gives the container with this full ID, or nil.
func (e *Engine) Container(id string) *Container { return e.containers.get(id) }

// Images gives the images.
func (e *Engine) Images() ImageSet { return e.images.get() }

// Networks gives the networks. The slice must not be changed.
func (e *Engine) Networks() []*Network { return e.networks.get() }

// Volumes gives the volumes. The slice must not be changed.
func (e *Engine) Volumes() []*Volume { return e.volumes.get() }
