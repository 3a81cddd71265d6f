package enginetest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Event is an event as /events tells it.
type Event struct {
	Type   string
	Action string
	Actor  Actor
	Scope  string `json:"scope"`
	Time   int64  `json:"time"`
	Nano   int64  `json:"timeNano"`
	Status string `json:"status,omitempty"`
	ID     string `json:"id,omitempty"`
	From   string `json:"from,omitempty"`
}

// Actor is the object of an event.
type Actor struct {
	ID         string
	Attributes map[string]string
}

const (
	keptEvents    = 256
	listenerQueue = 1024 // a listener that lags further is dropped
)

// Emit tells an event to all who listen. The methods that change the engine
// emit theirs by themselves.
func (e *Engine) Emit(kind, action, id string, attributes map[string]string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.emit(kind, action, id, attributes)
}

// emit is Emit with e.mu held.
func (e *Engine) emit(kind, action, id string, attributes map[string]string) {
	if attributes == nil {
		attributes = map[string]string{}
	}
	now := time.Now()
	ev := Event{
		Type: kind, Action: action, Actor: Actor{id, attributes}, Scope: "local", Time: now.Unix(), Nano: now.UnixNano(),
		Status: action, ID: id, From: attributes["image"],
	}
	e.past = append(e.past, ev)
	e.past = e.past[max(0, len(e.past)-keptEvents):]
	for l := range e.listeners {
		select {
		case l <- ev:
		default:
			delete(e.listeners, l)
			close(l)
		}
	}
}

func (e *Engine) events(w http.ResponseWriter, r *http.Request) {
	since, until := bound(r, "since"), bound(r, "until")
	queue := make(chan Event, listenerQueue)
	e.mu.Lock()
	var past []Event
	if !since.IsZero() {
		past = slices.DeleteFunc(slices.Clone(e.past), func(ev Event) bool { return ev.Nano < since.UnixNano() })
	}
	e.listeners[queue] = struct{}{}
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.listeners, queue)
	}()
	w.Header().Set("Content-Type", "application/json")
	flush := http.NewResponseController(w).Flush
	_ = flush()
	enc := json.NewEncoder(w)
	for _, ev := range past {
		_ = enc.Encode(ev)
	}
	_ = flush()
	var end <-chan time.Time
	if !until.IsZero() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		end = timer.C
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case <-end:
			return
		case ev, ok := <-queue:
			if !ok || enc.Encode(ev) != nil || flush() != nil {
				return
			}
		}
	}
}

// bound reads a time as seconds with decimals.
func bound(r *http.Request, key string) time.Time {
	seconds, fraction, _ := strings.Cut(r.URL.Query().Get(key), ".")
	sec, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}
	}
	nano, _ := strconv.ParseInt((fraction + "000000000")[:9], 10, 64)
	return time.Unix(sec, nano)
}
