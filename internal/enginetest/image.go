package enginetest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Image is an image of a fake engine, in the words of its list.
type Image struct {
	// ID is made of the tags when it is empty, so that engines that are given
	// the same image have it under the same ID, as if all had pulled it.
	ID       string `json:"Id"`
	ParentID string `json:"ParentId"`
	Tags     []string
	Digests  []string
	Created  int64 // seconds since the epoch; 0 for one that grows
	Size     int64
	Labels   map[string]string
	Extra    map[string]any // more members of the list's entry
}

func (i *Image) entry() map[string]any {
	entry := map[string]any{
		"Id": i.ID, "ParentId": i.ParentID, "RepoTags": i.Tags, "RepoDigests": i.Digests,
		"Created": i.Created, "Size": i.Size, "VirtualSize": i.Size, "SharedSize": -1, "Containers": -1, "Labels": i.Labels,
	}
	if len(i.Tags)+len(i.Digests) == 0 {
		entry["RepoTags"], entry["RepoDigests"] = []string{"<none>:<none>"}, []string{"<none>@<none>"}
	}
	maps.Copy(entry, i.Extra)
	return entry
}

// AddImage gives the engine an image and returns its ID.
func (e *Engine) AddImage(i Image) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.addImage(i, "load")
}

// addImage is AddImage with e.mu held; action is the event's.
func (e *Engine) addImage(i Image, action string) string {
	if i.ID == "" && len(i.Tags) > 0 {
		sum := sha256.Sum256([]byte(strings.Join(i.Tags, " ")))
		i.ID = "sha256:" + hex.EncodeToString(sum[:])
	}
	if i.ID == "" {
		i.ID = "sha256:" + e.newID("image")
	}
	if i.Created == 0 {
		e.made++
		i.Created = 1_700_000_000 + int64(e.made)
	}
	def(&i.Size, 1000)
	for _, tag := range i.Tags {
		e.untag(tag)
	}
	if old := e.images[i.ID]; old != nil {
		i.Tags = append(slices.Clone(old.Tags), i.Tags...)
	}
	e.images[i.ID] = &i
	e.emit("image", action, i.ID, map[string]string{"name": strings.Join(i.Tags, " ")})
	return i.ID
}

// Publish makes an image one that this engine can pull.
func (e *Engine) Publish(i Image) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, tag := range i.Tags {
		e.registry[tag] = i
	}
}

// Images gives the engine's images by ID.
func (e *Engine) Images() map[string]Image {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[string]Image, len(e.images))
	for id, i := range e.images {
		out[id] = *i
	}
	return out
}

// HasImage tells whether a name or ID means an image that the engine has.
func (e *Engine) HasImage(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.findImage(name) != nil
}

// untag takes a tag from the image that has it; e.mu is held.
func (e *Engine) untag(tag string) {
	for id, i := range e.images {
		if n := slices.Index(i.Tags, tag); n >= 0 {
			changed := *i
			changed.Tags = slices.Delete(slices.Clone(i.Tags), n, n+1)
			e.images[id] = &changed
		}
	}
}

// withTag is the reference with the tag that goes without saying.
func withTag(name string) string {
	if strings.Contains(name, "@") || strings.LastIndex(name, ":") > strings.LastIndex(name, "/") {
		return name
	}
	return name + ":latest"
}

// findImage finds an image as engines do, a name before an ID; e.mu is held.
func (e *Engine) findImage(name string) *Image {
	for _, i := range e.images {
		if slices.Contains(i.Tags, withTag(name)) || slices.Contains(i.Digests, name) {
			return i
		}
	}
	var found *Image
	for id, i := range e.images {
		if strings.HasPrefix(strings.TrimPrefix(id, "sha256:"), strings.TrimPrefix(name, "sha256:")) {
			if found != nil {
				return nil
			}
			found = i
		}
	}
	return found
}

// withImage calls do with the image that the path names, and e.mu held.
func (e *Engine) withImage(do func(w http.ResponseWriter, r *http.Request, i *Image)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		name := pathVar(r, "name")
		i := e.findImage(name)
		if i == nil {
			fail(w, http.StatusNotFound, "No such image: "+withTag(name))
			return
		}
		do(w, r, i)
	}
}

