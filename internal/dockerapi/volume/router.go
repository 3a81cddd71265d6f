// Package volume routes what the Docker API has under /volumes.
package volume

import (
	"context"
	"net/http"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
)

// Backend is what these routes need of a cluster.
type Backend interface {
	ListVolumes(filters apifilter.Args) ([]byte, error)
	InspectVolume(ctx context.Context, ref string, v apiversion.Version) ([]byte, error)
	CreateVolume(ctx context.Context, body []byte, v apiversion.Version) ([]byte, error)
	RemoveVolume(ctx context.Context, ref string, force bool) error
	PruneVolumes(ctx context.Context, filters apifilter.Args, v apiversion.Version) ([]byte, error)
}

var _ Backend = (*cluster.Cluster)(nil)

// Router is the volume routes.
type Router struct{ cluster Backend }

// New makes the routes for a cluster.
func New(c Backend) *Router { return &Router{c} }

// Routes implements dockerapi.Router. What has a fixed path comes before what
// may be a name.
func (v *Router) Routes() []dockerapi.Route {
	const name = "/volumes/{name:.*}"
	update := dockerapi.NotOverManyEngines("only cluster volumes can be updated, and they need a swarm: remove the volume and create it anew")
	return []dockerapi.Route{
		{Method: http.MethodGet, Path: "/volumes", Handler: v.list},
		{Method: http.MethodPost, Path: "/volumes/create", Handler: v.create},
		{Method: http.MethodPost, Path: "/volumes/prune", Handler: v.prune},
		{Method: http.MethodGet, Path: name, Handler: v.inspect},
		{Method: http.MethodPut, Path: name, Handler: update},
		{Method: http.MethodDelete, Path: name, Handler: v.remove},
	}
}

func (v *Router) list(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	filters, err := apifilter.Parse(r.URL.Query().Get("filters"))
	if err != nil {
		return err
	}
	list, err := v.cluster.ListVolumes(filters)
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, list)
}

func (v *Router) inspect(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	body, err := v.cluster.InspectVolume(r.Context(), vars["name"], dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, body)
}

func (v *Router) create(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	body, err := dockerapi.ReadJSON(r)
	if err != nil {
		return err
	}
	if body == nil { // a volume without a name, as engines take it
		body = []byte("{}")
	}
	answer, err := v.cluster.CreateVolume(r.Context(), body, dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusCreated, answer)
}

func (v *Router) remove(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	if err := v.cluster.RemoveVolume(r.Context(), vars["name"], dockerapi.Bool(r, "force")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (v *Router) prune(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	filters, err := apifilter.Parse(r.URL.Query().Get("filters"))
	if err != nil {
		return err
	}
	answer, err := v.cluster.PruneVolumes(r.Context(), filters, dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, answer)
}
