// Package container routes what the Docker API has under /containers, and
// commit. It reads parameters, asks the cluster where a container is, and
// forwards to the engine there.
package container

import (
	"context"
	"net/http"
	"net/url"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/engine"
)

// Backend is what these routes need of a cluster.
type Backend interface {
	List(context.Context, cluster.ListOptions) (*cluster.Listing, error)
	Inspect(ctx context.Context, ref string, query url.Values, v apiversion.Version) ([]byte, error)
	Create(context.Context, cluster.CreateOptions) ([]byte, error)
	Rename(ctx context.Context, ref, name string) error
	Remove(ctx context.Context, ref string, query url.Values) error
	Reachable(ref string) (*cluster.Container, error)
	Refresh(ctx context.Context, e *engine.Engine, id string)
	RefreshImages(ctx context.Context, e *engine.Engine)
	RememberExec(id string, e *engine.Engine)
	PruneContainers(context.Context, apifilter.Args) ([]byte, error)
}

var _ Backend = (*cluster.Cluster)(nil)

// Router is the container routes.
type Router struct{ cluster Backend }

// New makes the routes for a cluster.
func New(c Backend) *Router { return &Router{c} }

// Routes implements dockerapi.Router. What has a fixed path comes before what
// may be a name.
func (c *Router) Routes() []dockerapi.Route {
	const name = "/containers/{name:.*}"
	routes := []dockerapi.Route{
		{Method: http.MethodGet, Path: "/containers/json", Handler: c.list},
		{Method: http.MethodGet, Path: "/containers/ps", Handler: c.list},
		{Method: http.MethodPost, Path: "/containers/create", Handler: c.create},
		{Method: http.MethodPost, Path: "/containers/prune", Handler: c.prune},
		{Method: http.MethodPost, Path: "/commit", Handler: c.commit},

		{Method: http.MethodGet, Path: name + "/json", Handler: c.inspect},
		{Method: http.MethodGet, Path: name + "/attach/ws", Handler: c.upgrade("/attach/ws")},
		{Method: http.MethodPost, Path: name + "/attach", Handler: c.upgrade("/attach")},
		{Method: http.MethodPost, Path: name + "/exec", Handler: c.createExec},
		{Method: http.MethodPost, Path: name + "/start", Handler: c.start},
		{Method: http.MethodPost, Path: name + "/rename", Handler: c.rename},
		{Method: http.MethodPost, Path: name + "/wait", Handler: c.wait},
		{Method: http.MethodDelete, Path: name + "/checkpoints/{checkpoint}", Handler: c.deleteCheckpoint},
	}
	for _, suffix := range []string{"top", "logs", "changes", "export", "stats", "archive", "checkpoints"} {
		routes = append(routes, dockerapi.Route{Method: http.MethodGet, Path: name + "/" + suffix, Handler: c.forward("/" + suffix)})
	}
	for _, suffix := range []string{"copy", "resize", "checkpoints"} {
		routes = append(routes, dockerapi.Route{Method: http.MethodPost, Path: name + "/" + suffix, Handler: c.forward("/" + suffix)})
	}
	for _, suffix := range []string{"kill", "pause", "unpause", "restart", "stop", "update"} {
		routes = append(routes, dockerapi.Route{Method: http.MethodPost, Path: name + "/" + suffix, Handler: c.operate("/" + suffix)})
	}
	return append(routes,
		dockerapi.Route{Method: http.MethodHead, Path: name + "/archive", Handler: c.forward("/archive")},
		dockerapi.Route{Method: http.MethodPut, Path: name + "/archive", Handler: c.forward("/archive")},
		dockerapi.Route{Method: http.MethodDelete, Path: name, Handler: c.remove},
	)
}

func path(found *cluster.Container, suffix string) string { return "/containers/" + found.ID + suffix }

// forward passes the request to the container's engine.
func (c *Router) forward(suffix string) dockerapi.Handler {
	return func(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
		found, err := c.cluster.Reachable(vars["name"])
		if err != nil {
			return err
		}
		return dockerapi.Forward(w, r, found.Engine, path(found, suffix), dockerapi.ForwardOptions{})
	}
}

// operate is forward for what changes the container.
func (c *Router) operate(suffix string) dockerapi.Handler {
	return func(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
		found, err := c.cluster.Reachable(vars["name"])
		if err != nil {
			return err
		}
		return dockerapi.Forward(w, r, found.Engine, path(found, suffix), dockerapi.ForwardOptions{
			Answered: func(*http.Response) { c.cluster.Refresh(r.Context(), found.Engine, found.ID) },
		})
	}
}

func (c *Router) upgrade(suffix string) dockerapi.Handler {
	return func(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
		found, err := c.cluster.Reachable(vars["name"])
		if err != nil {
			return err
		}
		return dockerapi.Upgrade(w, r, found.Engine, path(found, suffix), dockerapi.ForwardOptions{})
	}
}

func (c *Router) start(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	found, err := c.cluster.Reachable(vars["name"])
	if err != nil {
		return err
	}
	return dockerapi.Forward(w, r, found.Engine, path(found, "/start"), dockerapi.ForwardOptions{
		// Clients of old send the host's configuration again; engines of
		// today refuse it.
		NoBody:   true,
		Answered: func(*http.Response) { c.cluster.Refresh(r.Context(), found.Engine, found.ID) },
	})
}

// wait answers its head at once and its body when the container has ended; who
// has read the body expects the list to show it.
func (c *Router) wait(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	found, err := c.cluster.Reachable(vars["name"])
	if err != nil {
		return err
	}
	return dockerapi.Forward(w, r, found.Engine, path(found, "/wait"), dockerapi.ForwardOptions{
		HoldBody: true,
		BodyRead: func() { c.cluster.Refresh(r.Context(), found.Engine, found.ID) },
	})
}

func (c *Router) deleteCheckpoint(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	found, err := c.cluster.Reachable(vars["name"])
	if err != nil {
		return err
	}
	return dockerapi.Forward(w, r, found.Engine, path(found, "/checkpoints/"+vars["checkpoint"]), dockerapi.ForwardOptions{})
}

func (c *Router) commit(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	query := r.URL.Query()
	found, err := c.cluster.Reachable(query.Get("container"))
	if err != nil {
		return err
	}
	query.Set("container", found.ID)
	return dockerapi.Forward(w, r, found.Engine, "/commit", dockerapi.ForwardOptions{
		Query:    query,
		Answered: func(*http.Response) { c.cluster.RefreshImages(r.Context(), found.Engine) },
	})
}
