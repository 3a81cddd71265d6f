package cluster

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
)

// A build with BuildKit is several requests, and all must reach one engine: the
// build itself, the session over which the engine reads the client's files, an
// upload where the context comes from standard input. Only the build says what
// placement must know, and it is often not the first to come: the others wait
// for it.
//
// There is another kind of client, which asks for no build in the API's sense:
// it opens a connection to BuildKit's own control service (/grpc) and speaks of
// builds within, where a proxy does not look. What it wants of placement is said
// only after the engine has answered to other things, so that no wish can lead
// it. All of those go to one engine, the home, so that what one of them has built
// and cached the next one finds. The sessions of such a client go where its
// connection is.

// uploadPrefix marks the request that carries the context of a build.
const uploadPrefix = "upload-request:"

// buildKitSince is the first API version with BuildKit.
var buildKitSince = apiversion.Version{Major: 1, Minor: 39}

// buildKit is what the cluster knows of builds with BuildKit. The zero value is
// ready.
type buildKit struct {
	seats    seats
	builders builders

	mu sync.Mutex
	// controls are the engines of open control connections by client, the
	// newest last; guarded by mu.
	controls map[string][]*engine.Engine
}

// buildsWithBuildKit says whether an engine has BuildKit in it.
func buildsWithBuildKit(e *engine.Engine) bool {
	id := e.Identity()
	return id != nil && id.OSType == "linux" && !id.API.Less(buildKitSince) &&
		!strings.HasPrefix(id.ID, "podman:") // whose builds have no sessions
}

// IsBuildUpload says whether a request for a build only brings the context of
// another one.
func IsBuildUpload(query url.Values) bool {
	return strings.HasPrefix(query.Get("buildid"), uploadPrefix)
}

// PlaceBuildKit is PlaceBuild for a build with BuildKit. It takes the build's
// session and upload along: they go where it goes. A session that has an engine
// already keeps it, and the build must be done there.
func (c *Cluster) PlaceBuildKit(query url.Values) (*BuildPlace, error) {
	held, err := c.holdSeats(query)
	if err != nil {
		return nil, err
	}
	leave := func() {
		for _, s := range held {
			c.buildKit.seats.leave(s)
		}
	}
	place, err := c.placeHeld(query, held)
	if err != nil {
		for _, s := range held {
			c.buildKit.seats.refuse(s, err)
		}
		leave()
		return nil, err
	}
	unreserve := place.Release
	place.Release = func() {
		unreserve()
		leave()
	}
	return place, nil
}

// placeHeld places a build whose seats are held.
func (c *Cluster) placeHeld(query url.Values, held []*seat) (*BuildPlace, error) {
	r, sent, err := c.readBuild(query)
	if err != nil {
		return nil, err
	}
	capable := c.buildKitEngines()
	if len(capable) == 0 {
		return nil, noBuildKit()
	}
	if err := r.restrict(capable, "BuildKit"); err != nil {
		return nil, err
	}
	e, reserved, err := c.placeSeated(r, held)
	if err != nil {
		return nil, err
	}
	return &BuildPlace{Engine: e, Query: sent, Release: func() { c.unreserve(reserved) }}, nil
}

// holdSeats gives the seats of a build: its session's before its own.
func (c *Cluster) holdSeats(query url.Values) (held []*seat, err error) {
	for _, id := range []seatID{{sessionSeat, query.Get("session")}, {buildSeat, query.Get("buildid")}} {
		if id.id == "" {
			continue
		}
		s, err := c.buildKit.seats.hold(id)
		if err != nil {
			for _, other := range held {
				c.buildKit.seats.leave(other)
			}
			return nil, err
		}
		held = append(held, s)
	}
	return held, nil
}

// placeSeated places a build and takes its seats. The first of them decides
// where the build must be done, if it is taken already.
func (c *Cluster) placeSeated(r *createRequest, held []*seat) (*engine.Engine, *reservation, error) {
	if len(held) == 0 {
		chosen, reserved, err := c.place(r)
		if err != nil {
			return nil, nil, err
		}
		return chosen.Engine, reserved, nil
	}
	table := &c.buildKit.seats
	at := table.engineOf(held[0])
	for {
		reserved, err := c.placeAt(r, at)
		if err != nil {
			return nil, nil, err
		}
		if at = table.take(held[0], reserved.engine); at == reserved.engine {
			for _, s := range held[1:] {
				table.move(s, at)
			}
			return at, reserved, nil
		}
		c.unreserve(reserved) // a session has been faster, and gone elsewhere
	}
}

// placeAt places a build on one engine, or on any when that is nil.
func (c *Cluster) placeAt(r *createRequest, at *engine.Engine) (*reservation, error) {
	bound := *r
	if at == nil {
		_, reserved, err := c.place(&bound)
		return reserved, err
	}
	bound.only = map[*engine.Engine]bool{}
	if r.only[at] {
		bound.only[at] = true
	}
	_, reserved, err := c.place(&bound)
	if err != nil {
		err = fmt.Errorf("the session of this build is on node %s, where the build must be done then: %w", at.Name(), err)
	}
	return reserved, err
}

