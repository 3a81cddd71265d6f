// Package exec routes what the Docker API has under /exec.
package exec

import (
	"context"
	"net/http"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/engine"
)

// Backend is what these routes need of a cluster.
type Backend interface {
	ExecEngine(ctx context.Context, id string) (*engine.Engine, error)
}

var _ Backend = (*cluster.Cluster)(nil)

// Router is the exec routes.
type Router struct{ cluster Backend }

// New makes the routes for a cluster.
func New(c Backend) *Router { return &Router{c} }

// Routes implements dockerapi.Router.
func (x *Router) Routes() []dockerapi.Route {
	return []dockerapi.Route{
		{Method: http.MethodGet, Path: "/exec/{id}/json", Handler: x.forward("/json")},
		{Method: http.MethodPost, Path: "/exec/{id}/start", Handler: x.start},
		{Method: http.MethodPost, Path: "/exec/{id}/resize", Handler: x.forward("/resize")},
	}
}

func (x *Router) forward(suffix string) dockerapi.Handler {
	return func(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
		e, err := x.cluster.ExecEngine(r.Context(), vars["id"])
		if err != nil {
			return err
		}
		return dockerapi.Forward(w, r, e, "/exec/"+vars["id"]+suffix, dockerapi.ForwardOptions{})
	}
}

// start carries a stream when the client asks for one; a detached exec does not.
func (x *Router) start(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	e, err := x.cluster.ExecEngine(r.Context(), vars["id"])
	if err != nil {
		return err
	}
	pass := dockerapi.Forward
	if r.Header.Get("Connection") != "" {
		pass = dockerapi.Upgrade
	}
	return pass(w, r, e, "/exec/"+vars["id"]+"/start", dockerapi.ForwardOptions{})
}
