package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skep/skep/internal/engine"
)

const (
	// rescheduleAfter is how long an engine must be known not to answer before
	// its containers are made anew elsewhere, by default: a daemon that is
	// restarted, for an upgrade, is back sooner.
	rescheduleAfter = 5 * time.Second
	// neverMetFactor is how much longer that is for an engine that this manager
	// has not met since it was started.
	neverMetFactor = 4
	// movesAtOnce bounds what is done at a time, over all engines: moves pull
	// images and start programs, and a failed engine may have had hundreds.
	movesAtOnce = 8
	// studiesAtOnce bounds the inspects under way for records.
	studiesAtOnce = 8
	// moveRetryMin and moveRetryMax bound the wait before a step that failed is
	// tried again; it doubles.
	moveRetryMin = time.Second
	moveRetryMax = time.Minute
	// lookEvery is how often time alone may change a decision, while an engine
	// does not answer; lookLeast is the least time between two looks.
	lookEvery = time.Second
	lookLeast = 20 * time.Millisecond
	// strangersFor is how long records are kept of engines that the discovery
	// does not name.
	strangersFor = 24 * time.Hour
)

// rescheduler makes containers of failed engines anew on others, and settles
// what is there twice when such an engine comes back. It works from records of
// what was last known to run; what it does next follows from them and from the
// engines' states alone, so that a step that failed, or a manager that stopped
// in the middle, is no more than a look that comes again.
type rescheduler struct {
	c *Cluster
	// done and failed count moves that have ended, and steps that have failed.
	done, failed atomic.Uint64
	ledger       Ledger        // nil to know only what this manager has seen itself
	wake         chan struct{} // has room for one; never closed

	mu      sync.Mutex
	records map[string]*Record   // by container ID; guarded by mu, as are all below
	stale   map[string]bool      // records to be inspected (again)
	study   map[string]bool      // records that are being inspected
	unsaved map[string]bool      // records that the ledger does not have as they are
	busy    map[string]bool      // swarm IDs that a step is about
	retry   map[string]retrying  // by swarm ID, or container in doubt; those long due are forgotten
	down    map[string]time.Time // addresses that do not answer, since when this was seen
	absent  map[string]time.Time // addresses of records that no member has, likewise
	doubts  doubts
}

type retrying struct {
	failures int
	due      time.Time
}

func newRescheduler(c *Cluster, ledger Ledger) (*rescheduler, error) {
	s := &rescheduler{
		c: c, ledger: ledger, wake: make(chan struct{}, 1),
		records: map[string]*Record{}, stale: map[string]bool{}, study: map[string]bool{}, unsaved: map[string]bool{},
		busy: map[string]bool{}, retry: map[string]retrying{}, down: map[string]time.Time{}, absent: map[string]time.Time{},
	}
	if ledger == nil {
		return s, nil
	}
	loaded, err := ledger.Load()
	if err != nil {
		return nil, fmt.Errorf("read what is known of containers that may have to be moved: %w", err)
	}
	for i := range loaded {
		s.records[loaded[i].ID] = &loaded[i]
	}
	return s, nil
}

func (s *rescheduler) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// notice takes note of containers that are new or changed. It is called by
// engines, and does not block.
func (s *rescheduler) notice(e *engine.Engine, put []*engine.Container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := false
	for _, ec := range put {
		if s.doubts.about(ec.Labels[LabelSwarmID]) {
			changed = true
		}
		known := s.records[ec.ID]
		switch {
		case movable(ec.Labels) && !retired(ec):
			rec := &Record{}
			if known != nil {
				*rec = *known
			}
			rec.update(e, ec)
			s.records[ec.ID], s.stale[ec.ID], s.unsaved[ec.ID] = rec, true, true
			changed = true
		case known != nil:
			s.forgetLocked(ec.ID)
			changed = true
		}
	}
	if changed {
		s.look()
	}
}

// gone takes note that containers may have vanished.
func (s *rescheduler) gone(ecs []*engine.Container) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(ecs, func(ec *engine.Container) bool { return s.records[ec.ID] != nil }) {
		s.look()
	}
}

// created takes note of a container before its engine is asked about it.
func (s *rescheduler) created(e *engine.Engine, id string, r *createRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doubts.acknowledge(r.swarmID, id)
	if !movable(r.labels) || r.name == "" {
		return
	}
	if s.records[id] == nil {
		rec := recordOf(e, id, r)
		s.records[id], s.unsaved[id] = &rec, true
		s.look()
	}
}

