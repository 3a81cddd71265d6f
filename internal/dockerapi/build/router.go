// Package build routes what the Docker API has for builds: /build, and the
// connections that clients of BuildKit open beside it. A build is done by one
// engine, which the cluster chooses; all of its requests are brought there.
package build

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
	PlaceBuild(query url.Values) (*cluster.BuildPlace, error)
	PlaceBuildKit(query url.Values) (*cluster.BuildPlace, error)
	SessionEngine(ctx context.Context, session, client string) (e *engine.Engine, leave func(), err error)
	UploadEngine(ctx context.Context, query url.Values) (e *engine.Engine, leave func(), err error)
	BuildControl(client string) (e *engine.Engine, done func(), err error)
	CancelBuild(ctx context.Context, query url.Values, v apiversion.Version) error
	PruneBuilds(ctx context.Context, query url.Values, v apiversion.Version) ([]byte, error)
	RefreshImages(ctx context.Context, e *engine.Engine)
}

var _ Backend = (*cluster.Cluster)(nil)

// Router is the routes of builds.
type Router struct{ cluster Backend }

// New makes the routes for a cluster.
func New(c Backend) *Router { return &Router{c} }

// Routes implements dockerapi.Router.
func (b *Router) Routes() []dockerapi.Route {
	return []dockerapi.Route{
		{Method: http.MethodPost, Path: "/build", Handler: b.build},
		{Method: http.MethodPost, Path: "/build/cancel", Handler: b.cancel},
		{Method: http.MethodPost, Path: "/build/prune", Handler: b.prune},
		{Method: http.MethodPost, Path: "/session", Handler: b.session},
		{Method: http.MethodPost, Path: "/grpc", Handler: b.control},
	}
}
