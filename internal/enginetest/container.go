package enginetest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Container is a container of a fake engine.
type Container struct {
	ID         string // made when empty
	Name       string // without a slash; made when empty
	Image      string
	ImageID    string
	Created    int64 // seconds since the epoch; 0 for one that grows
	Labels     map[string]string
	Running    bool
	HostConfig map[string]any
	Networks   map[string]any // by name, in the words of the list
	Mounts     []map[string]any
	// Config is the body of the create, as it came.
	Config json.RawMessage
}

func (c *Container) status() string {
	if c.Running {
		return "running"
	}
	return "created"
}

// AddContainer gives the engine a container and returns its ID.
func (e *Engine) AddContainer(c Container) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.addContainer(c)
}

func (e *Engine) addContainer(c Container) string {
	if c.ID == "" {
		c.ID = e.newID("container")
	}
	def(&c.Name, "made-"+c.ID[:6])
	if c.Created == 0 {
		e.made++
		c.Created = 1_700_000_000 + int64(e.made)
	}
	e.containers[c.ID] = &c
	e.emit("container", "create", c.ID, map[string]string{"name": c.Name, "image": c.Image})
	if c.Running {
		e.emit("container", "start", c.ID, map[string]string{"name": c.Name, "image": c.Image})
	}
	return c.ID
}

// RemoveContainer takes a container away.
func (e *Engine) RemoveContainer(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.containers[id]; c != nil {
		delete(e.containers, id)
		e.emit("container", "destroy", id, map[string]string{"name": c.Name, "image": c.Image})
	}
}

// Containers gives the engine's containers by ID.
func (e *Engine) Containers() map[string]Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[string]Container, len(e.containers))
	for id, c := range e.containers {
		out[id] = *c
	}
	return out
}

func (e *Engine) findContainer(ref string) *Container {
	for id, c := range e.containers {
		if id == ref || c.Name == strings.TrimPrefix(ref, "/") || len(ref) >= 12 && strings.HasPrefix(id, ref) {
			return c
		}
	}
	return nil
}

func (e *Engine) withContainer(do func(w http.ResponseWriter, r *http.Request, c *Container)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		c := e.findContainer(pathVar(r, "name"))
		if c == nil {
			fail(w, http.StatusNotFound, "No such container: "+pathVar(r, "name"))
			return
		}
		do(w, r, c)
	}
}

func (e *Engine) containerRoutes(add func(method, path string, h http.HandlerFunc)) {
	const name = "/containers/{name}"
	add("GET", "/containers/json", e.listContainers)
	add("POST", "/containers/create", e.createContainer)
	add("POST", "/containers/prune", e.pruneContainers)
	add("GET", name+"/json", e.withContainer(func(w http.ResponseWriter, _ *http.Request, c *Container) {
		answer(w, http.StatusOK, map[string]any{
			"Id": c.ID, "Name": "/" + c.Name, "Image": c.ImageID, "HostConfig": c.HostConfig, "Mounts": c.Mounts,
			"State":           map[string]any{"Status": c.status(), "Running": c.Running},
			"Config":          map[string]any{"Image": c.Image, "Labels": c.Labels},
			"NetworkSettings": map[string]any{"Networks": c.Networks},
		})
	}))
	for action, running := range map[string]bool{"start": true, "stop": false, "kill": false, "restart": true} {
		add("POST", name+"/"+action, e.withContainer(func(w http.ResponseWriter, _ *http.Request, c *Container) {
			changed := *c
			changed.Running = running
			e.containers[c.ID] = &changed
			e.emit("container", action, c.ID, map[string]string{"name": c.Name, "image": c.Image})
			w.WriteHeader(http.StatusNoContent)
		}))
	}
	add("POST", name+"/rename", e.withContainer(func(w http.ResponseWriter, r *http.Request, c *Container) {
		changed := *c
		changed.Name = r.URL.Query().Get("name")
		e.containers[c.ID] = &changed
		e.emit("container", "rename", c.ID, map[string]string{"name": changed.Name, "oldName": "/" + c.Name})
		w.WriteHeader(http.StatusNoContent)
	}))
	add("DELETE", name, e.withContainer(func(w http.ResponseWriter, _ *http.Request, c *Container) {
		delete(e.containers, c.ID)
		e.emit("container", "destroy", c.ID, map[string]string{"name": c.Name, "image": c.Image})
		w.WriteHeader(http.StatusNoContent)
	}))
}

// listContainers lists all, or those whose IDs a filter gives.
func (e *Engine) listContainers(w http.ResponseWriter, r *http.Request) {
	ids := filterValues(r, "id")
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]map[string]any, 0, len(e.containers))
	for _, id := range slices.Sorted(maps.Keys(e.containers)) {
		c := e.containers[id]
		if len(ids) > 0 && !slices.Contains(ids, id) || !c.Running && r.URL.Query().Get("all") != "1" {
			continue
		}
		list = append(list, map[string]any{
			"Id": c.ID, "Names": []string{"/" + c.Name}, "Image": c.Image, "ImageID": c.ImageID, "Created": c.Created,
			"Labels": c.Labels, "State": c.status(), "Status": c.status(), "Mounts": c.Mounts,
			"NetworkSettings": map[string]any{"Networks": c.Networks},
		})
	}
	answer(w, http.StatusOK, list)
}

func (e *Engine) createContainer(w http.ResponseWriter, r *http.Request) {
	var body json.RawMessage
	var config struct {
		Image      string
		Labels     map[string]string
		HostConfig map[string]any
	}
	if json.NewDecoder(r.Body).Decode(&body) != nil || json.Unmarshal(body, &config) != nil {
		fail(w, http.StatusBadRequest, "invalid JSON")
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	name := r.URL.Query().Get("name")
	image := e.findImage(config.Image)
	switch {
	case image == nil:
		fail(w, http.StatusNotFound, "No such image: "+withTag(config.Image))
		return
	case name != "" && e.findContainer(name) != nil:
		fail(w, http.StatusConflict, `Conflict. The container name "/`+name+`" is already in use`)
		return
	}
	id := e.addContainer(Container{
		Name: name, Image: config.Image, ImageID: image.ID, Labels: config.Labels, HostConfig: config.HostConfig, Config: body,
	})
	answer(w, http.StatusCreated, map[string]any{"Id": id, "Warnings": []string{}})
}

func (e *Engine) pruneContainers(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	gone := []string{}
	for _, id := range slices.Sorted(maps.Keys(e.containers)) {
		if c := e.containers[id]; !c.Running {
			delete(e.containers, id)
			gone = append(gone, id)
			e.emit("container", "destroy", id, map[string]string{"name": c.Name})
		}
	}
	answer(w, http.StatusOK, map[string]any{"ContainersDeleted": gone, "SpaceReclaimed": 100 * len(gone)})
}

// filterValues reads one filter in either of its forms.
func filterValues(r *http.Request, key string) []string {
	text := []byte(r.URL.Query().Get("filters"))
	var sets map[string]map[string]bool
	if json.Unmarshal(text, &sets) == nil {
		return slices.Sorted(maps.Keys(sets[key]))
	}
	var lists map[string][]string
	_ = json.Unmarshal(text, &lists)
	return lists[key]
}
