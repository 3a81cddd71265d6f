package image

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/engine"
)

// noFilterParam is the version that did away with filter, a reference alone.
var noFilterParam = apiversion.Version{Major: 1, Minor: 41}

func (i *Router) list(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	query, version := r.URL.Query(), dockerapi.VersionOf(r)
	filters, err := apifilter.Parse(query.Get("filters"))
	if err != nil {
		return err
	}
	if reference := query.Get("filter"); reference != "" && version.Less(noFilterParam) {
		filters = filters.With("reference", reference)
	}
	list, err := i.cluster.ListImages(r.Context(), cluster.ImageListOptions{
		All: dockerapi.Bool(r, "all"), Filters: filters, Version: version,
		SharedSize: dockerapi.Bool(r, "shared-size"), Manifests: dockerapi.Bool(r, "manifests"),
	})
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, list)
}

// describe answers in the words of the first engine that has the image. One
// that has just lost it, or cannot be reached, is passed over.
func (i *Router) describe(suffix string) dockerapi.Handler {
	return func(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
		engines, sent, err := i.cluster.ImageHolders(vars["name"])
		if err != nil {
			return err
		}
		var body []byte
		for _, e := range engines {
			err = e.Call(r.Context(), engine.Request{
				Method: http.MethodGet, Path: "/images/" + sent + suffix, Query: r.URL.Query(), Version: dockerapi.VersionOf(r),
			}, nil, &body)
			if !errdefs.IsNotFound(err) && !unreachable(err) {
				break
			}
		}
		if err != nil {
			return err
		}
		return dockerapi.WriteRaw(w, http.StatusOK, body)
	}
}

func unreachable(err error) bool {
	var u *engine.UnreachableError
	return errors.As(err, &u)
}

// forwardFirst forwards to the first engine that can be reached. The request
// must have no body: it could be sent only once.
func forwardFirst(w http.ResponseWriter, r *http.Request, engines []*engine.Engine, path string, query url.Values) (err error) {
	for _, e := range engines {
		err = dockerapi.Forward(w, r, e, path, dockerapi.ForwardOptions{Query: query, NoBody: true})
		if !unreachable(err) {
			break
		}
	}
	return err
}

// any forwards what all engines answer alike: they ask a registry.
func (i *Router) any(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	engines, err := i.cluster.AnyEngines()
	if err != nil {
		return err
	}
	return forwardFirst(w, r, engines, r.URL.Path, r.URL.Query())
}

func (i *Router) save(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	query := r.URL.Query()
	names := query["names"]
	if len(names) == 0 {
		return dockerapi.Invalid("no image is named: give names=IMAGE, as often as there are images")
	}
	engines, sent, err := i.cluster.HoldersOfAll(names)
	if err != nil {
		return err
	}
	query["names"] = sent
	return forwardFirst(w, r, engines, "/images/get", query)
}

func (i *Router) saveOne(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	engines, sent, err := i.cluster.ImageHolders(vars["name"])
	if err != nil {
		return err
	}
	return forwardFirst(w, r, engines, "/images/"+sent+"/get", r.URL.Query())
}

// push goes without its body: credentials come in a header, and what clients
// of old had in the body nobody reads.
func (i *Router) push(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	engines, err := i.cluster.PushHolders(vars["name"], r.URL.Query().Get("tag"))
	if err != nil {
		return err
	}
	return forwardFirst(w, r, engines, "/images/"+vars["name"]+"/push", r.URL.Query())
}

func (i *Router) tag(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	if err := i.cluster.TagImage(r.Context(), vars["name"], r.URL.Query(), dockerapi.VersionOf(r)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (i *Router) remove(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	if strings.TrimSpace(vars["name"]) == "" {
		return dockerapi.Invalid("image name cannot be blank")
	}
	removed, err := i.cluster.RemoveImage(r.Context(), vars["name"], r.URL.Query(), dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, removed)
}

func (i *Router) prune(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	answer, err := i.cluster.PruneImages(r.Context(), r.URL.Query(), dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, answer)
}