// SessionEngine gives the engine for a session: where its build is, for which
// it waits; or where the client has a control connection. A session whose build
// does not come in time goes home, and what comes later must follow it. When the
// build cannot be done, the error is a *BuildRefusedError. client is as for
// BuildControl. The caller calls leave when the session has ended.
func (c *Cluster) SessionEngine(ctx context.Context, session, client string) (_ *engine.Engine, leave func(), err error) {
	if session == "" {
		return nil, nil, invalid("no session ID provided")
	}
	table := &c.buildKit.seats
	s, err := table.hold(seatID{sessionSeat, session})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			table.leave(s)
		}
	}()
	e := table.engineOf(s)
	if e == nil {
		if at := c.controlOf(client); at != nil {
			e = table.take(s, at)
		}
	}
	if e == nil {
		if e, err = table.wait(ctx, s); err != nil {
			return nil, nil, err
		}
	}
	if e == nil {
		home, err := c.buildHome()
		if err != nil {
			return nil, nil, err
		}
		e = table.take(s, home)
	}
	return e, func() { table.leave(s) }, nil
}

// UploadEngine gives the engine of the build that an upload is for; it waits
// for that build. The query is the upload's. The caller calls leave when the
// upload has ended.
func (c *Cluster) UploadEngine(ctx context.Context, query url.Values) (_ *engine.Engine, leave func(), err error) {
	id := strings.TrimPrefix(query.Get("buildid"), uploadPrefix)
	if id == "" {
		return nil, nil, invalid("build ID not provided")
	}
	table := &c.buildKit.seats
	s, err := table.hold(seatID{buildSeat, id})
	if err != nil {
		return nil, nil, err
	}
	e, err := table.wait(ctx, s)
	if err == nil && e == nil {
		err = fail(errdefs.ErrNotFound, "no build %s has come for this upload within %s", id, seatWait)
	}
	if err != nil {
		table.leave(s)
		return nil, nil, err
	}
	return e, func() { table.leave(s) }, nil
}

// BuildControl gives the engine whose BuildKit a control connection goes to.
// client tells clients apart: what one says over several connections must reach
// one engine. The caller calls done when the connection has ended.
func (c *Cluster) BuildControl(client string) (_ *engine.Engine, done func(), err error) {
	e := c.controlOf(client)
	if e == nil {
		if e, err = c.buildHome(); err != nil {
			return nil, nil, err
		}
	}
	k := &c.buildKit
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.controls == nil {
		k.controls = map[string][]*engine.Engine{}
	}
	k.controls[client] = append(k.controls[client], e)
	return e, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		open := k.controls[client]
		i := slices.Index(open, e)
		if open = slices.Delete(open, i, i+1); len(open) == 0 {
			delete(k.controls, client)
		} else {
			k.controls[client] = open
		}
	}, nil
}

// controlOf gives the engine that a client's newest control connection goes to,
// nil when there is none that answers.
func (c *Cluster) controlOf(client string) *engine.Engine {
	c.buildKit.mu.Lock()
	defer c.buildKit.mu.Unlock()
	for _, e := range slices.Backward(c.buildKit.controls[client]) {
		if e.Answers() {
			return e
		}
	}
	return nil
}

// LabelBuilder is the label, with the value true, of engines that are to take
// builds of which nothing is known when their engine must be chosen.
const LabelBuilder = "skep.builder"

// buildHome is the first engine by name that can take a build; those with
// LabelBuilder come before all others. It is the same after a restart, and for
// every manager of the same engines, so that caches last; another one only
// while the first is not well.
func (c *Cluster) buildHome() (*engine.Engine, error) {
	capable := c.buildKitEngines()
	if len(capable) == 0 {
		return nil, noBuildKit()
	}
	var home *engine.Engine
	for _, e := range capable {
		switch {
		case e.State() != engine.Healthy: // in maintenance; nothing new is wanted there
		case e.Identity().Labels[LabelBuilder] == "true":
			return e, nil
		case home == nil:
			home = e
		}
	}
	if home == nil {
		return nil, fail(errdefs.ErrUnavailable, "no engine with BuildKit takes builds now: node %s is in maintenance", capable[0].Name())
	}
	return home, nil
}

// buildKitEngines are the engines that answer and have BuildKit, by name.
func (c *Cluster) buildKitEngines() (capable []*engine.Engine) {
	for _, m := range c.answering() {
		if buildsWithBuildKit(m.Engine) {
			capable = append(capable, m.Engine)
		}
	}
	return capable
}

func noBuildKit() error {
	return fail(errdefs.ErrUnavailable, "no engine that answers now has BuildKit: a Docker Engine of API %s or later on Linux is needed; build with DOCKER_BUILDKIT=0", buildKitSince)
}
