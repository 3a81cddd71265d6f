package cluster

import (
	"context"
	"encoding/json"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
)

// BuildPlace is where a build is to be done. It holds the build's place there
// until Release.
type BuildPlace struct {
	Engine *engine.Engine
	Query  url.Values // the build's, without what was meant for placement
	// Release must be called, whatever has become of the build.
	Release func()
}

// PlaceBuild finds an engine for a build as for a container, by the resources
// that it asks for and by build arguments such as constraint:rack==a. The query
// is the build's own.
func (c *Cluster) PlaceBuild(query url.Values) (*BuildPlace, error) {
	r, sent, err := c.readBuild(query)
	if err != nil {
		return nil, err
	}
	chosen, reserved, err := c.place(r)
	if err != nil {
		return nil, err
	}
	return &BuildPlace{Engine: chosen.Engine, Query: sent, Release: func() { c.unreserve(reserved) }}, nil
}

// readBuild reads what placement must know of a build, and gives its query as
// it will be sent.
func (c *Cluster) readBuild(query url.Values) (*createRequest, url.Values, error) {
	sent := url.Values{}
	for key, values := range query {
		sent[key] = values
	}
	r := &createRequest{}
	env, err := placementArgs(sent)
	if err != nil {
		return nil, nil, err
	}
	// The labels that keep a container's expressions have no meaning in an image.
	expressions, _ := extractExpressions(map[string]string{}, env)
	if err := r.readExpressions(expressions); err != nil {
		return nil, nil, err
	}
	r.placement.CPU, r.placement.Memory = buildResources(sent)
	if err := c.readBuildNetwork(r, sent); err != nil {
		return nil, nil, err
	}
	if !wishes(r) {
		r.placement.Affinities = append(r.placement.Affinities, earlierBuilds(sent)...)
	}
	if c.cfg.Policy.Strategy() == "random" {
		r.placement.Rand = mathrand.New(mathrand.NewPCG(mathrand.Uint64(), mathrand.Uint64()))
	}
	return r, sent, nil
}

// placementArgs takes the build arguments that speak to placement out of the
// query. The CLI cuts an argument at its first "=", so that constraint:a==b is
// the value "=b" of constraint:a.
func placementArgs(query url.Values) (env []string, err error) {
	text := query.Get("buildargs")
	if text == "" {
		return nil, nil
	}
	var args map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &args); err != nil {
		return nil, invalid("error reading build args: %v", err)
	}
	for key, raw := range args {
		if !forPlacement(key) {
			continue
		}
		var value string
		if err := json.Unmarshal(raw, &value); err != nil {
			return nil, invalid("error reading build arg %s: %v", key, err)
		}
		env = append(env, key+"="+value)
		delete(args, key)
	}
	if len(env) > 0 {
		rest, err := json.Marshal(args)
		must(err)
		query.Set("buildargs", string(rest))
	}
	return env, nil
}

func forPlacement(key string) bool {
	for _, s := range expressionSources {
		if strings.HasPrefix(key, s.env) {
			return true
		}
	}
	return false
}

// defaultPeriod is the kernel's period of a CPU quota, in microseconds.
const defaultPeriod = 100_000

// buildResources is what a build's steps may take, as a container's would be
// counted.
func buildResources(query url.Values) (cpu, memory int64) {
	// As engines do: what is no number is no limit.
	number := func(key string) int64 {
		n, _ := strconv.ParseInt(query.Get(key), 10, 64)
		return max(n, 0)
	}
	host := engine.HostConfig{CpuShares: number("cpushares")}
	if quota := number("cpuquota"); quota > 0 {
		period := number("cpuperiod")
		if period == 0 {
			period = defaultPeriod
		}
		host.NanoCpus = int64(float64(quota) / float64(period) * nanoCPU)
	}
	return reservedCPU(&host), number("memory")
}

// readBuildNetwork leads a build whose steps use a network to where it is.
func (c *Cluster) readBuildNetwork(r *createRequest, query url.Values) error {
	given := query.Get("networkmode")
	r.placement.Dependencies = dependencies(&engine.HostConfig{NetworkMode: given})
	name, on := c.localNetwork(given)
	if on == nil {
		return nil
	}
	query.Set("networkmode", name)
	return r.restrict(on, "network "+given)
}

// wishes says that the user has wishes of his own, which ours must not precede.
func wishes(r *createRequest) bool {
	soft := func(e placement.Expression) bool { return e.Soft }
	return slices.ContainsFunc(r.placement.Constraints, soft) || slices.ContainsFunc(r.placement.Affinities, soft)
}

// earlierBuilds wishes for an engine that has an image of the build's own name,
// or one that it is told to take its cache from. There lie the steps that need
// not be done again; and a name that was built anew elsewhere would from then
// on mean one image here and another there.
func earlierBuilds(query url.Values) (found []placement.Expression) {
	var names []string
	_ = json.Unmarshal([]byte(query.Get("cachefrom")), &names) // the engine says what is wrong with it
	for _, name := range append(query["t"], names...) {
		familiar := parseImageRef(name).familiar
		if familiar == "" {
			continue
		}
		if e, err := placement.ParseExpression("image==~" + familiar); err == nil {
			found = append(found, e)
		}
	}
	return found
}

// CancelBuild cancels a build where it is; one that this manager has not placed
// is looked for on all engines.
func (c *Cluster) CancelBuild(ctx context.Context, query url.Values, v apiversion.Version) error {
	id := query.Get("id")
	if id == "" {
		return invalid("build ID not provided")
	}
	members := c.answering()
	if at := c.buildKit.seats.find(seatID{buildSeat, id}); at != nil {
		if i := slices.IndexFunc(members, func(m *member) bool { return m.Engine == at }); i >= 0 {
			members = members[i : i+1]
		}
	}
	if len(members) == 0 {
		return noNode()
	}
	replies := ask(ctx, members, answerTimeout, func(ctx context.Context, m *member) (struct{}, error) {
		return struct{}{}, m.Call(ctx, engine.Request{Method: http.MethodPost, Path: "/build/cancel", Query: query, Version: v}, nil, nil)
	})
	done, failed := split(replies)
	if len(done) == 0 {
		return someFailed(failed, nil, "")
	}
	return nil
}
