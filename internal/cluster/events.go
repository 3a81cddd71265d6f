package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

const (
	// listenerQueue is how many events may wait for a listener that is slow to
	// read; one who falls behind further is told so and cut off.
	listenerQueue = 10000
	// ownEvents is how many of the cluster's own events are kept for those who
	// ask for the past, as many as an engine keeps.
	ownEvents = 256
	// recentEvents and recentFor bound the events that are kept for those who
	// begin to listen and ask for the past.
	recentEvents = 8192
	recentFor    = 15 * time.Second
	// settled is how old an engine's events must be for its past to have them
	// all: clocks differ, and an engine that is asked for what its clock has not
	// reached answers only then. What is younger is among the recent ones.
	settled = 2 * time.Second
	// overlap is how long after the past was read an event of it may come again.
	overlap = 30 * time.Second
)

// sourcedEvent is an event, the engine that it came from, and when it came.
type sourcedEvent struct {
	engine.Event
	from *engine.Engine
	at   time.Time
}

// eventHub passes the engines' events, and the cluster's own, to any number of
// listeners.
type eventHub struct {
	mu        sync.Mutex
	listeners map[*listener]struct{} // guarded by mu
	past      []sourcedEvent         // the cluster's own; guarded by mu
	recent    []sourcedEvent         // the engines', the oldest first; guarded by mu
}

type listener struct {
	// queue is never closed; lagged is, when the queue was full.
	queue  chan sourcedEvent
	lagged chan struct{}
}

func newEventHub() *eventHub { return &eventHub{listeners: map[*listener]struct{}{}} }

func (h *eventHub) listen() *listener {
	l := &listener{queue: make(chan sourcedEvent, listenerQueue), lagged: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[l] = struct{}{}
	return l
}

func (h *eventHub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.listeners, l)
}

func (h *eventHub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.listeners)
}

func (h *eventHub) publish(from *engine.Engine, ev engine.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	sourced := sourcedEvent{ev, from, now}
	h.recent = append(h.recent[h.old(now):], sourced)
	h.publishLocked(sourced)
}

// old counts the recent events that are none any more; h.mu is held.
func (h *eventHub) old(now time.Time) int {
	n := max(0, len(h.recent)+1-recentEvents)
	for n < len(h.recent) && now.Sub(h.recent[n].at) > recentFor {
		n++
	}
	return n
}

func (h *eventHub) publishLocked(ev sourcedEvent) {
	for l := range h.listeners {
		select {
		case l.queue <- ev:
		default:
			delete(h.listeners, l)
			close(l.lagged)
		}
	}
}

// own publishes an event of the cluster itself about an engine.
func (h *eventHub) own(action string, e *engine.Engine) {
	id := ""
	if identity := e.Identity(); identity != nil {
		id = identity.ID
	}
	h.ownAbout(action, e, id, map[string]string{})
}

// ownAbout publishes an event of the cluster itself about what has this ID, on
// an engine.
func (h *eventHub) ownAbout(action string, e *engine.Engine, id string, attributes map[string]string) {
	now := time.Now()
	raw, err := json.Marshal(map[string]any{
		"status": action, "id": id, "from": "swarm",
		"Type": "swarm", "Action": action, "Actor": map[string]any{"ID": id, "Attributes": attributes},
		"scope": "local", "time": now.Unix(), "timeNano": now.UnixNano(),
	})
	must(err)
	ev, err := engine.ParseEvent(raw)
	must(err)
	h.mu.Lock()
	defer h.mu.Unlock()
	sourced := sourcedEvent{ev, e, now}
	if len(h.past) == ownEvents {
		h.past = append(h.past[:0:0], h.past[1:]...)
	}
	h.past = append(h.past, sourced)
	h.publishLocked(sourced)
}

// before gives the events that listeners have got of late, and the cluster's own.
func (h *eventHub) before() []sourcedEvent {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Concat(h.recent, h.past)
}

