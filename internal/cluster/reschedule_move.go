package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

func (s step) String() string {
	switch s {
	case stepMove:
		return "making it anew elsewhere"
	case stepFinish:
		return "starting it elsewhere"
	case stepSupersede:
		return "giving it up for the one that runs elsewhere"
	case stepDiscard:
		return "removing one that never ran"
	default:
		return "step " + strconv.Itoa(int(s))
	}
}

// errSuperfluous ends a step whose reason has gone: the engine is back.
var errSuperfluous = errors.New("it is no longer needed")

// carryOut does one step.
func (s *rescheduler) carryOut(ctx context.Context, a action, of Record) error {
	ctx, cancel := context.WithTimeout(ctx, 2*createTimeout)
	defer cancel()
	switch a.step {
	case stepMove:
		return s.move(ctx, of, a.run)
	case stepFinish:
		on, err := s.c.Container(a.by.id)
		if err != nil {
			return err
		}
		if err := s.finish(ctx, on.Engine, a.by.id, of); err != nil {
			return err
		}
		if a.by.generation > a.of.generation {
			s.moved(on.Engine, a.by.id, of)
		}
		return nil
	case stepSupersede:
		return s.supersede(ctx, a)
	case stepDiscard:
		return s.discard(ctx, a)
	}
	return nil
}

// stillNeeded says whether a step on behalf of a failed engine may go on.
func (s *rescheduler) stillNeeded(of Record) error {
	if m, host := s.survey().of(&of); m != nil && host == hostAnswers {
		return fmt.Errorf("%w: engine %s answers again", errSuperfluous, m.Name())
	}
	return nil
}

// move makes a container of a failed engine anew on another one, under all the
// conditions that it was made with, and starts it.
func (s *rescheduler) move(ctx context.Context, of Record, run bool) error {
	if len(of.Body) == 0 {
		return fmt.Errorf("engine %s failed before it told how container %s was made: make it anew by hand", of.EngineName, of.Name)
	}
	r, err := s.request(of)
	if err != nil {
		return err
	}
	if err := s.stillNeeded(of); err != nil {
		return err
	}
	answer, err := s.c.createAnywhere(ctx, r)
	if err != nil {
		return err
	}
	var made struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		return err
	}
	on, err := s.c.Container(made.ID)
	if err != nil {
		return err // its engine shows it later; the next look finishes it
	}
	s.c.cfg.Logger.Info("container made anew", "name", of.Name, "from", of.EngineName, "to", on.Engine.Name(), "container", made.ID, "replaces", of.ID)
	if fresh := s.localVolumes(r, on.Engine); len(fresh) > 0 {
		s.c.cfg.Logger.Warn("volumes of the local driver stay with the engine that failed; the container begins with empty ones", "name", of.Name, "volumes", fresh)
	}
	if run {
		err = s.finish(ctx, on.Engine, made.ID, of)
	} else {
		err = s.connect(ctx, on.Engine, made.ID, of)
	}
	if err == nil {
		s.moved(on.Engine, made.ID, of)
	}
	return err
}

// moved tells that a container has taken the place of one that failed.
func (s *rescheduler) moved(on *engine.Engine, id string, of Record) {
	s.done.Add(1)
	s.c.events.ownAbout("container_rescheduled", on, id, map[string]string{
		"name": of.Name, "com.docker.swarm.id": of.SwarmID, "replaces": of.ID, "from.node": of.EngineName,
	})
}

// request is the create of a container's replacement.
func (s *rescheduler) request(of Record) (*createRequest, error) {
	body, err := rawjson.ParseObject(of.Body)
	if err != nil {
		return nil, fmt.Errorf("record of container %s: %w", of.Name, err)
	}
	var labels map[string]string
	if _, err := body.Decode("Labels", &labels); err != nil {
		return nil, fmt.Errorf("record of container %s: %w", of.Name, err)
	}
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[LabelSwarmID], labels[LabelGeneration] = of.SwarmID, strconv.Itoa(of.Generation+1)
	must(body.Set("Labels", labels))
	var host engine.HostConfig
	if _, err := body.Decode("HostConfig", &host); err != nil {
		return nil, fmt.Errorf("record of container %s: %w", of.Name, err)
	}
	// The first network at the create, others before the start: engines took
	// only one at a create for many years.
	if name, endpoint, ok := firstNetwork(of, host.NetworkMode); ok {
		must(body.Set("NetworkingConfig", map[string]any{"EndpointsConfig": map[string]json.RawMessage{name: endpoint}}))
	} else {
		body.Delete("NetworkingConfig")
	}
	r, err := s.c.readCreateFor(CreateOptions{Query: url.Values{"name": {of.Name}}, Body: body.Bytes()}, of.ID)
	if err != nil {
		return nil, err
	}
	return r, s.restrictToNetworks(r, of)
}