func (e *Engine) imageRoutes(add func(method, path string, h http.HandlerFunc)) {
	const name = "/images/{name:.*}"
	add("GET", "/images/json", e.listImages)
	add("GET", "/images/get", e.saveMany)
	add("GET", "/images/search", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, []map[string]any{{"name": r.URL.Query().Get("term"), "description": "found by " + e.cfg.Name}})
	})
	add("POST", "/images/create", e.createImage)
	add("POST", "/images/load", e.loadImages)
	add("POST", "/images/prune", e.pruneImages)
	add("GET", name+"/json", e.withImage(func(w http.ResponseWriter, _ *http.Request, i *Image) {
		answer(w, http.StatusOK, map[string]any{"Id": i.ID, "RepoTags": i.Tags, "RepoDigests": i.Digests, "Size": i.Size, "FoundOn": e.cfg.Name})
	}))
	add("GET", name+"/history", e.withImage(func(w http.ResponseWriter, _ *http.Request, i *Image) {
		answer(w, http.StatusOK, []map[string]any{{"Id": i.ID, "Created": i.Created, "CreatedBy": e.cfg.Name, "Tags": i.Tags}})
	}))
	add("GET", name+"/get", e.saveOne)
	add("POST", name+"/push", func(w http.ResponseWriter, r *http.Request) {
		messages(w,
			map[string]any{"status": "The push refers to repository [" + pathVar(r, "name") + "]"},
			map[string]any{"status": r.URL.Query().Get("tag") + ": digest: sha256:0 size: 1"})
	})
	add("POST", name+"/tag", e.withImage(e.tagImage))
	add("DELETE", name, e.withImage(e.deleteImage))
	add("POST", "/build", e.build)
	add("POST", "/build/cancel", func(http.ResponseWriter, *http.Request) {})
	add("POST", "/build/prune", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"CachesDeleted": []string{"cache-" + e.cfg.Name}, "SpaceReclaimed": 10})
	})
	add("GET", "/distribution/{name:.*}/json", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusOK, map[string]any{"Descriptor": map[string]any{"digest": "sha256:0"}, "Name": pathVar(r, "name")})
	})
}

func (e *Engine) listImages(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	parents := map[string]bool{}
	for _, i := range e.images {
		parents[i.ParentID] = true
	}
	list := make([]map[string]any, 0, len(e.images))
	for _, id := range slices.Sorted(maps.Keys(e.images)) {
		i := e.images[id]
		if r.URL.Query().Get("all") == "1" || len(i.Tags)+len(i.Digests) > 0 || !parents[id] {
			list = append(list, i.entry())
		}
	}
	answer(w, http.StatusOK, list)
}

func (e *Engine) tagImage(w http.ResponseWriter, r *http.Request, i *Image) {
	q := r.URL.Query()
	tag := q.Get("repo") + ":" + q.Get("tag")
	if q.Get("tag") == "" {
		tag = withTag(q.Get("repo"))
	}
	id := i.ID
	e.untag(tag)
	changed := *e.images[id]
	changed.Tags = append(slices.Clone(changed.Tags), tag)
	e.images[id] = &changed
	e.emit("image", "tag", id, map[string]string{"name": tag})
	w.WriteHeader(http.StatusCreated)
}

func (e *Engine) deleteImage(w http.ResponseWriter, r *http.Request, i *Image) {
	force := r.URL.Query().Get("force") == "1"
	for _, c := range e.containers {
		if c.ImageID == i.ID && !force {
			fail(w, http.StatusConflict, fmt.Sprintf("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s", pathVar(r, "name"), c.ID[:12], strings.TrimPrefix(i.ID, "sha256:")[:12]))
			return
		}
	}
	tags := i.Tags
	if named := withTag(pathVar(r, "name")); slices.Contains(tags, named) {
		tags = []string{named}
	} else if len(tags) > 1 && !force {
		fail(w, http.StatusConflict, "conflict: unable to delete "+pathVar(r, "name")+" (must be forced) - image is referenced in multiple repositories")
		return
	}
	var items []map[string]string
	for _, tag := range tags {
		e.untag(tag)
		items = append(items, map[string]string{"Untagged": tag})
	}
	if len(e.images[i.ID].Tags) == 0 {
		delete(e.images, i.ID)
		items = append(items, map[string]string{"Deleted": i.ID})
	}
	e.emit("image", "delete", i.ID, nil)
	answer(w, http.StatusOK, items)
}

func (e *Engine) pruneImages(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	items, space := []map[string]string{}, int64(0)
	for _, id := range slices.Sorted(maps.Keys(e.images)) {
		if i := e.images[id]; len(i.Tags)+len(i.Digests) == 0 {
			delete(e.images, id)
			items = append(items, map[string]string{"Deleted": id})
			space += i.Size
		}
	}
	answer(w, http.StatusOK, map[string]any{"ImagesDeleted": items, "SpaceReclaimed": space})
}
