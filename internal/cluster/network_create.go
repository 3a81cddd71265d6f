package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
	"github.com/skep/skep/internal/rawjson"
)

// networkRequest is a create of a network, read and checked.
type networkRequest struct {
	body *rawjson.Object
	name string // without the node
	node string // "" for any
	// only, when not nil, are the engines to choose from.
	only map[*engine.Engine]bool
}

// CreateNetwork creates a network on the node that its name says, NODE/name,
// else on a healthy one that the strategy prefers. It returns the engine's own
// answer (status 201). A local network is then to be used on that node only;
// containers that ask for it are placed there.
func (c *Cluster) CreateNetwork(ctx context.Context, body []byte, v apiversion.Version) ([]byte, error) {
	r, err := c.readNetwork(body)
	if err != nil {
		return nil, err
	}
	release, err := c.claimNetwork(r)
	if err != nil {
		return nil, err
	}
	defer release()
	m, err := c.networkNode(r)
	if err != nil {
		return nil, err
	}
	// It goes on when the user hangs up: only so is the outcome known.
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	sent := r.body.Bytes()
	var answer []byte
	err = m.Call(callCtx, engine.Request{
		Method: http.MethodPost, Path: "/networks/create", Version: v,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   bytes.NewReader(sent), Length: int64(len(sent)),
	}, nil, &answer)
	c.refreshed(ctx, "networks", m.Engine, m.RefreshNetworks)
	if err != nil {
		return nil, err
	}
	var created struct {
		ID string `json:"Id"`
	}
	if err := json.Unmarshal(answer, &created); err != nil || created.ID == "" {
		return nil, fmt.Errorf("engine %s: create gave no network ID: %s", m.Name(), answer)
	}
	if spans(m, created.ID) {
		c.refreshEach(ctx, "networks", c.answering(), (*engine.Engine).RefreshNetworks)
	}
	return answer, nil
}

// spans says that other engines have the network m knows by this ID, too.
func spans(m *member, id string) bool {
	return slices.ContainsFunc(m.Networks(), func(n *engine.Network) bool { return n.ID == id && n.Scope != localScope })
}

func (c *Cluster) readNetwork(body []byte) (*networkRequest, error) {
	o, err := rawjson.ParseObject(body)
	if err != nil {
		return nil, invalid("invalid JSON: %v", err)
	}
	r := &networkRequest{body: o}
	if _, err := o.Decode("Name", &r.name); err != nil {
		return nil, invalid("invalid JSON: %v", err)
	}
	given := r.name
	r.node, r.name = c.splitNode(given)
	if node, _, ok := strings.Cut(r.name, "/"); ok {
		return nil, invalid("network %s cannot be created: no node %s is known, and the slash in a name stands between node and network", given, node)
	}
	if r.name != given {
		must(o.Set("Name", r.name))
	}
	return r, c.readConfigFrom(r)
}

// readConfigFrom leads the network to the engines that have the network whose
// configuration it is to use.
func (c *Cluster) readConfigFrom(r *networkRequest) error {
	from, err := r.body.Object("ConfigFrom")
	if err != nil {
		return invalid("invalid JSON: %v", err)
	}
	var given string
	if _, err := from.Decode("Network", &given); err != nil {
		return invalid("invalid JSON: %v", err)
	}
	name, on := c.localNetwork(given)
	if given == "" || on == nil {
		return nil // the engine knows what to say of it
	}
	r.only = make(map[*engine.Engine]bool, len(on))
	for _, e := range on {
		r.only[e] = true
	}
	must(from.Set("Network", name))
	must(r.body.Set("ConfigFrom", from))
	return nil
}

// claimNetwork keeps a name for a network that is being created; it fails when
// a network has it. If a node is asked for, local networks of others do not count.
func (c *Cluster) claimNetwork(r *networkRequest) (release func(), err error) {
	if builtin(r.name) {
		return func() {}, nil // the engine refuses it in its own words
	}
	c.scheduling.Lock()
	defer c.scheduling.Unlock()
	for _, n := range c.networks() {
		if n.Name != r.name || r.node != "" && n.local() && !isEngine(n.on[0].Engine, r.node) {
			continue
		}
		hint := ""
		if r.node == "" && n.local() {
			hint = " on node " + n.on[0].Name() + "; give NODE/" + r.name + " to create one on another node, too"
		}
		return nil, fail(errdefs.ErrConflict, "network with name %s already exists%s", r.name, hint)
	}
	if c.networksComing[r.name] {
		return nil, fail(errdefs.ErrConflict, "network with name %s already exists: it is being created", r.name)
	}
	if c.networksComing == nil {
		c.networksComing = map[string]bool{}
	}
	c.networksComing[r.name] = true
	return func() {
		c.scheduling.Lock()
		defer c.scheduling.Unlock()
		delete(c.networksComing, r.name)
	}, nil
}

// networkNode chooses the engine for a network: the one that is asked for, else
// a healthy one in the strategy's order. What limits containers (slots, ports,
// labels) does not limit networks.
func (c *Cluster) networkNode(r *networkRequest) (*member, error) {
	if r.node != "" {
		return c.node(r.node)
	}
	return c.preferred(r.only)
}

// preferred gives the healthy engine that the strategy puts first, of all or of
// only those given.
func (c *Cluster) preferred(only map[*engine.Engine]bool) (*member, error) {
	policy, err := placement.NewPolicy(c.cfg.Policy.Strategy(), []string{"health"}, 0)
	if err != nil {
		return nil, err
	}
	var request placement.Request
	if policy.Strategy() == "random" {
		request.Rand = mathrand.New(mathrand.NewPCG(mathrand.Uint64(), mathrand.Uint64()))
	}
	c.roster.prepare()
	c.scheduling.Lock()
	defer c.scheduling.Unlock()
	return c.best(policy, only, &request)
}
