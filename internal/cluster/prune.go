package cluster

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/apiversion"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// pruneTimeout is how long an engine may take to prune: deleting many layers is
// slow. One that stops answering its probes is given up before.
const pruneTimeout = 10 * time.Minute

// prune sends a prune to all engines that answer, or to those that a node
// filter names, and merges what they did (see mergeAnswers). edit, when not
// nil, is called with each engine's answer before it is merged, for several
// engines at once. An engine that fails is logged and left out unless all do.
// When prune returns, the inventories show its effect.
func (c *Cluster) prune(ctx context.Context, path string, query url.Values, version apiversion.Version, edit func(m *member, o *rawjson.Object) error) ([]byte, error) {
	filters, err := apifilter.Parse(query.Get("filters"))
	if err != nil {
		return nil, err
	}
	return c.pruneEach(ctx, pruning{
		path: path, query: query, filters: filters, version: version, edit: edit,
		adapt: func(_ *member, f apifilter.Args) apifilter.Args { return f },
	})
}

// pruning is a prune before it is sent.
type pruning struct {
	path    string
	query   url.Values // its filters do not count
	filters apifilter.Args
	version apiversion.Version
	edit    func(*member, *rawjson.Object) error
	// adapt gives the filters as one engine must be sent them.
	adapt func(*member, apifilter.Args) apifilter.Args
}

func (c *Cluster) pruneEach(ctx context.Context, p pruning) ([]byte, error) {
	from, err := c.chosenNodes(p.filters.Get("node"))
	if err != nil {
		return nil, err
	}
	filters := p.filters.Without("node")
	replies := ask(ctx, from, pruneTimeout, func(ctx context.Context, m *member) (*rawjson.Object, error) {
		// Even a prune that fails may have removed some.
		defer c.refreshed(ctx, "all", m.Engine, m.RefreshAll)
		return p.on(ctx, m, p.adapt(m, filters))
	})
	return c.mergeReplies("prune is not complete", replies)
}

func (p *pruning) on(ctx context.Context, m *member, filters apifilter.Args) (*rawjson.Object, error) {
	query := url.Values{}
	for key, values := range p.query {
		query[key] = values
	}
	query.Del("filters")
	if filters.Len() > 0 {
		query.Set("filters", filters.String())
	}
	var body []byte
	err := m.Call(ctx, engine.Request{Method: http.MethodPost, Path: p.path, Query: query, Version: p.version}, nil, &body)
	if err != nil {
		return nil, err
	}
	o, err := rawjson.ParseObject(body)
	if err == nil && p.edit != nil {
		err = p.edit(m, o)
	}
	return o, err
}

// chosenNodes gives the answering engines of these names or IDs, all for none.
// There is at least one unless there is an error.
func (c *Cluster) chosenNodes(refs []string) ([]*member, error) {
	if len(refs) == 0 {
		if all := c.answering(); len(all) > 0 {
			return all, nil
		}
		return nil, noNode()
	}
	var chosen []*member
	for _, ref := range refs {
		m, err := c.node(ref)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(chosen, m) {
			chosen = append(chosen, m)
		}
	}
	return chosen, nil
}

func noNode() error {
	return fail(errdefs.ErrUnavailable, "No healthy node available in the cluster")
}

// PruneContainers removes the containers that do not run, on all engines.
func (c *Cluster) PruneContainers(ctx context.Context, filters apifilter.Args) ([]byte, error) {
	return c.prune(ctx, "/containers/prune", filterQuery(filters), apiversion.Version{}, nil)
}

func filterQuery(filters apifilter.Args) url.Values {
	if filters.Len() == 0 {
		return nil
	}
	return url.Values{"filters": {filters.String()}}
}

// PruneNetworks removes the networks that no container uses, on all engines.
// Local ones are answered as NODE/name.
func (c *Cluster) PruneNetworks(ctx context.Context, filters apifilter.Args) ([]byte, error) {
	shared := namesOf(c, func(m *member, add func(string)) {
		for _, n := range m.Networks() {
			if n.Scope != localScope {
				add(n.Name)
			}
		}
	})
	return c.prune(ctx, "/networks/prune", filterQuery(filters), apiversion.Version{}, func(m *member, o *rawjson.Object) error {
		return prefixNames(m, o, "NetworksDeleted", shared[m])
	})
}

// labelAnonymous marks the volumes that nobody has given a name, on engines
// since API 1.42.
const labelAnonymous = "com.docker.volume.anonymous"

// pruneAnonymousOnly is the version from which a prune of volumes spares those
// with a name, unless it is told to take all.
var pruneAnonymousOnly = apiversion.Version{Major: 1, Minor: 42}

// PruneVolumes removes the volumes that no container uses, on all engines: as
// of API 1.42 those without a name only, unless the filter all is set. Local
// ones are answered as NODE/name.
func (c *Cluster) PruneVolumes(ctx context.Context, filters apifilter.Args, v apiversion.Version) ([]byte, error) {
	all, err := filters.GetBool("all", false)
	if err != nil {
		return nil, err
	}
	shared := namesOf(c, func(m *member, add func(string)) {
		for _, v := range m.Volumes() {
			if !isLocal(v) {
				add(v.Name)
			}
		}
	})
	return c.pruneEach(ctx, pruning{
		path: "/volumes/prune", filters: filters, version: v,
		edit: func(m *member, o *rawjson.Object) error {
			return prefixNames(m, o, "VolumesDeleted", shared[m])
		},
		adapt: func(m *member, f apifilter.Args) apifilter.Args {
			id := m.Identity()
			if id == nil || v.Less(pruneAnonymousOnly) || !id.API.Less(pruneAnonymousOnly) {
				return f
			}
			// An older engine always takes all, named ones too, and does not
			// know the filter. It marks none as anonymous either: asking for
			// the mark spares what the client would not expect to lose.
			if f = f.Without("all"); !all {
				f = f.With("label", labelAnonymous)
			}
			return f
		},
	})
}

// namesOf collects names by engine before a prune: afterwards the engines know
// nothing of what they removed.
func namesOf(c *Cluster, each func(m *member, add func(string))) map[*member]map[string]bool {
	byMember := map[*member]map[string]bool{}
	for _, m := range c.answering() {
		names := map[string]bool{}
		each(m, func(name string) { names[name] = true })
		byMember[m] = names
	}
	return byMember
}

// prefixNames puts the node's name before the names under key, but for those
// that belong to more than one node.
func prefixNames(m *member, o *rawjson.Object, key string, shared map[string]bool) error {
	var names []string
	if _, err := o.Decode(key, &names); err != nil || len(names) == 0 {
		return err
	}
	for i, name := range names {
		if !shared[name] {
			names[i] = onNode(m.Engine, name)
		}
	}
	return o.Set(key, names)
}
