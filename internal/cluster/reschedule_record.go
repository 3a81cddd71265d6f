package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// LabelGeneration counts how often a container was moved, on the container
// itself: so the later of two copies is known to every manager, also to one
// that has just been started. Users cannot set it.
const LabelGeneration = "skep.generation"

// onNodeFailure is the policy of containers that are moved.
const onNodeFailure = "on-node-failure"

// Record is what must be known of a container with the policy on-node-failure,
// to make it anew when its engine cannot be asked any more. It holds the
// container's environment, which may hold secrets.
type Record struct {
	ID, SwarmID, Name string

	EngineID, EngineName, EngineAddress string

	Generation       int
	Running, Started bool      // now; at least once
	Created          time.Time // by the engine's clock
	// Lost says that the engine was found to have failed. It may leave the
	// discovery for that: entries of the dead expire.
	Lost bool
	// Body is that of a create; it is empty until the container was inspected.
	Body json.RawMessage
	// Networks are the endpoint settings of the container's networks by name.
	Networks map[string]json.RawMessage

	seen bool // its engine has shown it, to this manager
}

// Ledger keeps records over restarts of the manager. Its methods are not called
// from two goroutines at once.
type Ledger interface {
	// Load gives all records.
	Load() ([]Record, error)
	// Apply writes and removes records, by their container's ID, all or none.
	Apply(put []Record, gone []string) error
}

// movable says whether a container is to be moved when its engine fails.
func movable(labels map[string]string) bool {
	text, ok := labels[LabelReschedule]
	if !ok || labels[LabelSwarmID] == "" {
		return false
	}
	var policies []string
	return json.Unmarshal([]byte(text), &policies) == nil && slices.Equal(policies, []string{onNodeFailure})
}

func generationOf(labels map[string]string) int {
	n, err := strconv.Atoi(labels[LabelGeneration])
	if err != nil || n < 0 {
		return 0
	}
	return n
}

const supersededMark = "-superseded-"

// supersededName is the name of a container whose place another has taken.
func supersededName(name, id string) string {
	return name + supersededMark + id[:min(shortID, len(id))]
}

// retired says that a container has given up its place to another: it is kept
// for what it holds, and is nobody's copy any more.
func retired(c *engine.Container) bool {
	return strings.HasSuffix(c.Name(), supersededMark+c.ID[:min(shortID, len(c.ID))])
}

func hasStarted(s *engine.ContainerState) bool {
	return s.Running || s.Restarting || !s.StartedAt.IsZero() || s.Status == "exited" || s.Status == "dead"
}

// update notes what the engine says of the container now.
func (r *Record) update(e *engine.Engine, c *engine.Container) {
	r.ID, r.SwarmID, r.Name, r.Created = c.ID, c.Labels[LabelSwarmID], c.Name(), c.Created
	r.Generation = generationOf(c.Labels)
	r.Running = c.State.Running || c.State.Restarting
	r.Started = r.Started || hasStarted(&c.State)
	r.Lost, r.seen = false, true
	r.EngineName, r.EngineAddress = e.Name(), e.Address().String()
	if id := e.Identity(); id != nil {
		r.EngineID = id.ID
	}
}

// readInspect takes over what a create needs from an engine's inspect.
func (r *Record) readInspect(inspect []byte) error {
	o, err := rawjson.ParseObject(inspect)
	if err != nil {
		return err
	}
	body, err := o.Object("Config")
	if err != nil {
		return err
	}
	host, err := o.Object("HostConfig")
	if err != nil {
		return err
	}
	settings, err := o.Object("NetworkSettings")
	if err != nil {
		return err
	}
	if body.Len() == 0 {
		return fmt.Errorf("inspect of container %s has no Config", r.ID)
	}
	own := r.ID[:min(shortID, len(r.ID))]
	var hostname string
	if found, err := body.Decode("Hostname", &hostname); found && err == nil && hostname == own {
		body.Delete("Hostname") // the engine made it of the ID; it makes another
	}
	var networks map[string]json.RawMessage
	if _, err := settings.Decode("Networks", &networks); err != nil {
		return err
	}
	endpoints, mode, err := endpointSettings(networks, own, host)
	if err != nil {
		return err
	}
	if mode != "" {
		must(host.Set("NetworkMode", mode))
	}
	must(body.Set("HostConfig", host))
	r.Body, r.Networks = body.Bytes(), endpoints
	return nil
}

// endpointFields are the wishes among what an engine shows of an endpoint; the
// rest is what became of them there.
var endpointFields = []string{"IPAMConfig", "Links", "Aliases", "DriverOpts", "GwPriority"}

// endpointSettings reduces what an engine shows of a container's networks to
// what it was asked for. mode is the network mode by name, if it was an ID: a
// network of the same name elsewhere has another.
func endpointSettings(shown map[string]json.RawMessage, own string, host *rawjson.Object) (endpoints map[string]json.RawMessage, mode string, err error) {
	if _, err := host.Decode("NetworkMode", &mode); err != nil {
		return nil, "", err
	}
	endpoints = make(map[string]json.RawMessage, len(shown))
	for name, raw := range shown {
		if mode == "none" || mode == "host" || strings.HasPrefix(mode, containerMode) {
			continue
		}
		all, err := rawjson.ParseObject(raw)
		if err != nil {
			return nil, "", err
		}
		var id string
		if _, err := all.Decode("NetworkID", &id); err != nil {
			return nil, "", err
		}
		if id != "" && (mode == id || mode == id[:min(shortID, len(id))]) {
			mode = name
		}
		wishes := new(rawjson.Object)
		for _, key := range endpointFields {
			if value, ok := all.Get(key); ok && string(value) != "null" {
				wishes.SetRaw(key, value)
			}
		}
		var aliases []string
		if found, err := wishes.Decode("Aliases", &aliases); found && err == nil {
			must(wishes.Set("Aliases", slices.DeleteFunc(aliases, func(a string) bool { return a == own })))
		}
		endpoints[name] = wishes.Bytes()
	}
	return endpoints, mode, nil
}

// recordOf is what a create that has succeeded leaves to know, before the
// engine was asked about the container.
func recordOf(e *engine.Engine, id string, r *createRequest) Record {
	rec := Record{
		ID: id, SwarmID: r.swarmID, Name: r.name, Generation: generationOf(r.labels),
		EngineName: e.Name(), EngineAddress: e.Address().String(), Created: engineNow(e),
	}
	if identity := e.Identity(); identity != nil {
		rec.EngineID = identity.ID
	}
	body := r.body.Clone()
	if networking, err := body.Object("NetworkingConfig"); err == nil {
		_, _ = networking.Decode("EndpointsConfig", &rec.Networks) // it was decoded before
	}
	body.Delete("NetworkingConfig")
	rec.Body = body.Bytes()
	return rec
}
