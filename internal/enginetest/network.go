package enginetest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
)

// Network is a network of a fake engine.
type Network struct {
	ID     string `json:"Id"` // made when empty
	Name   string
	Driver string
	Scope  string // default local
	Labels map[string]string
}

// Volume is a volume of a fake engine.
type Volume struct {
	Name       string
	Driver     string // default local
	Scope      string // default local
	Mountpoint string
	Labels     map[string]string
}

// AddNetwork gives the engine a network and returns its ID.
func (e *Engine) AddNetwork(n Network) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.addNetwork(n)
}

func (e *Engine) addNetwork(n Network) string {
	if n.ID == "" {
		n.ID = e.newID("network")
	}
	def(&n.Driver, "bridge")
	def(&n.Scope, "local")
	e.networks[n.ID] = &n
	e.emit("network", "create", n.ID, map[string]string{"name": n.Name, "type": n.Driver})
	return n.ID
}

// AddVolume gives the engine a volume.
func (e *Engine) AddVolume(v Volume) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.addVolume(v)
}

func (e *Engine) addVolume(v Volume) *Volume {
	if v.Name == "" {
		v.Name = e.newID("volume")
	}
	def(&v.Driver, "local")
	def(&v.Scope, "local")
	def(&v.Mountpoint, "/var/lib/docker/volumes/"+v.Name+"/_data")
	e.volumes[v.Name] = &v
	e.emit("volume", "create", v.Name, map[string]string{"driver": v.Driver})
	return &v
}

// RemoveVolume takes a volume away.
func (e *Engine) RemoveVolume(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.volumes, name)
	e.emit("volume", "destroy", name, nil)
}

// Networks gives the engine's networks by ID.
func (e *Engine) Networks() map[string]Network {
	e.mu.Lock()
	defer e.mu.Unlock()
	return copied(e.networks)
}

// Volumes gives the engine's volumes by name.
func (e *Engine) Volumes() map[string]Volume {
	e.mu.Lock()
	defer e.mu.Unlock()
	return copied(e.volumes)
}

func copied[T any](m map[string]*T) map[string]T {
	out := make(map[string]T, len(m))
	for k, v := range m {
		out[k] = *v
	}
	return out
}

func sortedValues[T any](m map[string]*T) []*T {
	out := make([]*T, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

func (e *Engine) findNetwork(ref string) *Network {
	for id, n := range e.networks {
		if id == ref || n.Name == ref {
			return n
		}
	}
	return nil
}

func (e *Engine) networkRoutes(add func(method, path string, h http.HandlerFunc)) {
	one := func(do func(w http.ResponseWriter, n *Network)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if n := e.findNetwork(pathVar(r, "name")); n != nil {
				do(w, n)
				return
			}
			fail(w, http.StatusNotFound, "network "+pathVar(r, "name")+" not found")
		}
	}
	add("GET", "/networks", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		answer(w, http.StatusOK, sortedValues(e.networks))
	})
	add("POST", "/networks/create", func(w http.ResponseWriter, r *http.Request) {
		var n Network
		if json.NewDecoder(r.Body).Decode(&n) != nil {
			fail(w, http.StatusBadRequest, "invalid JSON")
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.findNetwork(n.Name) != nil {
			fail(w, http.StatusConflict, "network with name "+n.Name+" already exists")
			return
		}
		answer(w, http.StatusCreated, map[string]string{"Id": e.addNetwork(n), "Warning": ""})
	})
	add("POST", "/networks/prune", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		gone := []string{}
		for _, n := range sortedValues(e.networks) {
			delete(e.networks, n.ID)
			gone = append(gone, n.Name)
			e.emit("network", "destroy", n.ID, map[string]string{"name": n.Name})
		}
		answer(w, http.StatusOK, map[string]any{"NetworksDeleted": gone})
	})
	add("GET", "/networks/{name}", one(func(w http.ResponseWriter, n *Network) { answer(w, http.StatusOK, n) }))
	add("DELETE", "/networks/{name}", one(func(w http.ResponseWriter, n *Network) {
		delete(e.networks, n.ID)
		e.emit("network", "destroy", n.ID, map[string]string{"name": n.Name})
		w.WriteHeader(http.StatusNoContent)
	}))
	for _, verb := range []string{"connect", "disconnect"} {
		add("POST", "/networks/{name}/"+verb, one(func(w http.ResponseWriter, n *Network) {
			e.emit("network", verb, n.ID, map[string]string{"name": n.Name})
			w.WriteHeader(http.StatusOK)
		}))
	}
}

func (e *Engine) volumeRoutes(add func(method, path string, h http.HandlerFunc)) {
	one := func(do func(w http.ResponseWriter, v *Volume)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if v := e.volumes[pathVar(r, "name")]; v != nil {
				do(w, v)
				return
			}
			fail(w, http.StatusNotFound, "get "+pathVar(r, "name")+": no such volume")
		}
	}
	add("GET", "/volumes", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		answer(w, http.StatusOK, map[string]any{"Volumes": sortedValues(e.volumes), "Warnings": nil})
	})
	add("POST", "/volumes/create", func(w http.ResponseWriter, r *http.Request) {
		var v Volume
		if json.NewDecoder(r.Body).Decode(&v) != nil {
			fail(w, http.StatusBadRequest, "invalid JSON")
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if known := e.volumes[v.Name]; known != nil {
			answer(w, http.StatusCreated, known)
			return
		}
		answer(w, http.StatusCreated, e.addVolume(v))
	})
	add("POST", "/volumes/prune", func(w http.ResponseWriter, _ *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		gone := []string{}
		for _, v := range sortedValues(e.volumes) {
			delete(e.volumes, v.Name)
			gone = append(gone, v.Name)
			e.emit("volume", "destroy", v.Name, nil)
		}
		answer(w, http.StatusOK, map[string]any{"VolumesDeleted": gone, "SpaceReclaimed": 100 * len(gone)})
	})
	add("GET", "/volumes/{name}", one(func(w http.ResponseWriter, v *Volume) { answer(w, http.StatusOK, v) }))
	add("DELETE", "/volumes/{name}", one(func(w http.ResponseWriter, v *Volume) {
		delete(e.volumes, v.Name)
		e.emit("volume", "destroy", v.Name, nil)
		w.WriteHeader(http.StatusNoContent)
	}))
}