// EventOptions choose events.
type EventOptions struct {
	Since, Until time.Time // zero: from now, and without end
	Filters      apifilter.Args
}

// eventFilters are the filters of `docker events`, and node.
var eventFilters = []string{
	"config", "container", "daemon", "event", "image", "label", "network", "node", "plugin", "scope",
	"secret", "service", "type", "volume",
}

// errLagged ends a listener that does not keep up.
var errLagged = fmt.Errorf("events were lost: more than %d waited to be read; ask again with since", listenerQueue)

// Events calls emit for each event that is asked for, first those of the past
// in the order of their times, then new ones as they come, until ctx is done,
// Until is reached or emit fails. started is called once the options are
// known to be good.
func (c *Cluster) Events(ctx context.Context, o EventOptions, started func(), emit func(json.RawMessage) error) error {
	if err := o.Filters.Validate(eventFilters...); err != nil {
		return err
	}
	started()
	// Listening begins before the past is read, so that nothing falls between.
	l := c.events.listen()
	defer c.events.leave(l)
	send := func(ev sourcedEvent) error {
		if !matchesEvent(o.Filters, ev) {
			return nil
		}
		return emit(eventView(ev))
	}
	var sent eventSet
	if !o.Since.IsZero() {
		past := c.pastEvents(ctx, o)
		sent = newEventSet()
		for _, ev := range past {
			if !sent.add(ev) {
				continue
			}
			if err := send(ev); err != nil {
				return err
			}
		}
	}
	read := time.Now()
	if !o.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, o.Until)
		defer cancel()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.lagged:
			return errLagged
		case ev := <-l.queue:
			if ev.at.Sub(read) > overlap {
				sent = eventSet{}
			}
			if sent.has(ev) || !o.Until.IsZero() && ev.TimeNano > o.Until.UnixNano() {
				continue
			}
			if err := send(ev); err != nil {
				return err
			}
		}
	}
}

// eventSet remembers events by their hashes. The zero set is empty.
type eventSet struct {
	seed maphash.Seed
	keys map[uint64]struct{}
}

func newEventSet() eventSet { return eventSet{maphash.MakeSeed(), map[uint64]struct{}{}} }

func (s eventSet) key(ev sourcedEvent) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.WriteString(ev.from.Address().String())
	_, _ = h.Write(ev.Raw)
	return h.Sum64()
}

func (s eventSet) has(ev sourcedEvent) bool {
	if s.keys == nil {
		return false
	}
	_, ok := s.keys[s.key(ev)]
	return ok
}

// add remembers an event; false when it is known.
func (s eventSet) add(ev sourcedEvent) bool {
	key := s.key(ev)
	if _, ok := s.keys[key]; ok {
		return false
	}
	s.keys[key] = struct{}{}
	return true
}

// pastEvents gives the events that the engines remember and those that came of
// late, merged by time; some may be there twice.
func (c *Cluster) pastEvents(ctx context.Context, o EventOptions) []sourcedEvent {
	replies := ask(ctx, c.answering(), answerTimeout, func(ctx context.Context, m *member) ([]engine.Event, error) {
		until := engineNow(m.Engine).Add(-settled)
		if !o.Until.IsZero() && o.Until.Before(until) {
			until = o.Until
		}
		if !o.Since.Before(until) {
			return nil, nil
		}
		return m.PastEvents(ctx, url.Values{"since": {unixNano(o.Since)}, "until": {unixNano(until)}})
	})
	var past []sourcedEvent
	for _, r := range replies {
		if r.err != nil {
			c.cfg.Logger.Warn("past events are missing", "engine", r.from.Name(), "err", r.err)
			continue
		}
		for _, ev := range r.value {
			past = append(past, sourcedEvent{Event: ev, from: r.from.Engine})
		}
	}
	for _, ev := range c.events.before() {
		if ev.TimeNano >= o.Since.UnixNano() && (o.Until.IsZero() || ev.TimeNano <= o.Until.UnixNano()) {
			past = append(past, ev)
		}
	}
	// Stable: an engine's own order stays where times are equal.
	slices.SortStableFunc(past, func(a, b sourcedEvent) int { return cmp.Compare(a.TimeNano, b.TimeNano) })
	return past
}

