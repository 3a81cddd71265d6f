package build

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/skep/skep/internal/cluster"
	"github.com/skep/skep/internal/dockerapi"
)

// headerSession is where a client says which session it opens.
const headerSession = "X-Docker-Expose-Session-Uuid"

// session lets the engine of a build call the client back, for files and
// credentials. Clients open it when they send the build, or before.
func (b *Router) session(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	if err := wantsH2C(r); err != nil {
		return err
	}
	to, leave, err := b.cluster.SessionEngine(r.Context(), r.Header.Get(headerSession), clientOf(r))
	if refused := (*cluster.BuildRefusedError)(nil); errors.As(err, &refused) {
		return endSession(w)
	}
	if err != nil {
		return err
	}
	defer leave()
	// What was built in it is known when the client comes with its next question.
	defer b.cluster.RefreshImages(r.Context(), to)
	return dockerapi.Upgrade(w, r, to, "/session", dockerapi.ForwardOptions{})
}

// control connects a client with an engine's BuildKit itself. What they say to
// each other passes unseen.
func (b *Router) control(w http.ResponseWriter, r *http.Request, _ map[string]string) error {
	if err := wantsH2C(r); err != nil {
		return err
	}
	to, done, err := b.cluster.BuildControl(clientOf(r))
	if err != nil {
		return refuseCalls(w, err)
	}
	defer done()
	defer b.cluster.RefreshImages(r.Context(), to)
	return dockerapi.Upgrade(w, r, to, "/grpc", dockerapi.ForwardOptions{Refused: func(why error) {
		// An error of this means that the client has gone.
		_ = refuseCalls(w, fmt.Errorf("node %s gives no connection to its BuildKit: %w; see what is wrong there, or build with DOCKER_BUILDKIT=0", to.Name(), why))
	}})
}

// wantsH2C spares a request that is no upgrade the search for an engine.
func wantsH2C(r *http.Request) error {
	if r.Header.Get("Upgrade") != "h2c" {
		return dockerapi.Invalid("%s is for connections that turn into HTTP/2: send Connection: Upgrade and Upgrade: h2c", r.URL.Path)
	}
	return nil
}

// clientOf tells clients apart as well as their requests allow: programs on one
// machine by what they call themselves.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr // a unix socket has none
	}
	return host + " " + r.UserAgent()
}
