package cluster

import (
	"slices"

	"github.com/skep/skep/internal/engine"
)

// Stats are counts of a cluster at a moment, for those who watch over it.
type Stats struct {
	Engines            map[string]int // by state; every state has an entry
	Containers         map[string]int // running, paused, stopped
	Reservations       int            // containers on their way to an engine
	Moved, MovesFailed uint64         // containers of failed engines; tries that failed
	EventListeners     int
	EventsQueued       int // in the queue of the listener that lags most
}

// Stats counts what the cluster has. It asks no engine.
func (c *Cluster) Stats() Stats {
	s := Stats{Engines: map[string]int{}, Containers: map[string]int{}}
	for _, state := range []engine.State{engine.Pending, engine.Healthy, engine.Unhealthy, engine.Maintenance} {
		s.Engines[state.String()] = 0
	}
	for _, m := range c.all() {
		s.Engines[m.State().String()]++
		part := m.info.get(m, c.engineStatus)
		s.Containers["running"] += part.running
		s.Containers["paused"] += part.paused
		s.Containers["stopped"] += part.stopped
	}
	c.scheduling.Lock()
	s.Reservations = len(c.reserved)
	c.scheduling.Unlock()
	s.Moved, s.MovesFailed = c.moves.done.Load(), c.moves.failed.Load()
	s.EventListeners, s.EventsQueued = c.events.backlog()
	return s
}

// backlog is the number of listeners, and the length of the longest queue.
func (h *eventHub) backlog() (listeners, longest int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.listeners {
		longest = max(longest, len(l.queue))
	}
	return len(h.listeners), longest
}

// ListRefresh says which lists of containers are made of a fresh inventory:
// those that scripts ask for which do not wait for an engine's events.
type ListRefresh struct {
	// ByNode refreshes the engines that a filter names by node=.
	ByNode bool
	// Name refreshes all engines for the filter name=Name; "" for none.
	Name string
}

// refreshToList gives the engines that are to be read again before a list is made.
func (c *Cluster) refreshToList(o *ListOptions) []*member {
	wanted := c.cfg.ListRefresh
	if wanted.Name != "" && slices.Contains(o.Filters.Get("name"), wanted.Name) {
		return c.answering()
	}
	if !wanted.ByNode || !o.Filters.Contains("node") {
		return nil
	}
	return slices.DeleteFunc(c.answering(), func(m *member) bool { return !matchesNode(o.Filters, m.Engine) })
}
