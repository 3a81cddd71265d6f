package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// InspectNetwork asks the network's engine about it, or all engines that have
// it: each knows only the containers that it runs itself.
func (c *Cluster) InspectNetwork(ctx context.Context, ref string, query url.Values, v apiversion.Version) ([]byte, error) {
	all := c.networks()
	found := findNetworks(all, ref)
	if scope := query.Get("scope"); scope != "" {
		found = slices.DeleteFunc(found, func(n *network) bool { return n.Scope != scope })
	}
	n, err := oneNetwork(found, ref)
	if err != nil {
		return nil, err
	}
	from, err := n.answering()
	if err != nil {
		return nil, err
	}
	replies := ask(ctx, from, answerTimeout, func(ctx context.Context, m *member) (*rawjson.Object, error) {
		var body []byte
		err := m.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/networks/" + n.ID, Query: query, Version: v}, nil, &body)
		if err != nil {
			return nil, err
		}
		o, err := rawjson.ParseObject(body)
		if err != nil {
			return nil, fmt.Errorf("engine %s: inspect network: %w", m.Name(), err)
		}
		return o, nil
	})
	done, failed := split(replies)
	if len(done) == 0 {
		if err := failed[0].err; !errdefs.IsNotFound(err) {
			return nil, err
		}
		return nil, noSuchNetwork(ref) // removed a moment ago
	}
	if len(failed) > 0 {
		c.cfg.Logger.Warn("containers of a network are missing", "network", n.Name, "failed", explain(failed))
	}
	merged := done[0].value
	if len(done) > 1 {
		if err := mergeEndpoints(merged, done); err != nil {
			return nil, err
		}
	}
	must(merged.Set("Name", newNetworkNames(all).of(n)))
	if n.local() {
		must(merged.Set("Node", nodeInfo(n.on[0].Engine)))
	}
	return merged.Bytes(), nil
}

// mergeEndpoints gives merged the containers of all replies. An engine knows
// another's endpoints as "ep-ID", without a name; what their own engine says
// of them goes before that.
func mergeEndpoints(merged *rawjson.Object, replies []reply[*rawjson.Object]) error {
	type endpoint struct{ EndpointID string }
	endpoints := map[string]json.RawMessage{}
	known := map[string]bool{}
	for _, r := range replies {
		var some map[string]json.RawMessage
		if _, err := r.value.Decode("Containers", &some); err != nil {
			return fmt.Errorf("merge network: %w", err)
		}
		for id, raw := range some {
			if _, twice := endpoints[id]; !twice {
				endpoints[id] = raw
			}
			var e endpoint
			if !remoteEndpoint(id) && json.Unmarshal(raw, &e) == nil {
				known[e.EndpointID] = true
			}
		}
	}
	for id, raw := range endpoints {
		var e endpoint
		if remoteEndpoint(id) && json.Unmarshal(raw, &e) == nil && known[e.EndpointID] {
			delete(endpoints, id)
		}
	}
	return merged.Set("Containers", endpoints)
}

func remoteEndpoint(id string) bool { return strings.HasPrefix(id, "ep-") }