// left takes note that an engine is no longer in the discovery. One that was
// well is not lost: somebody has taken it out, with what it runs. One that had
// failed before stays lost; where engines announce themselves, the dead leave.
func (s *rescheduler) left(e *engine.Engine) {
	failed := s.hostState(e) == hostFailed || e.State() == engine.Unhealthy
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.down, e.Address().String())
	id := e.Identity()
	for _, rec := range s.records {
		if rec.EngineAddress != e.Address().String() || id != nil && rec.EngineID != id.ID {
			continue
		}
		if failed {
			lost := *rec
			lost.Lost = true
			s.records[rec.ID], s.unsaved[rec.ID] = &lost, true
		} else if id != nil {
			s.forgetLocked(rec.ID)
		}
	}
	s.look()
}

// forgetLocked drops a record; s.mu is held.
func (s *rescheduler) forgetLocked(id string) {
	delete(s.records, id)
	delete(s.stale, id)
	s.unsaved[id] = true
}

// run looks, and acts, until ctx is done, and waits for what it began.
func (s *rescheduler) run(ctx context.Context) {
	var work sync.WaitGroup
	defer s.save()
	defer work.Wait()
	for {
		next := s.pass(ctx, &work)
		s.save()
		if !waitFor(ctx, lookLeast, nil) || !waitFor(ctx, next, s.wake) {
			return
		}
	}
}

// waitFor waits for d, or for early; false when ctx ended first. With no d it
// waits for early alone.
func waitFor(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	var after <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-ctx.Done():
		return false
	case <-after:
	case <-early:
	}
	return true
}

// save writes what has changed into the ledger. What cannot be written is tried
// again with the next change.
func (s *rescheduler) save() {
	s.mu.Lock()
	var put []Record
	var gone []string
	for id := range s.unsaved {
		if rec := s.records[id]; rec != nil {
			put = append(put, *rec)
		} else {
			gone = append(gone, id)
		}
	}
	clear(s.unsaved)
	s.mu.Unlock()
	if s.ledger == nil || len(put)+len(gone) == 0 {
		return
	}
	if err := s.ledger.Apply(put, gone); err != nil {
		s.c.cfg.Logger.Error("containers that may have to be moved are not recorded: a manager that is restarted would not know them", "err", err)
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, rec := range put {
			s.unsaved[rec.ID] = true
		}
		for _, id := range gone {
			s.unsaved[id] = true
		}
	}
}

// hosts is what one look knows of the engines.
type hosts struct {
	byID, byAddress map[string]*member
	state           map[*member]hostState
	down            bool // at least one does not answer
	meeting         bool // at least one was not asked yet
}

// survey looks at the engines' states, and notes since when they are so.
func (s *rescheduler) survey() *hosts {
	s.c.mu.RLock()
	h := &hosts{byID: map[string]*member{}, byAddress: map[string]*member{}, state: map[*member]hostState{}}
	for addr, m := range s.c.members {
		h.byAddress[addr] = m
	}
	s.c.mu.RUnlock()
	for _, m := range h.byAddress {
		st := s.hostState(m.Engine)
		h.state[m] = st
		if st != hostAnswers {
			h.down = true
			if m.State() == engine.Pending && st == hostUnsure && !refused(m.Engine) {
				h.meeting = true
			}
		}
		if id := m.Identity(); id != nil && (h.byID[id.ID] == nil || st == hostAnswers) {
			h.byID[id.ID] = m
		}
	}
	return h
}

// hostState says whether an engine answers, has failed, or neither for sure.
func (s *rescheduler) hostState(e *engine.Engine) hostState {
	status, addr := e.Status(), e.Address().String()
	s.mu.Lock()
	defer s.mu.Unlock()
	if status.State == engine.Healthy || status.State == engine.Maintenance {
		delete(s.down, addr)
		return hostAnswers
	}
	since, known := s.down[addr]
	if !known {
		since = time.Now()
		s.down[addr] = since
	}
	after := cmp.Or(s.c.cfg.RescheduleAfter, rescheduleAfter)
	switch status.State {
	case engine.Unhealthy:
	case engine.Pending:
		if refused(e) {
			return hostUnsure
		}
		after *= neverMetFactor
	default:
		return hostUnsure
	}
	if time.Since(since) < after {
		return hostUnsure
	}
	return hostFailed
}

// refused says that something answers at the address of a pending engine, but
// is not what was expected.
func refused(e *engine.Engine) bool {
	err := e.Status().Err
	var unreachable *engine.UnreachableError
	return err != nil && !errors.As(err, &unreachable)
}

// of finds the engine of a record and says how it is.
func (h *hosts) of(rec *Record) (*member, hostState) {
	if m := h.byID[rec.EngineID]; m != nil {
		return m, h.state[m]
	}
	m := h.byAddress[rec.EngineAddress]
	switch {
	case m == nil && rec.Lost:
		return nil, hostFailed
	case m == nil, m.Identity() != nil && m.Identity().ID != rec.EngineID:
		// Another engine has its address now; where this one is, nobody knows.
		return nil, hostUnsure
	}
	return m, h.state[m]
}

