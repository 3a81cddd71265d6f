// Package image routes what the Docker API has under /images and /distribution.
// It reads parameters and asks the cluster, which does over all engines what an
// engine does over one; what one engine alone can answer is forwarded to it.
package image

import (
	"context"
	"net/http"
	"net/url"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
	"github.com/skep/skep/internal/engine"
)

// Backend is what these routes need of a cluster.
type Backend interface {
	ListImages(context.Context, cluster.ImageListOptions) ([]byte, error)
	ImageHolders(name string) (engines []*engine.Engine, sent string, err error)
	HoldersOfAll(names []string) (engines []*engine.Engine, sent []string, err error)
	PushHolders(name, tag string) ([]*engine.Engine, error)
	PullImage(context.Context, cluster.PullOptions, cluster.Emit) error
	LoadImages(context.Context, cluster.LoadOptions, cluster.Emit) error
	ImportImage(context.Context, cluster.ImportOptions, cluster.Emit) error
	TagImage(ctx context.Context, name string, query url.Values, v apiversion.Version) error
	RemoveImage(ctx context.Context, name string, query url.Values, v apiversion.Version) ([]byte, error)
	PruneImages(ctx context.Context, query url.Values, v apiversion.Version) ([]byte, error)
	AnyEngines() ([]*engine.Engine, error)
}

var _ Backend = (*cluster.Cluster)(nil)

// Router is the image routes.
type Router struct{ cluster Backend }

// New makes the routes for a cluster.
func New(c Backend) *Router { return &Router{c} }

// Routes implements dockerapi.Router. What has a fixed path comes before what
// may be a name.
func (i *Router) Routes() []dockerapi.Route {
	const name = "/images/{name:.*}"
	return []dockerapi.Route{
		{Method: http.MethodGet, Path: "/images/json", Handler: i.list},
		{Method: http.MethodGet, Path: "/images/search", Handler: i.any},
		{Method: http.MethodGet, Path: "/images/get", Handler: i.save},
		{Method: http.MethodGet, Path: "/images/viz", Handler: dockerapi.NotOverManyEngines("Not supported in clustering mode.")},
		{Method: http.MethodPost, Path: "/images/create", Handler: i.create},
		{Method: http.MethodPost, Path: "/images/load", Handler: i.load},
		{Method: http.MethodPost, Path: "/images/prune", Handler: i.prune},

		{Method: http.MethodGet, Path: name + "/json", Handler: i.describe("/json")},
		{Method: http.MethodGet, Path: name + "/history", Handler: i.describe("/history")},
		{Method: http.MethodGet, Path: name + "/get", Handler: i.saveOne},
		{Method: http.MethodPost, Path: name + "/push", Handler: i.push},
		{Method: http.MethodPost, Path: name + "/tag", Handler: i.tag},
		{Method: http.MethodDelete, Path: name, Handler: i.remove},

		{Method: http.MethodGet, Path: "/distribution/{name:.*}/json", Handler: i.any},
	}
}
