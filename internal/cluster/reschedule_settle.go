package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// on finds the engine that holds a container, hidden ones too.
func (c *Cluster) on(id string) (*member, *engine.Container) {
	for _, m := range c.answering() {
		if ec := m.Container(id); ec != nil {
			return m, ec
		}
	}
	return nil, nil
}

// supersede takes a container out of service whose place another has taken
// while its engine could not be asked. It stays, under another name, with all
// that it holds; it is removed only if that is nothing.
func (s *rescheduler) supersede(ctx context.Context, a action) error {
	m, ec := s.c.on(a.of.id)
	if m == nil {
		return fmt.Errorf("%w: the container is gone", errSuperfluous)
	}
	if err := s.othersTurn(ctx, a); err != nil {
		return err
	}
	call := func(method, path string, query url.Values, in any) error {
		err := m.Call(ctx, engine.Request{Method: method, Path: "/containers/" + ec.ID + path, Query: query}, in, nil)
		if errdefs.IsNotFound(err) {
			return nil // it has removed itself
		}
		return err
	}
	holds, err := s.holdsData(ctx, m.Engine, ec.ID)
	if err != nil {
		return err
	}
	// A daemon starts again what its policy says, also what was stopped.
	if err := call(http.MethodPost, "/update", nil, map[string]any{"RestartPolicy": map[string]any{"Name": "no"}}); err != nil {
		s.c.cfg.Logger.Debug("restart policy not changed", "container", ec.ID, "err", err)
	}
	if ec.State.Paused {
		if err := call(http.MethodPost, "/unpause", nil, nil); err != nil {
			return err
		}
	}
	if err := call(http.MethodPost, "/stop", nil, nil); err != nil {
		return err
	}
	kept := supersededName(ec.Name(), ec.ID)
	if err := call(http.MethodPost, "/rename", url.Values{"name": {kept}}, nil); err != nil {
		return err
	}
	if !holds {
		if err := call(http.MethodDelete, "", nil, nil); err != nil {
			s.c.cfg.Logger.Warn("a container that another has replaced, and that holds no data, could not be removed", "name", kept, "engine", m.Name(), "err", err)
			holds = true
		}
	}
	s.c.refreshContainer(ctx, m.Engine, ec.ID)
	attributes := map[string]string{
		"name": a.of.name, "image": ec.Image, "com.docker.swarm.id": ec.Labels[LabelSwarmID], "superseded.by": a.by.id, "kept": "no",
	}
	if holds {
		attributes["kept"] = kept
	}
	s.c.cfg.Logger.Warn("container stopped: its engine was away, and another runs in its place", "name", a.of.name, "engine", m.Name(), "container", ec.ID, "kept", attributes["kept"], "by", a.by.id)
	s.c.events.ownAbout("container_superseded", m.Engine, ec.ID, attributes)
	return nil
}

// othersTurn asks the engine of the container that stays about it: what is
// known of it may be a moment old, and it is the only one then.
func (s *rescheduler) othersTurn(ctx context.Context, a action) error {
	m, ec := s.c.on(a.by.id)
	if m == nil {
		return fmt.Errorf("%w: the container that is to stay is gone", errSuperfluous)
	}
	var now struct{ State engine.ContainerState }
	if err := m.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/containers/" + ec.ID + "/json"}, nil, &now); err != nil {
		return fmt.Errorf("make sure of the container that is to stay: %w", err)
	}
	if a.by.running && !now.State.Running && !now.State.Restarting {
		return fmt.Errorf("%w: the container that is to stay has stopped", errSuperfluous)
	}
	return nil
}

// holdsData says whether a container would take data with it: in volumes
// without a name, which nothing else refers to, or in files of its own.
func (s *rescheduler) holdsData(ctx context.Context, e *engine.Engine, id string) (bool, error) {
	var body []byte
	if err := e.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/containers/" + id + "/json"}, nil, &body); err != nil {
		return false, err
	}
	o, err := rawjson.ParseObject(body)
	if err != nil {
		return false, fmt.Errorf("engine %s: inspect: %w", e.Name(), err)
	}
	host, err := o.Object("HostConfig")
	if err != nil {
		return false, fmt.Errorf("engine %s: inspect: %w", e.Name(), err)
	}
	var mounts []engine.Mount
	if _, err := o.Decode("Mounts", &mounts); err != nil {
		return false, fmt.Errorf("engine %s: inspect: %w", e.Name(), err)
	}
	named := namedVolumes(host)
	for _, m := range mounts {
		if m.Type == "volume" && !named[m.Name] {
			return true, nil
		}
	}
	var changes []struct{ Path string }
	if err := e.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/containers/" + id + "/changes"}, nil, &changes); err != nil {
		return true, nil // who cannot say so keeps it
	}
	return slices.ContainsFunc(changes, func(change struct{ Path string }) bool {
		// The places that things are mounted at are the engine's own doing.
		return !slices.ContainsFunc(mounts, func(m engine.Mount) bool {
			return m.Destination == change.Path || strings.HasPrefix(m.Destination, change.Path+"/")
		})
	}), nil
}

// discard removes a container that has never run. Its engine refuses if it runs
// by now, as it is not forced to.
func (s *rescheduler) discard(ctx context.Context, a action) error {
	m, ec := s.c.on(a.of.id)
	if m == nil {
		return fmt.Errorf("%w: the container is gone", errSuperfluous)
	}
	if err := s.othersTurn(ctx, a); err != nil {
		return err
	}
	return s.removeUnused(ctx, m.Engine, ec.ID)
}

// removeUnused removes a container that its engine says has never run.
func (s *rescheduler) removeUnused(ctx context.Context, e *engine.Engine, id string) error {
	var now struct{ State engine.ContainerState }
	err := e.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/containers/" + id + "/json"}, nil, &now)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case hasStarted(&now.State):
		return errSuperfluous
	}
	err = e.Call(ctx, engine.Request{Method: http.MethodDelete, Path: "/containers/" + id}, nil, nil)
	s.c.refreshContainer(ctx, e, id)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err == nil {
		s.c.cfg.Logger.Info("removed a container that never ran", "engine", e.Name(), "container", id)
	}
	return err
}

// inspect completes the record of a container. What fails is tried again with
// the next look.
func (s *rescheduler) inspect(ctx context.Context, e *engine.Engine, id string) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var body []byte
	err := e.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/containers/" + id + "/json"}, nil, &body)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.study, id)
	known := s.records[id]
	if known == nil {
		return
	}
	if err != nil {
		s.stale[id] = true // for when the engine answers
		return
	}
	rec := *known
	if err := rec.readInspect(body); err != nil {
		s.c.cfg.Logger.Warn("container could not be moved if its engine failed: what its engine says of it is not understood", "container", id, "engine", e.Name(), "err", err)
		return
	}
	s.records[id], s.unsaved[id] = &rec, true
	s.look()
}