// pass looks once, begins what is to be done, and says when time alone may
// change something: 0 for never.
func (s *rescheduler) pass(ctx context.Context, work *sync.WaitGroup) (next time.Duration) {
	h := s.survey()
	s.mu.Lock()
	maps.DeleteFunc(s.retry, func(_ string, r retrying) bool { return time.Since(r.due) > moveRetryMax })
	groups := s.groups(h)
	var actions []action
	hidden := map[string]bool{}
	for swarmID, replicas := range groups {
		d := decide(replicas)
		if len(d.actions) == 0 {
			delete(s.retry, swarmID) // the next failure is another one
		}
		for _, id := range d.hidden {
			hidden[id] = true
		}
		actions = append(actions, d.actions...)
	}
	waiting := len(actions) > 0 || len(s.stale) > 0 || h.down && len(s.records) > 0 || s.doubts.any()
	s.mu.Unlock()

	s.c.hide(hidden)
	s.beginStudies(ctx, work, h)
	if term, acting := s.c.term(ctx); acting && !h.meeting {
		s.begin(term, work, actions)
		s.beginDoubts(term, work, h)
	}
	if waiting {
		return min(lookEvery, cmp.Or(s.c.cfg.RescheduleAfter, lookEvery))
	}
	return 0
}

// groups gives the replicas by swarm ID, where something may have to be
// decided, and drops the records of what is no more; s.mu is held.
func (s *rescheduler) groups(h *hosts) map[string][]replica {
	all, absent := map[string][]replica{}, map[string]time.Time{}
	for id, rec := range s.records {
		m, host := h.of(rec)
		if m == nil && host == hostUnsure && h.byAddress[rec.EngineAddress] == nil {
			since, known := s.absent[rec.EngineAddress]
			if !known {
				since = time.Now()
			}
			absent[rec.EngineAddress] = since
			if time.Since(since) > strangersFor {
				s.forgetLocked(id)
				continue
			}
		}
		if host == hostAnswers && m.Container(id) == nil && (rec.seen || time.Since(rec.Created) > lingerFor) {
			s.forgetLocked(id)
			continue
		}
		all[rec.SwarmID] = append(all[rec.SwarmID], replica{
			id: id, name: rec.Name, engine: rec.EngineID, host: host, generation: rec.Generation,
			running: rec.Running, started: rec.Started, created: rec.Created,
		})
	}
	s.absent = absent
	maps.DeleteFunc(all, func(swarmID string, replicas []replica) bool {
		settled := len(replicas) == 1 && replicas[0].host != hostFailed
		if settled {
			delete(s.retry, swarmID)
		}
		return settled
	})
	return all
}

// begin starts steps that are due, as many as may be under way.
func (s *rescheduler) begin(ctx context.Context, work *sync.WaitGroup, actions []action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, a := range actions {
		rec := s.records[a.of.id]
		if rec == nil || len(s.busy) >= movesAtOnce || s.busy[rec.SwarmID] || now.Before(s.retry[rec.SwarmID].due) {
			continue
		}
		s.busy[rec.SwarmID] = true
		work.Go(func() {
			err := s.carryOut(ctx, a, *rec)
			s.ended(ctx, rec.SwarmID, a, err)
		})
	}
}

// ended notes how a step went.
func (s *rescheduler) ended(ctx context.Context, swarmID string, a action, err error) {
	s.mu.Lock()
	delete(s.busy, swarmID)
	var wait time.Duration
	if err == nil {
		delete(s.retry, swarmID)
	} else {
		r := s.retry[swarmID]
		wait = min(moveRetryMax, moveRetryMin<<min(r.failures, 10))
		s.retry[swarmID] = retrying{r.failures + 1, time.Now().Add(wait)}
	}
	s.mu.Unlock()
	if _, acting := s.c.term(ctx); acting && err != nil && ctx.Err() == nil && !errors.Is(err, errSuperfluous) {
		s.failed.Add(1)
		s.c.cfg.Logger.Warn("container of a failed engine: "+a.step.String()+" failed, trying again", "name", a.of.name, "container", a.of.id, "in", wait, "err", err)
	}
	s.look()
}

// beginStudies inspects containers whose records are not up to date.
func (s *rescheduler) beginStudies(ctx context.Context, work *sync.WaitGroup, h *hosts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.stale {
		if len(s.study) >= studiesAtOnce {
			return
		}
		rec := s.records[id]
		if rec == nil {
			delete(s.stale, id)
			continue
		}
		m, host := h.of(rec)
		if s.study[id] || m == nil || host != hostAnswers {
			continue
		}
		delete(s.stale, id)
		s.study[id] = true
		work.Go(func() { s.inspect(ctx, m.Engine, id) })
	}
}
