package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"maps"
	mathrand "math/rand/v2"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
	"github.com/skep/skep/internal/rawjson"
)

// CreateOptions are a create as the user sent it.
type CreateOptions struct {
	Query        url.Values // name, platform and what engines may know beside
	Body         []byte
	RegistryAuth string // X-Registry-Auth, for a pull
	Version      apiversion.Version
}

// createRequest is a create, read and checked: what placement must know, and
// the body as it will be sent.
type createRequest struct {
	CreateOptions
	name      string
	swarmID   string
	image     string
	host      engine.HostConfig
	labels    map[string]string
	body      *rawjson.Object
	placement placement.Request
	// only, when not nil, are the engines to choose from.
	only map[*engine.Engine]bool
	// tried are the engines that were chosen so far; copies of a request share it.
	tried map[*engine.Engine]bool
	// replaces is the container of a failed engine whose place this one takes,
	// name and swarm ID with it; "" for what users ask for.
	replaces string
}

// expressionSources are the prefixes of environment variables that speak to
// placement, and the labels that keep what they said.
var expressionSources = []struct{ env, label string }{
	{"affinity:", LabelAffinities},
	{"constraint:", LabelConstraints},
	{"reschedule:", LabelReschedule},
	{"whitelist:", LabelWhitelists},
}

func invalid(format string, args ...any) error {
	return fail(errdefs.ErrInvalidArgument, format, args...)
}

func (c *Cluster) readCreate(o CreateOptions) (*createRequest, error) { return c.readCreateFor(o, "") }

// readCreateFor reads a create that is to replace another container, or none.
func (c *Cluster) readCreateFor(o CreateOptions, replaces string) (*createRequest, error) {
	body, err := rawjson.ParseObject(o.Body)
	if err != nil {
		return nil, invalid("invalid JSON: %v", err)
	}
	r := &createRequest{CreateOptions: o, body: body, name: plainName(o.Query.Get("name")), labels: map[string]string{}, tried: map[*engine.Engine]bool{}, replaces: replaces}
	var env, exposed []string
	var ports map[string]json.RawMessage
	for key, into := range map[string]any{
		"Image": &r.image, "HostConfig": &r.host, "Labels": &r.labels, "Env": &env, "ExposedPorts": &ports,
	} {
		if _, err := body.Decode(key, into); err != nil {
			return nil, invalid("invalid JSON: %v", err)
		}
	}
	for p := range ports {
		exposed = append(exposed, p)
	}
	if r.labels == nil {
		r.labels = map[string]string{}
	}
	expressions, rest := extractExpressions(r.labels, env)
	if err := r.readExpressions(expressions); err != nil {
		return nil, err
	}
	if err := c.identify(r); err != nil {
		return nil, err
	}
	must(body.Set("Labels", r.labels))
	if len(rest) < len(env) {
		must(body.Set("Env", rest))
	}
	p := &r.placement
	p.Name, p.SwarmID = r.name, r.swarmID
	p.CPU, p.Memory = reservedCPU(&r.host), max(r.host.Memory, 0)
	p.HostNetwork, p.Ports = requestedPorts(&r.host, exposed)
	if c.cfg.Policy.Strategy() == "random" {
		p.Rand = mathrand.New(mathrand.NewPCG(mathrand.Uint64(), mathrand.Uint64()))
	}
	if err := c.readDependencies(r); err != nil {
		return nil, err
	}
	if err := c.readNetworks(r); err != nil {
		return nil, err
	}
	return r, c.readVolumes(r)
}

// identify gives the container the ID that stays with it when it is moved. One
// that a user gives is kept unless another container has it, as when he makes
// one like another with all its labels: else they would pass for copies.
func (c *Cluster) identify(r *createRequest) error {
	r.swarmID = r.labels[LabelSwarmID]
	if r.replaces == "" {
		delete(r.labels, LabelGeneration)
		c.mu.RLock()
		taken := r.swarmID != "" && len(withPrefix(c.index.bySwarmID, r.swarmID+"\x00", 1)) > 0
		c.mu.RUnlock()
		if taken {
			r.swarmID = ""
		}
	}
	if r.swarmID == "" {
		id := make([]byte, 32)
		if _, err := rand.Read(id); err != nil {
			return err
		}
		r.swarmID = hex.EncodeToString(id)
		r.labels[LabelSwarmID] = r.swarmID
	}
	return nil
}

