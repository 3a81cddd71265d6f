// Package network routes what the Docker API has under /networks.
package network

import (
	"context"
	"net/http"
	"net/url"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
)

// Backend is what these routes need of a cluster.
type Backend interface {
	ListNetworks(filters apifilter.Args) ([]byte, error)
	InspectNetwork(ctx context.Context, ref string, query url.Values, v apiversion.Version) ([]byte, error)
	CreateNetwork(ctx context.Context, body []byte, v apiversion.Version) ([]byte, error)
	ConnectNetwork(ctx context.Context, ref string, body []byte, v apiversion.Version) error
	DisconnectNetwork(ctx context.Context, ref string, body []byte, v apiversion.Version) error
	RemoveNetwork(ctx context.Context, ref string) error
	PruneNetworks(ctx context.Context, filters apifilter.Args) ([]byte, error)
}

var _ Backend = (*cluster.Cluster)(nil)

// Router is the network routes.
type Router struct{ cluster Backend }

// New makes the routes for a cluster.
func New(c Backend) *Router { return &Router{c} }

// Routes implements dockerapi.Router. What has a fixed path comes before what
// may be a name.
func (n *Router) Routes() []dockerapi.Route {
	const id = "/networks/{id:.*}"
	return []dockerapi.Route{
		{Method: http.MethodGet, Path: "/networks", Handler: n.list},
		{Method: http.MethodGet, Path: "/networks/", Handler: n.list},
		{Method: http.MethodPost, Path: "/networks/create", Handler: n.create},
		{Method: http.MethodPost, Path: "/networks/prune", Handler: n.prune},
		{Method: http.MethodGet, Path: id, Handler: n.inspect},
		{Method: http.MethodPost, Path: id + "/connect", Handler: n.attach(n.cluster.ConnectNetwork)},
		{Method: http.MethodPost, Path: id + "/disconnect", Handler: n.attach(n.cluster.DisconnectNetwork)},
		{Method: http.MethodDelete, Path: id, Handler: n.remove},
	}
}

func (n *Router) list(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	filters, err := apifilter.Parse(r.URL.Query().Get("filters"))
	if err != nil {
		return err
	}
	list, err := n.cluster.ListNetworks(filters)
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, list)
}

func (n *Router) inspect(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	body, err := n.cluster.InspectNetwork(r.Context(), vars["id"], r.URL.Query(), dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, body)
}

func (n *Router) create(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	body, err := dockerapi.ReadJSON(r)
	if err != nil {
		return err
	}
	if body == nil {
		return dockerapi.Invalid("invalid JSON: got EOF while reading request body")
	}
	answer, err := n.cluster.CreateNetwork(r.Context(), body, dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusCreated, answer)
}

// attach connects or disconnects; both take the same body and answer nothing.
func (n *Router) attach(operate func(ctx context.Context, ref string, body []byte, v apiversion.Version) error) dockerapi.Handler {
	return func(_ http.ResponseWriter, r *http.Request, vars map[string]string) error {
		body, err := dockerapi.ReadJSON(r)
		if err != nil {
			return err
		}
		if body == nil {
			return dockerapi.Invalid("invalid JSON: got EOF while reading request body")
		}
		return operate(r.Context(), vars["id"], body, dockerapi.VersionOf(r))
	}
}

func (n *Router) remove(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	if err := n.cluster.RemoveNetwork(r.Context(), vars["id"]); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (n *Router) prune(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	filters, err := apifilter.Parse(r.URL.Query().Get("filters"))
	if err != nil {
		return err
	}
	answer, err := n.cluster.PruneNetworks(r.Context(), filters)
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, answer)
}
