package enginetest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"
)

// archive is what the fake saves and loads in the place of a tar.
type archive struct{ Images []Image }

func pathVar(r *http.Request, name string) string { return mux.Vars(r)[name] }

func (e *Engine) saveOne(w http.ResponseWriter, r *http.Request) {
	e.save(w, []string{pathVar(r, "name")})
}

func (e *Engine) saveMany(w http.ResponseWriter, r *http.Request) { e.save(w, r.URL.Query()["names"]) }

// save writes the named images; as in an engine's, those named by ID have no
// tags in it.
func (e *Engine) save(w http.ResponseWriter, names []string) {
	var a archive
	e.mu.Lock()
	for _, name := range names {
		i := e.findImage(name)
		if i == nil {
			e.mu.Unlock()
			fail(w, http.StatusNotFound, "No such image: "+name)
			return
		}
		saved := *i
		saved.Tags, saved.Digests = nil, nil
		if slices.Contains(i.Tags, withTag(name)) {
			saved.Tags = []string{withTag(name)}
		}
		a.Images = append(a.Images, saved)
	}
	e.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-tar")
	_ = json.NewEncoder(w).Encode(a)
}

func (e *Engine) loadImages(w http.ResponseWriter, r *http.Request) {
	var a archive
	if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
		const text = "Error processing tar file(exit status 1): unexpected EOF"
		messages(w, map[string]any{"errorDetail": map[string]string{"message": text}, "error": text})
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	e.mu.Lock()
	var out []map[string]any
	for _, i := range a.Images {
		id := e.addImage(i, "load")
		if quiet := r.URL.Query().Get("quiet"); quiet != "1" {
			out = append(out, map[string]any{"status": "Loading layer", "id": id[7:19], "progressDetail": map[string]int{"current": 1, "total": 2}, "progress": "[=>  ]"})
		}
		if len(i.Tags) == 0 {
			out = append(out, map[string]any{"stream": "Loaded image ID: " + id + "\n"})
		}
		for _, tag := range i.Tags {
			out = append(out, map[string]any{"stream": "Loaded image: " + tag + "\n"})
		}
	}
	e.mu.Unlock()
	messages(w, out...)
}

func (e *Engine) createImage(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("fromImage") != "" {
		e.pull(w, r)
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	q := r.URL.Query()
	var tags []string
	if repo := q.Get("repo"); repo != "" {
		tag := repo + ":" + q.Get("tag")
		if q.Get("tag") == "" {
			tag = withTag(repo)
		}
		tags = []string{tag}
	}
	e.mu.Lock()
	id := e.addImage(Image{ID: "sha256:" + e.newID("import"), Tags: tags}, "import")
	e.mu.Unlock()
	messages(w, map[string]any{"status": "Importing", "progressDetail": map[string]int{"current": 1}, "progress": "1B"}, map[string]any{"status": id})
}

func (e *Engine) pull(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	name, tag := q.Get("fromImage"), q.Get("tag")
	if tag != "" {
		name += map[bool]string{true: "@", false: ":"}[strings.Contains(tag, ":")] + tag
	}
	name = withTag(name)
	e.mu.Lock()
	i, ok := e.registry[name]
	if ok {
		e.addImage(i, "pull")
	}
	e.mu.Unlock()
	if !ok {
		fail(w, http.StatusNotFound, "pull access denied for "+q.Get("fromImage")+", repository does not exist or may require 'docker login'")
		return
	}
	messages(w,
		map[string]any{"status": "Pulling from " + q.Get("fromImage"), "id": tag},
		map[string]any{"status": "Downloading", "id": "layer1", "progressDetail": map[string]int{"current": 1, "total": 2}, "progress": "[=> ]"},
		map[string]any{"status": "Pull complete", "id": "layer1", "progressDetail": map[string]int{}},
		map[string]any{"status": "Status: Downloaded newer image for " + name},
	)
}

func (e *Engine) build(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	var tags []string
	for _, t := range r.URL.Query()["t"] {
		tags = append(tags, withTag(t))
	}
	e.mu.Lock()
	id := e.addImage(Image{ID: "sha256:" + e.newID("build"), Tags: tags}, "build")
	e.mu.Unlock()
	messages(w,
		map[string]any{"stream": "Step 1/1 : FROM scratch\n"},
		map[string]any{"aux": map[string]string{"ID": id}},
		map[string]any{"stream": "Successfully built " + id[7:19] + "\n"},
	)
}