// extractExpressions moves what the environment says to placement into the
// labels, where it stays with the container, and gives all that the labels
// then say. A label that is not a JSON list of strings says nothing.
func extractExpressions(labels map[string]string, env []string) (said map[string][]string, rest []string) {
	said = map[string][]string{}
	for _, s := range expressionSources {
		var list []string
		if text, ok := labels[s.label]; ok && json.Unmarshal([]byte(text), &list) == nil {
			said[s.label] = list
		}
	}
	rest = make([]string, 0, len(env))
	added := map[string]bool{}
next:
	for _, e := range env {
		for _, s := range expressionSources {
			if expression, ok := strings.CutPrefix(e, s.env); ok {
				said[s.label], added[s.label] = append(said[s.label], expression), true
				continue next
			}
		}
		rest = append(rest, e)
	}
	for label := range added {
		text, err := json.Marshal(said[label])
		must(err)
		labels[label] = string(text)
	}
	return said, rest
}

func (r *createRequest) readExpressions(said map[string][]string) error {
	var err error
	if r.placement.Constraints, err = placement.ParseExpressions(said[LabelConstraints]); err != nil {
		return invalid("constraint: %v", err)
	}
	if r.placement.Affinities, err = placement.ParseExpressions(said[LabelAffinities]); err != nil {
		return invalid("affinity: %v", err)
	}
	for _, w := range said[LabelWhitelists] {
		names, err := placement.ParseWhitelist(w)
		if err != nil {
			return invalid("whitelist: %v", err)
		}
		r.placement.Whitelists = append(r.placement.Whitelists, names)
	}
	switch policies := said[LabelReschedule]; {
	case len(policies) > 1:
		return invalid("too many reschedule policies: give one, on-node-failure or off")
	case len(policies) == 1 && policies[0] != "on-node-failure" && policies[0] != "off":
		return invalid("invalid reschedule policy: %s: use on-node-failure or off", policies[0])
	}
	return nil
}

// readNetworks finds the engines of the networks that are asked for. One that
// exists on some engines only leads the container to one of them; NODE/ in
// front of its name is for us, not for the engine.
func (c *Cluster) readNetworks(r *createRequest) error {
	host, err := r.body.Object("HostConfig")
	if err != nil {
		return invalid("invalid JSON: %v", err)
	}
	if name, on := c.localNetwork(r.host.NetworkMode); on != nil {
		if err := r.restrict(on, "network "+r.host.NetworkMode); err != nil {
			return err
		}
		must(host.Set("NetworkMode", name))
		must(r.body.Set("HostConfig", host))
		r.host.NetworkMode = name
	}
	networking, err := r.body.Object("NetworkingConfig")
	if err != nil {
		return invalid("invalid JSON: %v", err)
	}
	var endpoints map[string]json.RawMessage
	if _, err := networking.Decode("EndpointsConfig", &endpoints); err != nil {
		return invalid("invalid JSON: %v", err)
	}
	renamed := false
	for _, given := range slices.Sorted(maps.Keys(endpoints)) {
		name, on := c.localNetwork(given)
		if on == nil {
			continue
		}
		if err := r.restrict(on, "network "+given); err != nil {
			return err
		}
		if name != given {
			if _, twice := endpoints[name]; twice {
				return invalid("network %s is given twice, as %s too", name, given)
			}
			endpoints[name] = endpoints[given]
			delete(endpoints, given)
			renamed = true
		}
	}
	if renamed {
		must(networking.Set("EndpointsConfig", endpoints))
		must(r.body.Set("NetworkingConfig", networking))
	}
	return nil
}

// restrict leaves only the given engines to choose from.
func (r *createRequest) restrict(to []*engine.Engine, because string) error {
	only := make(map[*engine.Engine]bool, len(to))
	for _, e := range to {
		if r.only == nil || r.only[e] {
			only[e] = true
		}
	}
	if len(only) == 0 {
		return invalid("no node has all that the container asks for: none of the nodes that are left has %s", because)
	}
	r.only = only
	return nil
}

// workload is what the container will be to placement while it is created.
func (r *createRequest) workload() *placement.Workload {
	return &placement.Workload{
		Name: r.name, SwarmID: r.swarmID, Labels: r.labels,
		Ports: r.placement.Ports, HostNetwork: r.placement.HostNetwork,
	}
}

// onHolders is a copy that must go where the image is.
func (r *createRequest) onHolders(holders []holder) (*createRequest, error) {
	engines := make([]*engine.Engine, len(holders))
	for i, h := range holders {
		engines[i] = h.Engine
	}
	moved := *r
	err := moved.restrict(engines, "image "+r.image)
	return &moved, err
}