func unixNano(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }

// eventView is the event as its engine sent it, with the node added.
func eventView(ev sourcedEvent) json.RawMessage {
	o, err := rawjson.ParseObject(ev.Raw)
	if err != nil {
		return ev.Raw
	}
	node := nodeInfo(ev.from)
	var image string
	if found, err := o.Decode("from", &image); found && err == nil {
		must(o.Set("from", image+" node:"+node.Name))
	}
	actor, err := o.Object("Actor")
	if err != nil {
		return ev.Raw
	}
	attributes := maps.Clone(ev.Actor.Attributes)
	if attributes == nil {
		attributes = map[string]string{}
	}
	attributes["node.name"], attributes["node.id"] = node.Name, node.ID
	attributes["node.addr"], attributes["node.ip"] = node.Addr, node.IP
	must(actor.Set("Attributes", attributes))
	must(o.Set("Actor", actor))
	must(o.Set("node", map[string]string{"Name": node.Name, "Id": node.ID, "Addr": node.Addr, "Ip": node.IP}))
	return o.Bytes()
}

// matchesEvent applies the filters as an engine does.
func matchesEvent(f apifilter.Args, ev sourcedEvent) bool {
	if f.Len() == 0 {
		return true
	}
	attributes := ev.Actor.Attributes
	return matchesAction(f, ev.Action) &&
		f.ExactMatch("type", ev.Type) &&
		f.ExactMatch("scope", ev.Scope) &&
		(f.ExactMatch("node", nodeInfo(ev.from).Name) || f.ExactMatch("node", nodeInfo(ev.from).ID)) &&
		(!f.Contains("label") || f.MatchKVList("label", attributes)) &&
		matchesObject(f, "container", ev) &&
		matchesObject(f, "volume", ev) &&
		matchesObject(f, "network", ev) &&
		matchesObject(f, "plugin", ev) &&
		matchesObject(f, "service", ev) &&
		matchesObject(f, "secret", ev) &&
		matchesObject(f, "config", ev) &&
		matchesObject(f, "daemon", ev) &&
		matchesImage(f, ev)
}

// matchesAction takes health_status for all its values, and exec_create for
// all its commands.
func matchesAction(f apifilter.Args, action string) bool {
	verb, _, _ := strings.Cut(action, ":")
	return f.ExactMatch("event", action) || f.ExactMatch("event", verb)
}

// matchesObject matches the object of an event by ID or name.
func matchesObject(f apifilter.Args, kind string, ev sourcedEvent) bool {
	if !f.Contains(kind) {
		return true
	}
	if ev.Type != kind {
		return false
	}
	name := strings.TrimPrefix(ev.Actor.Attributes["name"], "/")
	return f.FuzzyMatch(kind, ev.Actor.ID) || f.FuzzyMatch(kind, name) ||
		kind == "container" && f.ExactMatch(kind, nodeInfo(ev.from).Name+"/"+name)
}

// matchesImage matches events of images, and of containers by their image, with
// the tag or without.
func matchesImage(f apifilter.Args, ev sourcedEvent) bool {
	if !f.Contains("image") {
		return true
	}
	name := ev.Actor.Attributes["name"]
	if ev.Type == "container" {
		name = ev.Actor.Attributes["image"]
	} else if ev.Type != "image" {
		return false
	}
	return f.ExactMatch("image", ev.Actor.ID) || f.ExactMatch("image", name) || f.ExactMatch("image", withoutTag(ev.Actor.ID)) || f.ExactMatch("image", withoutTag(name))
}

func withoutTag(image string) string {
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		return image[:i]
	}
	return image
}
