package simengine

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// volume is a volume of an engine; its engine's mu guards it.
type volume struct {
	Name, Driver string
	Labels       map[string]string
	DriverOpts   map[string]string
	created      time.Time
}

func (v *volume) entry() map[string]any {
	return map[string]any{
		"Name": v.Name, "Driver": v.Driver, "Scope": "local", "Mountpoint": "/var/lib/docker/volumes/" + v.Name + "/_data",
		"Labels": v.Labels, "Options": v.DriverOpts, "CreatedAt": v.created.Format(time.RFC3339),
	}
}

func (e *Engine) routeVolume(w http.ResponseWriter, r *http.Request, rest string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case r.Method == http.MethodGet && rest == "":
		f, ok := readFilters(w, r.URL.Query(), "name", "driver", "label")
		if !ok {
			return
		}
		list := []map[string]any{}
		for _, v := range e.volumes {
			fits := f.any("name", func(s string) bool { return strings.Contains(v.Name, s) }) &&
				f.any("driver", func(s string) bool { return v.Driver == s }) && f.labels(v.Labels)
			if fits {
				list = append(list, v.entry())
			}
		}
		answer(w, http.StatusOK, map[string]any{"Volumes": list, "Warnings": nil})
	case r.Method == http.MethodPost && rest == "create":
		e.createVolume(w, r)
	case r.Method == http.MethodGet:
		e.withVolume(w, rest, func(v *volume) { answer(w, http.StatusOK, v.entry()) })
	case r.Method == http.MethodDelete:
		e.withVolume(w, rest, func(v *volume) {
			e.volumes = slices.DeleteFunc(e.volumes, func(other *volume) bool { return other == v })
			e.emit("volume", "destroy", v.Name, map[string]string{"driver": v.Driver})
			w.WriteHeader(http.StatusNoContent)
		})
	default:
		e.notSimulated(w, r)
	}
}

func (e *Engine) withVolume(w http.ResponseWriter, name string, do func(*volume)) {
	for _, v := range e.volumes {
		if v.Name == name {
			do(v)
			return
		}
	}
	fail(w, http.StatusNotFound, "get "+name+": no such volume")
}

// createVolume makes a volume, or gives the one that has the name already.
func (e *Engine) createVolume(w http.ResponseWriter, r *http.Request) {
	v := &volume{Driver: "local", created: time.Now().UTC()}
	if !readBody(w, r, v) {
		return
	}
	if v.Name == "" {
		v.Name = e.newID()
	}
	if v.Driver == "" {
		v.Driver = "local"
	}
	for _, other := range e.volumes {
		if other.Name == v.Name {
			answer(w, http.StatusCreated, other.entry())
			return
		}
	}
	e.volumes = append(e.volumes, v)
	e.emit("volume", "create", v.Name, map[string]string{"driver": v.Driver})
	answer(w, http.StatusCreated, v.entry())
}
