package cluster

import (
	"encoding/json"
	"time"

	"github.com/skep/skep/internal/engine"
)

// ownAbout publishes an event of the cluster itself about a container.
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
