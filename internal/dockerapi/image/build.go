package image

import (
	"net/http"

	"github.com/skep/skep/internal/dockerapi"
)

// noBuildKit says what to do instead: BuildKit's sessions go to the engine that
// builds, before it is known which one that will be.
var noBuildKit = dockerapi.NotOverManyEngines("builds with BuildKit are not carried to engines yet: build with DOCKER_BUILDKIT=0, or with that engine's own address")

// build finds an engine and passes the context on to it as it comes.
func (i *Router) build(w http.ResponseWriter, r *http.Request, vars map[string]string) error {
	query := r.URL.Query()
	switch query.Get("version") {
	case "", "1":
	case "2":
		return noBuildKit(w, r, vars)
	default:
		return dockerapi.Invalid("invalid version %q of the builder: use 1", query.Get("version"))
	}
	place, err := i.cluster.PlaceBuild(query)
	if err != nil {
		return err
	}
	defer place.Release()
	// The engine may answer before it has read all of the context.
	_ = http.NewResponseController(w).EnableFullDuplex()
	return dockerapi.Forward(w, r, place.Engine, "/build", dockerapi.ForwardOptions{
		Query:    place.Query,
		BodyRead: func() { i.cluster.RefreshImages(r.Context(), place.Engine) },
	})
}

func (i *Router) cancelBuild(_ http.ResponseWriter, r *http.Request, _ map[string]string) error {
	return i.cluster.CancelBuild(r.Context(), r.URL.Query(), dockerapi.VersionOf(r))
}

func (i *Router) pruneBuilds(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	answer, err := i.cluster.PruneBuilds(r.Context(), r.URL.Query(), dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, answer)
}