// firstNetwork is the endpoint of the network that a container is made on.
func firstNetwork(of Record, mode string) (name string, endpoint json.RawMessage, ok bool) {
	if mode == "" || mode == "default" {
		mode = "bridge"
	}
	endpoint, ok = of.Networks[mode]
	return mode, endpoint, ok
}

// restrictToNetworks leaves only engines that answer and have the networks,
// or can reach them.
func (s *rescheduler) restrictToNetworks(r *createRequest, of Record) error {
	var able []*engine.Engine
	var missing []string
	all := s.c.networks()
	for _, m := range s.c.answering() {
		lacks := ""
		for name := range of.Networks {
			if !predefined(name) && !slices.ContainsFunc(all, func(n *network) bool { return n.Name == name && (!n.local() || n.has(m.Engine)) }) {
				lacks = name
				break
			}
		}
		if lacks == "" {
			able = append(able, m.Engine)
		} else {
			missing = append(missing, lacks+" on "+m.Name())
		}
	}
	if len(able) == 0 && len(missing) > 0 {
		return fail(errdefs.ErrFailedPrecondition, "no node that answers has all networks of container %s; create what is missing: %s", of.Name, someOf(missing))
	}
	return r.restrict(able, "an engine that answers")
}

// finish puts a replacement on the networks that it is to be on, and starts it.
func (s *rescheduler) finish(ctx context.Context, on *engine.Engine, id string, of Record) error {
	if err := s.connect(ctx, on, id, of); err != nil {
		return err
	}
	if err := s.stillNeeded(of); err != nil {
		return err
	}
	err := on.Call(ctx, engine.Request{Method: http.MethodPost, Path: "/containers/" + id + "/start"}, nil, nil)
	s.c.refreshContainer(ctx, on, id)
	return err
}

// connect puts a replacement on those networks of the first that it is not on.
func (s *rescheduler) connect(ctx context.Context, on *engine.Engine, id string, of Record) error {
	known := on.Container(id)
	all := s.c.networks()
	for _, name := range slices.Sorted(maps.Keys(of.Networks)) {
		if known == nil {
			break
		}
		if known.OnNetwork(name) || known.Host.NetworkMode == name || name == "bridge" && known.Host.NetworkMode == "default" {
			continue
		}
		if err := s.stillNeeded(of); err != nil {
			return err
		}
		if i := slices.IndexFunc(all, func(n *network) bool { return n.Name == name && !n.local() }); i >= 0 {
			s.release(ctx, on, all[i].ID, of)
		}
		body := map[string]any{"Container": id, "EndpointConfig": of.Networks[name]}
		err := on.Call(ctx, engine.Request{Method: http.MethodPost, Path: "/networks/" + url.PathEscape(name) + "/connect"}, body, nil)
		if err != nil && !strings.Contains(err.Error(), "already exists in network") && !strings.Contains(err.Error(), "already attached") {
			return fmt.Errorf("connect to network %s: %w", name, err)
		}
	}
	return nil
}

// release frees the place of a container that cannot be asked on a network that
// spans engines: it may hold the address that the replacement is to have. What
// is not there need not be freed, so it may fail.
func (s *rescheduler) release(ctx context.Context, on *engine.Engine, network string, of Record) {
	body := map[string]any{"Container": of.Name, "Force": true}
	err := on.Call(ctx, engine.Request{Method: http.MethodPost, Path: "/networks/" + network + "/disconnect"}, body, nil)
	if err != nil {
		s.c.cfg.Logger.Debug("place on a network not freed", "name", of.Name, "network", network, "err", err)
	}
}

// localVolumes names the volumes of a container that its new engine has just
// made, and that the failed one may hold data in.
func (s *rescheduler) localVolumes(r *createRequest, on *engine.Engine) (names []string) {
	host, err := r.body.Object("HostConfig")
	if err != nil {
		return nil
	}
	for name := range namedVolumes(host) {
		for _, v := range on.Volumes() {
			if v.Name == name && !isLocal(v) {
				name = ""
			}
		}
		if name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// namedVolumes are the volumes that a container was given by name.
func namedVolumes(host *rawjson.Object) map[string]bool {
	names := map[string]bool{}
	var binds []string
	_, _ = host.Decode("Binds", &binds) // an engine wrote it
	for _, b := range binds {
		if source, _, ok := strings.Cut(b, ":"); ok && source != "" && !strings.HasPrefix(source, "/") {
			names[source] = true
		}
	}
	var mounts []struct{ Type, Source string }
	_, _ = host.Decode("Mounts", &mounts)
	for _, m := range mounts {
		if m.Type == "volume" && m.Source != "" {
			names[m.Source] = true
		}
	}
	return names
}
