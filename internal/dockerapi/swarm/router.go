// Package swarm routes what belongs to swarm mode and to plugins, for a manager
// that has neither: it answers as an engine that is in no swarm, or says why a
// thing cannot be done over many engines.
package swarm

import (
	"net/http"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/dockerapi"
)

// Router is the routes of a manager without a swarm.
type Router struct{}

// New makes the routes.
func New() Router { return Router{} }

// noSwarm is a sentence that clients know from engines that are in no swarm.
type noSwarm string

const (
	noManager noSwarm = `This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.`
	notJoined noSwarm = "This node is not part of a swarm"
)

func (e noSwarm) Error() string { return string(e) }
func (noSwarm) Unwrap() error   { return errdefs.ErrUnavailable }

const pluginsElsewhere = "plugins belong to one engine each: use docker plugin with that engine's own address"

// noPlugin answers for every plugin: docker inspect asks for one by each name
// that nothing else has, and goes on only when there is none.
type noPlugin struct{ name string }

func (e noPlugin) Error() string {
	return "plugin \"" + e.name + "\" not found: " + pluginsElsewhere
}
func (noPlugin) Unwrap() error { return errdefs.ErrNotFound }

// Routes implements dockerapi.Router.
func (Router) Routes() []dockerapi.Route {
	var routes []dockerapi.Route
	add := func(h dockerapi.Handler, methods []string, paths ...string) {
		for _, p := range paths {
			for _, m := range methods {
				routes = append(routes, dockerapi.Route{Method: m, Path: p, Handler: h})
			}
		}
	}
	refuse := func(why noSwarm) dockerapi.Handler {
		return func(http.ResponseWriter, *http.Request, map[string]string) error { return why }
	}
	post := []string{http.MethodPost}
	add(dockerapi.NotOverManyEngines("skep manage serves its engines without a swarm: use docker swarm with an engine's own address"), post, "/swarm/init", "/swarm/join")
	add(refuse(notJoined), post, "/swarm/leave")
	all := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete}
	for _, p := range []string{"swarm", "services", "tasks", "nodes", "secrets", "configs"} {
		add(refuse(noManager), all, "/"+p, "/"+p+"/{rest:.*}")
	}
	add(func(_ http.ResponseWriter, _ *http.Request, vars map[string]string) error {
		return noPlugin{vars["name"]}
	}, []string{http.MethodGet}, "/plugins/{name:.*}/json")
	add(dockerapi.NotOverManyEngines(pluginsElsewhere), all, "/plugins", "/plugins/{rest:.*}")
	return routes
}
