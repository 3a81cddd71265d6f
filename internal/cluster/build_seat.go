package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
)

const (
	// seatWait is how long a session or an upload waits for its build. Clients
	// send them at the same time; engines themselves wait for five seconds.
	seatWait = 10 * time.Second
	// seatLinger is how long a seat is known after the last request that held
	// it, for what comes late: a cancel, a second build of the session.
	seatLinger = time.Hour
	// manySeats bounds the seats. Those that nobody holds make room for new
	// ones, the longest idle first.
	manySeats = 4096
)

// seatID names what must stay together on one engine.
type seatID struct {
	kind seatKind
	id   string // made up by the client
}

type seatKind int

const (
	sessionSeat seatKind = iota
	buildSeat
)

// seat is the engine that the requests of one build go to. Whichever request
// knows first where that is takes it for all of them.
type seat struct {
	id seatID
	// decided is closed when there is an engine, or a refusal, for the first time.
	decided chan struct{}
	engine  *engine.Engine // nil until then; guarded by the table's mu, as are all below
	refusal error          // why the build cannot be; nil when it has an engine
	users   int            // requests under way
	idle    time.Time      // since when there are none
}

// seats are the seats of all builds. The zero value is ready. Its methods may
// be called from any goroutine.
type seats struct {
	mu   sync.Mutex
	byID map[seatID]*seat
}

// hold gives the seat of that ID, which is kept until leave.
func (t *seats) hold(id seatID) (*seat, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byID[id]
	if s == nil || s.expired() {
		if len(t.byID) >= manySeats && !t.makeRoom() {
			return nil, fail(errdefs.ErrUnavailable, "%d builds are under way at this manager, it takes no more: try again when some have ended", manySeats)
		}
		if t.byID == nil {
			t.byID = map[seatID]*seat{}
		}
		s = &seat{id: id, decided: make(chan struct{})}
		t.byID[id] = s
	}
	s.users++
	return s, nil
}

// leave ends a hold.
func (t *seats) leave(s *seat) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.users--
	if s.users > 0 {
		return
	}
	s.idle = time.Now()
	if !s.isDecided() && t.byID[s.id] == s {
		delete(t.byID, s.id) // its build never came
	}
}

// makeRoom forgets the seats that have been idle for too long, or else the
// longest idle; false when there is none. t.mu is held.
func (t *seats) makeRoom() bool {
	var oldest *seat
	before := len(t.byID)
	for id, s := range t.byID {
		switch {
		case s.users > 0:
		case s.expired():
			delete(t.byID, id)
		case oldest == nil || s.idle.Before(oldest.idle):
			oldest = s
		}
	}
	if len(t.byID) < before {
		return true
	}
	if oldest != nil {
		delete(t.byID, oldest.id)
	}
	return oldest != nil
}

// expired is called with the table's mu held.
func (s *seat) expired() bool { return s.users == 0 && time.Since(s.idle) > seatLinger }

// take makes e the engine of the seat unless it has one that answers. It
// returns the engine that it has then.
func (t *seats) take(s *seat, e *engine.Engine) *engine.Engine {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.engine != nil && s.engine.Answers() {
		return s.engine
	}
	s.decide(e, nil)
	return e
}

// refuse says that the build of the seat cannot be done, and why.
func (t *seats) refuse(s *seat, why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.engine == nil {
		s.decide(nil, why)
	}
}

// decide is called with the table's mu held.
func (s *seat) decide(e *engine.Engine, refusal error) {
	if !s.isDecided() {
		close(s.decided)
	}
	s.engine, s.refusal = e, refusal
}

// isDecided is called with the table's mu held.
func (s *seat) isDecided() bool { return s.engine != nil || s.refusal != nil }

// move makes e the engine of the seat, whatever it had before.
func (t *seats) move(s *seat, e *engine.Engine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.decide(e, nil)
}

// engineOf gives the seat's engine; nil when it has none that answers.
func (t *seats) engineOf(s *seat) *engine.Engine {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.engine == nil || !s.engine.Answers() {
		return nil
	}
	return s.engine
}

// find gives the engine of the seat of that ID, or nil.
func (t *seats) find(id seatID) *engine.Engine {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.byID[id]
	switch {
	case s == nil:
		return nil
	case s.expired():
		delete(t.byID, id)
		return nil
	}
	return s.engine
}

// wait waits until the seat has an engine, and gives it: nil when none has come
// in time, or has come and does not answer any more. It fails with ctx, or with
// a *BuildRefusedError.
func (t *seats) wait(ctx context.Context, s *seat) (*engine.Engine, error) {
	timer := time.NewTimer(seatWait)
	defer timer.Stop()
	select {
	case <-s.decided:
	case <-timer.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	t.mu.Lock()
	refusal := s.refusal
	t.mu.Unlock()
	if refusal != nil {
		return nil, &BuildRefusedError{refusal}
	}
	return t.engineOf(s), nil
}

// BuildRefusedError says why the build that one waits for cannot be done.
type BuildRefusedError struct{ why error }

func (e *BuildRefusedError) Error() string { return "the build was refused: " + e.why.Error() }

// Unwrap gives what the build was refused with.
func (e *BuildRefusedError) Unwrap() error { return e.why }
