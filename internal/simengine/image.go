package simengine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
)

// image is an image of an engine; its engine's mu guards it.
type image struct {
	id      string // "sha256:…", of the first name it had
	tags    []string
	created time.Time
}

// ref is what a container's entry in lists calls its image.
func (i *image) ref() string {
	if len(i.tags) == 0 {
		return i.id
	}
	return i.tags[0]
}

func (i *image) is(ref string) bool {
	return slices.Contains(i.tags, withTag(ref)) || i.id == ref ||
		len(ref) >= 4 && strings.HasPrefix(strings.TrimPrefix(i.id, "sha256:"), strings.TrimPrefix(ref, "sha256:"))
}

func (i *image) untag(name string) {
	i.tags = slices.DeleteFunc(i.tags, func(t string) bool { return t == name })
}

// withTag completes a name as the engine does.
func withTag(ref string) string {
	ref = strings.TrimPrefix(strings.TrimPrefix(ref, "docker.io/"), "library/")
	if strings.Contains(ref, "@") || strings.Contains(ref[strings.LastIndex(ref, "/")+1:], ":") {
		return ref
	}
	return ref + ":latest"
}

// addImage takes an image in; mu is held, or the engine is not shared yet. The
// same name has the same ID on every engine.
func (e *Engine) addImage(ref string) *image {
	ref = withTag(ref)
	if i := e.findImage(ref); i != nil {
		return i
	}
	sum := sha256.Sum256([]byte(ref))
	id := "sha256:" + hex.EncodeToString(sum[:])
	i := e.findImage(id) // it may have other names now
	if i == nil {
		i = &image{id: id, created: time.Unix(1_700_000_000, 0).UTC()}
		e.images = append(e.images, i)
	}
	i.tags = append(i.tags, ref)
	return i
}

func (e *Engine) findImage(ref string) *image {
	for _, i := range e.images {
		if i.is(ref) {
			return i
		}
	}
	return nil
}

func (i *image) entry() map[string]any {
	return map[string]any{
		"Id": i.id, "ParentId": "", "RepoTags": i.tags, "RepoDigests": []string{}, "Created": i.created.Unix(),
		"Size": 4_000_000, "SharedSize": -1, "Containers": -1, "Labels": map[string]string{},
	}
}

func (e *Engine) routeImage(w http.ResponseWriter, r *http.Request, rest string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ref, inspect := strings.CutSuffix(rest, "/json")
	tagged, tag := strings.CutSuffix(rest, "/tag")
	switch {
	case r.Method == http.MethodGet && rest == "json":
		e.listImages(w, r.URL.Query())
	case r.Method == http.MethodPost && rest == "create":
		e.pull(w, r.URL.Query())
	case r.Method == http.MethodGet && inspect:
		e.withImage(w, ref, func(i *image) {
			answer(w, http.StatusOK, map[string]any{
				"Id": i.id, "RepoTags": i.tags, "RepoDigests": []string{}, "Created": i.created.Format(time.RFC3339Nano),
				"Architecture": "amd64", "Os": "linux", "Size": 4_000_000, "Config": map[string]any{},
			})
		})
	case r.Method == http.MethodPost && tag:
		e.withImage(w, tagged, func(i *image) {
			name := r.URL.Query().Get("repo")
			if t := r.URL.Query().Get("tag"); t != "" {
				name += ":" + t
			}
			if _, err := reference.ParseNormalizedNamed(name); err != nil {
				fail(w, http.StatusBadRequest, fmt.Sprintf("invalid reference format: %q", name))
				return
			}
			if name = withTag(name); !slices.Contains(i.tags, name) {
				if other := e.findImage(name); other != nil { // a name means one image
					other.untag(name)
				}
				i.tags = append(i.tags, name)
			}
			e.emit("image", "tag", i.id, map[string]string{"name": name})
			w.WriteHeader(http.StatusCreated)
		})
	case r.Method == http.MethodDelete:
		e.withImage(w, rest, func(i *image) { e.deleteImage(w, i, rest) })
	default:
		e.notSimulated(w, r)
	}
}

func (e *Engine) withImage(w http.ResponseWriter, ref string, do func(*image)) {
	if i := e.findImage(ref); i != nil {
		do(i)
		return
	}
	fail(w, http.StatusNotFound, "No such image: "+ref)
}

func (e *Engine) listImages(w http.ResponseWriter, query url.Values) {
	f, ok := readFilters(w, query, "reference", "dangling", "label")
	if !ok {
		return
	}
	list := []map[string]any{}
	for _, i := range e.images {
		fits := f.any("reference", func(v string) bool {
			return i.is(v) || slices.ContainsFunc(i.tags, func(t string) bool { return strings.HasPrefix(t, v+":") })
		}) &&
			f.any("dangling", func(v string) bool { return (v == "true" || v == "1") == (len(i.tags) == 0) }) && f.labels(nil)
		if fits {
			list = append(list, i.entry())
		}
	}
	answer(w, http.StatusOK, list)
}

// pull finds every image: the simulated registry has them all.
func (e *Engine) pull(w http.ResponseWriter, query url.Values) {
	ref := query.Get("fromImage")
	if ref == "" {
		fail(w, http.StatusNotImplemented, "engine "+e.cfg.Name+" is simulated and imports no images; use a real Docker Engine")
		return
	}
	if tag := query.Get("tag"); tag != "" {
		separator := ":"
		if strings.Contains(tag, ":") {
			separator = "@"
		}
		ref += separator + tag
	}
	if _, err := reference.ParseNormalizedNamed(ref); err != nil {
		fail(w, http.StatusBadRequest, fmt.Sprintf("invalid reference format: %q", ref))
		return
	}
	i := e.addImage(ref)
	e.emit("image", "pull", withTag(ref), map[string]string{"name": withTag(ref)})
	w.Header().Set("Content-Type", "application/json")
	for _, line := range []string{"Pulling from simulated registry", "Digest: " + i.id, "Status: Downloaded newer image for " + withTag(ref)} {
		_ = json.NewEncoder(w).Encode(map[string]string{"status": line}) // a client that has gone needs no answer
	}
}

// deleteImage takes one of several names away, or the image.
func (e *Engine) deleteImage(w http.ResponseWriter, i *image, ref string) {
	if name := withTag(ref); len(i.tags) > 1 && slices.Contains(i.tags, name) {
		i.untag(name)
		e.emit("image", "untag", i.id, map[string]string{"name": name})
		answer(w, http.StatusOK, []map[string]string{{"Untagged": name}})
		return
	}
	for _, c := range e.containers {
		if c.image == i {
			fail(w, http.StatusConflict, fmt.Sprintf("conflict: unable to remove repository reference %q (must force) - container %s is using its referenced image %s", ref, c.id[:12], i.id[7:19]))
			return
		}
	}
	e.images = slices.DeleteFunc(e.images, func(other *image) bool { return other == i })
	answers := []map[string]string{}
	for _, t := range i.tags {
		answers = append(answers, map[string]string{"Untagged": t})
	}
	e.emit("image", "delete", i.id, map[string]string{"name": i.id})
	answer(w, http.StatusOK, append(answers, map[string]string{"Deleted": i.id}))
}
