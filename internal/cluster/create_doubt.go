package cluster

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/skep/skep/internal/engine"
)

const (
	// doubtFor is how long a create without an answer is remembered: an engine
	// that hung may carry it out when it goes on.
	doubtFor = time.Hour
	// manyDoubts bounds them; the oldest goes.
	manyDoubts = 4096
)

// doubt is a create that an engine may have carried out without an answer. Who
// asked was told that it failed, or got the container of another engine; what
// may turn up here belongs to nobody.
type doubt struct {
	swarmID string
	engine  *engine.Engine
	until   time.Time
}

// doubts are the creates without an answer, the oldest first. Whoever holds
// them guards them.
type doubts struct {
	list []doubt
	// acknowledged are the containers that creates in doubt led to elsewhere, by
	// swarm ID.
	acknowledged map[string]string
}

func (d *doubts) about(swarmID string) bool {
	return swarmID != "" && slices.ContainsFunc(d.list, func(one doubt) bool { return one.swarmID == swarmID })
}

func (d *doubts) any() bool { return len(d.list) > 0 }

func (d *doubts) add(one doubt) {
	d.list = append(d.list, one)
	if len(d.list) > manyDoubts {
		d.drop(1)
	}
}

func (d *doubts) drop(n int) {
	d.list = slices.Delete(d.list, 0, n)
	for swarmID := range d.acknowledged {
		if !d.about(swarmID) {
			delete(d.acknowledged, swarmID)
		}
	}
}

func (d *doubts) acknowledge(swarmID, id string) {
	if !d.about(swarmID) {
		return
	}
	if d.acknowledged == nil {
		d.acknowledged = map[string]string{}
	}
	d.acknowledged[swarmID] = id
}

// current gives those that are not too old, and forgets the others.
func (d *doubts) current(now time.Time) []doubt {
	old := 0
	for old < len(d.list) && now.After(d.list[old].until) {
		old++
	}
	if old > 0 {
		d.drop(old)
	}
	return slices.Clone(d.list)
}

// unknownOutcome says that a request may have been carried out though it failed:
// it was sent, or may have been.
func unknownOutcome(err error) bool {
	var unreachable *engine.UnreachableError
	if !errors.As(err, &unreachable) {
		return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	}
	var op *net.OpError
	return !errors.As(err, &op) || op.Op != "dial"
}

// doubted takes note of a create that failed on an engine.
func (s *rescheduler) doubted(e *engine.Engine, swarmID string, err error) {
	if !unknownOutcome(err) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubts.add(doubt{swarmID: swarmID, engine: e, until: time.Now().Add(doubtFor)})
	s.look()
}

// beginDoubts removes what creates in doubt have left: containers that have
// never run, and that nobody was told of.
func (s *rescheduler) beginDoubts(ctx context.Context, work *sync.WaitGroup, h *hosts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	left := map[*engine.Engine]map[string]bool{}
	for _, one := range s.doubts.current(now) {
		if left[one.engine] == nil {
			left[one.engine] = map[string]bool{}
		}
		left[one.engine][one.swarmID] = true
	}
	for _, m := range h.byAddress {
		swarmIDs := left[m.Engine]
		if swarmIDs == nil || h.state[m] != hostAnswers {
			continue
		}
		for _, ec := range m.Containers() {
			swarmID := ec.Labels[LabelSwarmID]
			if !swarmIDs[swarmID] || s.doubts.acknowledged[swarmID] == ec.ID || hasStarted(&ec.State) ||
				len(s.busy) >= movesAtOnce || s.busy[swarmID] || now.Before(s.retry[ec.ID].due) {
				continue
			}
			s.busy[swarmID] = true
			work.Go(func() {
				err := s.removeUnused(ctx, m.Engine, ec.ID)
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.busy, swarmID)
				if err != nil {
					s.retry[ec.ID] = retrying{due: time.Now().Add(moveRetryMin)}
				} else {
					delete(s.retry, ec.ID)
				}
				s.look()
			})
		}
	}
}
