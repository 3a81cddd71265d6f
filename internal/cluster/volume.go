package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"

	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// localDriver is the driver whose volumes are directories of one engine. The
// same name on two engines is two volumes there; any other driver's is one
// that several engines know.
const localDriver = "local"

// volumeTimeout is how long an engine may take over a volume: drivers reach out
// to storage of their own.
const volumeTimeout = 2 * time.Minute

func isLocal(v *engine.Volume) bool { return v.Driver == localDriver }

// onNode is NODE/name, which is unique over the cluster where name is not.
func onNode(e *engine.Engine, name string) string { return e.Name() + "/" + name }

// volumeView edits an engine's word about a volume into the cluster's.
func volumeView(e *engine.Engine, o *rawjson.Object) error {
	var v struct{ name, driver string }
	if _, err := o.Decode("Driver", &v.driver); err != nil {
		return err
	}
	if _, err := o.Decode("Name", &v.name); err != nil || v.driver != localDriver {
		return err
	}
	return o.Set("Name", onNode(e, v.name))
}

// volume is a volume as one engine has it.
type volume struct {
	*engine.Volume
	on *member
}

func (v *volume) fullName() string {
	if isLocal(v.Volume) {
		return onNode(v.on.Engine, v.Name)
	}
	return v.Name
}

// volumes gives the volumes that ref may mean, by name, NODE/name or
// ENGINEID/name, on the engines that do not answer now, too.
func (c *Cluster) volumes(ref string) []*volume {
	ref = strings.TrimPrefix(ref, "/")
	node, name, _ := strings.Cut(ref, "/")
	var found []*volume
	for _, m := range c.all() {
		here := isEngine(m.Engine, node)
		for _, v := range m.Volumes() {
			if v.Name == ref || here && v.Name == name {
				found = append(found, &volume{v, m})
			}
		}
	}
	return found
}

func noSuchVolume(ref string) error {
	return fail(errdefs.ErrNotFound, "get %s: no such volume", ref)
}

// oneVolume is the volume among found that ref means. Several stand for one if
// they are alike: a name that a driver knows on all engines, or the copies that
// one create has made. The one of an engine that answers is taken then.
func oneVolume(found []*volume, ref string) (*volume, error) {
	if len(found) == 0 {
		return nil, noSuchVolume(ref)
	}
	model := found[0]
	for _, v := range found {
		if plain(model.Volume) {
			model = v
		}
	}
	var answering *volume
	for _, v := range found {
		if !alike(model.Volume, v.Volume) {
			return nil, ambiguousVolume(found, ref)
		}
		if v.on.Answers() && (answering == nil || plain(answering.Volume)) {
			answering = v
		}
	}
	if answering == nil {
		return nil, found[0].unreachable()
	}
	return answering, nil
}

func ambiguousVolume(found []*volume, ref string) error {
	names := make([]string, len(found))
	for i, v := range found {
		names[i] = v.fullName()
	}
	return invalid("volume %s is ambiguous, it may be any of: %s; give its NODE/name", ref, someOf(names))
}

func (v *volume) unreachable() error {
	return unreachable(v.on.Engine, fmt.Sprintf("volume %s is on node %s, which does not answer", v.Name, v.on.Name()))
}

// alike says that v, of the same name as model, is the same volume by a driver
// that engines share, or a copy made from the same request.
func alike(model, v *engine.Volume) bool {
	if model.Driver != v.Driver {
		return false
	}
	return !isLocal(v) || plain(v) || maps.Equal(model.Labels, v.Labels) && maps.Equal(volumeOptions(model), volumeOptions(v))
}

// plain says that a volume has nothing but a name. Engines make such ones
// themselves when a container asks for a volume that they do not have yet, as
// one that came to the cluster after the volume was created.
func plain(v *engine.Volume) bool { return len(v.Labels)+len(volumeOptions(v)) == 0 }

func volumeOptions(v *engine.Volume) map[string]string {
	var o struct{ Options map[string]string }
	_ = json.Unmarshal(v.Raw, &o) // it was decoded before
	return o.Options
}

// InspectVolume asks a volume's engine about it. The answer has the name that
// was asked for: who knows a volume by its bare name, as Docker Compose does,
// goes on to mount it by the name in the answer.
func (c *Cluster) InspectVolume(ctx context.Context, ref string, v apiversion.Version) ([]byte, error) {
	found := c.volumes(ref)
	chosen, err := oneVolume(found, ref)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var body []byte
	err = chosen.on.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/volumes/" + chosen.Name, Version: v}, nil, &body)
	switch {
	case errdefs.IsNotFound(err):
		return nil, noSuchVolume(ref) // removed a moment ago
	case err != nil:
		return nil, err
	}
	o, err := rawjson.ParseObject(body)
	if err != nil {
		return nil, fmt.Errorf("engine %s: inspect volume: %w", chosen.on.Name(), err)
	}
	if isLocal(chosen.Volume) {
		if plainName(ref) != chosen.Name {
			must(o.Set("Name", chosen.fullName()))
		}
		if len(found) == 1 {
			must(o.Set("Node", nodeInfo(chosen.on.Engine)))
		}
	}
	return o.Bytes(), nil
}
