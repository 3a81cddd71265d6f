package dockerapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"github.com/skep/skep/internal/apiversion"
)

// Handler answers one request. An error that it returns before it has written
// anything becomes the answer; a nil error without a write is an empty 200.
type Handler func(w http.ResponseWriter, r *http.Request, vars map[string]string) error

// Route is a method and a path, without a version. "{name:.*}" takes slashes,
// so that NODE/name and image names work; among routes that match, the first
// one registered wins.
type Route struct {
	Method  string
	Path    string
	Handler Handler
}

// Router is a group of routes.
type Router interface{ Routes() []Route }

// NewHandler joins routers into one handler, in their order, behind [Guard].
func NewHandler(o Options, routers ...Router) http.Handler { return Guard(o, Routes(o, routers...)) }

// Routes is a NewHandler without its guard: for what stands behind another
// handler, and is guarded together with that.
func Routes(o Options, routers ...Router) http.Handler {
	// Paths are taken as they are: cleaned ones would be answered with a
	// redirect that has lost its version, and "/web" is a name of a container.
	m := mux.NewRouter().SkipClean(true)
	for _, router := range routers {
		for _, route := range router.Routes() {
			m.Methods(route.Method).Path(route.Path).Handler(handle(route))
		}
	}
	if o.CORS {
		m.Methods(http.MethodOptions).Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	}
	notFound := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "page not found")
	})
	m.NotFoundHandler, m.MethodNotAllowedHandler = notFound, notFound
	return o.version(m)
}

func handle(route Route) http.Handler {
	class := routeClass(route.Path)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		noteClass(r, class)
		if err := route.Handler(w, r, mux.Vars(r)); err != nil {
			WriteError(w, r, err)
		}
	})
}

type versionKey struct{}

// VersionOf is the API version that a request asks for, the newest one if it
// names none.
func VersionOf(r *http.Request) apiversion.Version {
	v, _ := r.Context().Value(versionKey{}).(apiversion.Version)
	return v
}

func withVersion(r *http.Request, v apiversion.Version) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), versionKey{}, v))
}

// Bool reads a boolean of a query as engines do: "", 0, no, false and none are
// false, all else is true.
func Bool(r *http.Request, key string) bool {
	switch strings.ToLower(strings.TrimSpace(r.URL.Query().Get(key))) {
	case "", "0", "no", "false", "none":
		return false
	default:
		return true
	}
}
