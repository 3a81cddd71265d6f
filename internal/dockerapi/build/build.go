package build

import (
	"net/http"
	"net/url"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
)

// build finds an engine and passes the context on to it as it comes.
func (b *Router) build(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	query := r.URL.Query()
	find := b.cluster.PlaceBuild
	switch version := query.Get("version"); {
	case version == "" || version == "1":
	case version != "2":
		return dockerapi.Invalid("invalid version %q of the builder: use 1 or 2", version)
	case cluster.IsBuildUpload(query):
		return b.upload(w, r, query)
	default:
		find = b.cluster.PlaceBuildKit
	}
	place, err := find(query)
	if err != nil {
		return err
	}
	defer place.Release()
	// The engine may answer before it has read all of the context.
	_ = http.NewResponseController(w).EnableFullDuplex()
	return dockerapi.Forward(w, r, place.Engine, "/build", dockerapi.ForwardOptions{
		Query:    place.Query,
		BodyRead: func() { b.cluster.RefreshImages(r.Context(), place.Engine) },
	})
}

// upload brings the context of a build to where that is.
func (b *Router) upload(w http.ResponseWriter, r *http.Request, query url.Values) error {
	// A context that nobody will read must not keep the client from reading why.
	_ = http.NewResponseController(w).EnableFullDuplex()
	to, leave, err := b.cluster.UploadEngine(r.Context(), query)
	if err != nil {
		return err
	}
	defer leave()
	return dockerapi.Forward(w, r, to, "/build", dockerapi.ForwardOptions{})
}

func (b *Router) cancel(_ http.ResponseWriter, r *http.Request, _ map[string]string) error {
	return b.cluster.CancelBuild(r.Context(), r.URL.Query(), dockerapi.VersionOf(r))
}

func (b *Router) prune(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	answer, err := b.cluster.PruneBuilds(r.Context(), r.URL.Query(), dockerapi.VersionOf(r))
	if err != nil {
		return err
	}
	return dockerapi.WriteRaw(w, http.StatusOK, answer)
}
