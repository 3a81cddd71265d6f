package simengine

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	pastEvents = 256  // remembered for those who resume, as real engines do
	eventQueue = 4096 // for one listener; who lags further is cut off
)

// eventHub passes an engine's events on. The engine's mu guards it.
type eventHub struct {
	past      []event // at most pastEvents
	last      int64   // nanoseconds; no two events have the same
	listeners map[chan event]bool
}

type event struct {
	kind, action, id string
	attributes       map[string]string
	nano             int64
	line             []byte
}

func (e *Engine) tell(c *container, action string, more map[string]string) {
	attributes := make(map[string]string, len(c.labels)+len(more)+2)
	maps.Copy(attributes, c.labels)
	attributes["name"], attributes["image"] = c.name, c.image.ref()
	maps.Copy(attributes, more)
	e.emit("container", action, c.id, attributes)
}

// emit makes an event and hands it to all who listen; mu is held.
func (e *Engine) emit(kind, action, id string, attributes map[string]string) {
	h := &e.events
	h.last = max(h.last+1, time.Now().UnixNano())
	message := map[string]any{
		"Type": kind, "Action": action, "scope": "local", "time": h.last / int64(time.Second), "timeNano": h.last,
		"Actor": map[string]any{"ID": id, "Attributes": attributes},
	}
	if kind == "container" {
		message["status"], message["id"], message["from"] = action, id, attributes["image"]
	}
	line, _ := json.Marshal(message) // maps of text and numbers always have an encoding
	ev := event{kind, action, id, attributes, h.last, append(line, '\n')}
	if len(h.past) == pastEvents {
		copy(h.past, h.past[1:])
		h.past = h.past[:pastEvents-1]
	}
	h.past = append(h.past, ev)
	for ch := range h.listeners {
		select {
		case ch <- ev:
		default:
			delete(h.listeners, ch)
			close(ch) // by whoever takes it out of listeners
		}
	}
}

func (ev *event) fits(f filters) bool {
	attribute := func(kind, key string) bool {
		return f.any(kind, func(v string) bool {
			return ev.kind == kind && (ev.id == v || strings.HasPrefix(ev.id, v) || ev.attributes[key] == v)
		})
	}
	return f.any("type", func(v string) bool { return ev.kind == v }) &&
		f.any("event", func(v string) bool { return ev.action == v }) &&
		attribute("container", "name") && attribute("image", "name") && attribute("network", "name") && attribute("volume", "name") &&
		f.labels(ev.attributes)
}

// parseMoment reads seconds since the epoch with a fraction, or RFC 3339.
func parseMoment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	seconds, fraction, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		t, terr := time.Parse(time.RFC3339Nano, s)
		if terr != nil {
			return t, fmt.Errorf("%q is no time: give seconds since 1970, or RFC 3339", s)
		}
		return t, nil
	}
	var nano int64
	if fraction != "" {
		if nano, err = strconv.ParseInt((fraction + "000000000")[:9], 10, 64); err != nil || nano < 0 {
			return time.Time{}, fmt.Errorf("%q is no time: its fraction is no number", s)
		}
	}
	return time.Unix(n, nano), nil
}

func (e *Engine) streamEvents(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	f, ok := readFilters(w, query, "type", "event", "container", "image", "network", "volume", "label")
	if !ok {
		return
	}
	since, err := parseMoment(query.Get("since"))
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	until, err := parseMoment(query.Get("until"))
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	var out []byte
	var ch chan event // nil for the past alone
	e.mu.Lock()
	if !since.IsZero() {
		for _, ev := range e.events.past {
			if ev.nano >= since.UnixNano() && (until.IsZero() || ev.nano <= until.UnixNano()) && ev.fits(f) {
				out = append(out, ev.line...)
			}
		}
	}
	if until.IsZero() || until.After(time.Now()) {
		ch = make(chan event, eventQueue)
		if e.events.listeners == nil {
			e.events.listeners = map[chan event]bool{}
		}
		e.events.listeners[ch] = true
	}
	e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(out) // the loop notices a client that has gone
	if ch == nil {
		return
	}
	defer e.unlisten(ch)
	var end <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		end = t.C
	}
	passEvents(w, r, f, ch, end)
}

func passEvents(w http.ResponseWriter, r *http.Request, f filters, ch <-chan event, end <-chan time.Time) {
	flush := http.NewResponseController(w).Flush
	if flush() != nil {
		return
	}
	for {
		select {
		case <-r.Context().Done():
			return
		case <-end:
			return
		case ev, ok := <-ch:
			if !ok {
				return
			}
			if !ev.fits(f) {
				continue
			}
			if _, err := w.Write(ev.line); err != nil || len(ch) == 0 && flush() != nil {
				return
			}
		}
	}
}

func (e *Engine) unlisten(ch chan event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.events.listeners, ch)
}
