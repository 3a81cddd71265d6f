package simengine

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// network is a network of an engine; its engine's mu guards it.
type network struct {
	ID, Name, Driver, Scope string
	Created                 time.Time
	Internal                bool
	Labels                  map[string]string
}

func (n *network) entry() map[string]any {
	labels := n.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	return map[string]any{
		"Id": n.ID, "Name": n.Name, "Driver": n.Driver, "Scope": n.Scope, "Created": n.Created.Format(time.RFC3339Nano),
		"EnableIPv6": false, "Internal": n.Internal, "Attachable": false, "Ingress": false,
		"IPAM":    map[string]any{"Driver": "default", "Options": nil, "Config": []any{}},
		"Options": map[string]string{}, "Labels": labels,
	}
}

// details is what inspect shows beyond the list: no container is ever in it.
func (n *network) details() map[string]any {
	entry := n.entry()
	entry["Containers"] = map[string]any{}
	return entry
}

func (e *Engine) routeNetwork(w http.ResponseWriter, r *http.Request, rest string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && rest == "":
		f, ok := readFilters(w, r.URL.Query(), "id", "name", "driver", "scope", "label")
		if !ok {
			return
		}
		list := []map[string]any{}
		for _, n := range e.networks {
			fits := f.any("id", func(v string) bool { return strings.HasPrefix(n.ID, v) }) &&
				f.any("name", func(v string) bool { return strings.Contains(n.Name, v) }) &&
				f.any("driver", func(v string) bool { return n.Driver == v }) &&
				f.any("scope", func(v string) bool { return n.Scope == v }) && f.labels(n.Labels)
			if fits {
				list = append(list, n.entry())
			}
		}
		answer(w, http.StatusOK, list)
	case r.Method == http.MethodPost && rest == "create":
		e.createNetwork(w, r)
	case r.Method == http.MethodGet:
		e.withNetwork(w, rest, func(n *network) { answer(w, http.StatusOK, n.details()) })
	case r.Method == http.MethodDelete:
		e.withNetwork(w, rest, func(n *network) {
			if slices.Index(e.networks, n) < 3 {
				fail(w, http.StatusForbidden, n.Name+" is a pre-defined network and cannot be removed")
				return
			}
			e.networks = slices.DeleteFunc(e.networks, func(other *network) bool { return other == n })
			e.emit("network", "destroy", n.ID, map[string]string{"name": n.Name, "type": n.Driver})
			w.WriteHeader(http.StatusNoContent)
		})
	default:
		e.notSimulated(w, r)
	}
}

func (e *Engine) withNetwork(w http.ResponseWriter, ref string, do func(*network)) {
	for _, n := range e.networks {
		if n.ID == ref || n.Name == ref || len(ref) >= 12 && strings.HasPrefix(n.ID, ref) {
			do(n)
			return
		}
	}
	fail(w, http.StatusNotFound, "network "+ref+" not found")
}

func (e *Engine) createNetwork(w http.ResponseWriter, r *http.Request) {
	n := &network{Driver: "bridge"}
	if !readBody(w, r, n) {
		return
	}
	if n.Name == "" {
		fail(w, http.StatusBadRequest, "network name cannot be empty")
		return
	}
	for _, other := range e.networks {
		if other.Name == n.Name {
			fail(w, http.StatusConflict, "network with name "+n.Name+" already exists")
			return
		}
	}
	n.ID, n.Scope, n.Created = e.newID(), "local", time.Now().UTC()
	e.networks = append(e.networks, n)
	e.emit("network", "create", n.ID, map[string]string{"name": n.Name, "type": n.Driver})
	answer(w, http.StatusCreated, map[string]string{"Id": n.ID, "Warning": ""})
}
