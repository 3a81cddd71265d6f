package cluster

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/skep/skep/internal/apifilter"
	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/rawjson"
)

// sizeTimeout is how long an engine may add up the sizes of its containers.
const sizeTimeout = 30 * time.Second

// ListOptions choose containers for a list.
type ListOptions struct {
	All           bool // those that do not run, too
	Limit         int  // the newest so many, running or not; 0 for no limit
	Before, Since string
	Size          bool
	Filters       apifilter.Args
}

// Listing is the containers that a list shows, newest first.
type Listing struct {
	cluster *Cluster
	chosen  []*Container
	sizes   map[string]sizeOf // by ID; nil when they were not asked for
}

// List chooses the containers of a list.
func (c *Cluster) List(ctx context.Context, o ListOptions) (*Listing, error) {
	c.refreshEach(ctx, "list", c.refreshToList(&o), (*engine.Engine).RefreshAll)
	match, err := c.newContainerMatch(o)
	if err != nil {
		return nil, err
	}
	l := &Listing{cluster: c, chosen: c.matching(match, o.Limit)}
	if o.Size {
		l.sizes = c.sizes(ctx, l.chosen)
	}
	return l, nil
}

// Write writes the list's entries as a JSON array.
func (l *Listing) Write(w io.Writer) error {
	out := l.cluster.answers.begin(w)
	defer l.cluster.answers.end(out)
	_ = out.WriteByte('[') // Flush tells what went wrong
	for i, found := range l.chosen {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		// Made in the buffer itself, as a rule.
		entry := found.AppendEntry(out.AvailableBuffer())
		if size, ok := l.sizes[found.ID]; ok {
			entry = size.appendTo(entry)
		}
		if _, err := out.Write(entry); err != nil {
			return err
		}
	}
	_, _ = out.WriteString("]\n")
	return out.Flush()
}

func (c *Cluster) matching(match *containerMatch, limit int) []*Container {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var chosen []*Container
	c.index.byAge.Scan(func(candidate *Container) bool {
		if match.before(candidate) {
			return true
		}
		if match.done(candidate) {
			return false
		}
		if match.matches(candidate) {
			chosen = append(chosen, candidate)
		}
		return limit <= 0 || len(chosen) < limit
	})
	return chosen
}

// sizeOf is what only an engine can say, and only slowly.
type sizeOf struct{ rw, rootFs json.RawMessage }

func (s sizeOf) appendTo(entry []byte) []byte {
	entry = entry[:len(entry)-1]
	if s.rw != nil {
		entry = append(append(entry, `,"SizeRw":`...), s.rw...)
	}
	if s.rootFs != nil {
		entry = append(append(entry, `,"SizeRootFs":`...), s.rootFs...)
	}
	return append(entry, '}')
}

// sizes asks the engines of the chosen containers for their sizes. Those of an
// engine that does not answer in time are left out.
func (c *Cluster) sizes(ctx context.Context, chosen []*Container) map[string]sizeOf {
	byEngine := map[*engine.Engine][]string{}
	for _, found := range chosen {
		byEngine[found.Engine] = append(byEngine[found.Engine], found.ID)
	}
	var from []*member
	for _, m := range c.answering() {
		if byEngine[m.Engine] != nil {
			from = append(from, m)
		}
	}
	replies := ask(ctx, from, sizeTimeout, func(ctx context.Context, m *member) ([]byte, error) {
		query := url.Values{"all": {"1"}, "size": {"1"}, "filters": {apifilter.Args{}.With("id", byEngine[m.Engine]...).String()}}
		var body []byte
		err := m.Call(ctx, engine.Request{Method: http.MethodGet, Path: "/containers/json", Query: query}, nil, &body)
		return body, err
	})
	sizes := make(map[string]sizeOf, len(chosen))
	for _, r := range replies {
		raws, err := rawjson.Split(r.value)
		if r.err != nil || err != nil {
			c.cfg.Logger.Warn("container sizes are missing", "engine", r.from.Name(), "err", r.err)
			continue
		}
		for _, raw := range raws {
			var s struct {
				ID                 string `json:"Id"`
				SizeRw, SizeRootFs json.RawMessage
			}
			if json.Unmarshal(raw, &s) == nil {
				sizes[s.ID] = sizeOf{s.SizeRw, s.SizeRootFs}
			}
		}
	}
	return sizes
}

// containerMatch is a list's options, resolved and ready to be asked of each
// container.
type containerMatch struct {
	all               bool
	older, newerThan  *Container // bounds, not included
	filters           apifilter.Args
	exited            map[int]bool
	ancestors         map[string]bool // image IDs; nil when not asked for
	publish, expose   []portRange
	task              *bool
	networks, volumes []string
}

// containerFilters are the filters of `docker ps`, and node.
var containerFilters = []string{
	"ancestor", "before", "exited", "expose", "health", "id", "isolation", "is-task", "label", "name",
	"network", "node", "publish", "since", "status", "volume",
}

// containerStates and containerHealths are the values of the status and health
// filters.
var (
	containerStates  = []string{"paused", "restarting", "removing", "running", "dead", "created", "exited"}
	containerHealths = []string{"starting", "healthy", "unhealthy", "none"}
)

func (c *Cluster) newContainerMatch(o ListOptions) (*containerMatch, error) {
	f := o.Filters
	if err := f.Validate(containerFilters...); err != nil {
		return nil, err
	}
	m := &containerMatch{all: o.All || o.Limit > 0 || o.Before != "" || o.Since != "", filters: f,
		networks: f.Get("network"), volumes: f.Get("volume")}
	for _, s := range f.Get("status") {
		if !slices.Contains(containerStates, s) {
			return nil, fail(errdefs.ErrInvalidArgument, "invalid filter 'status=%s': use one of %s", s, strings.Join(containerStates, ", "))
		}
		m.all = true
	}
	for _, s := range f.Get("health") {
		if !slices.Contains(containerHealths, s) {
			return nil, fail(errdefs.ErrInvalidArgument, "invalid filter 'health=%s': use one of %s", s, strings.Join(containerHealths, ", "))
		}
	}
	if err := m.readExited(f.Get("exited")); err != nil {
		return nil, err
	}
	if f.Contains("is-task") {
		is, err := f.GetBool("is-task", false)
		if err != nil {
			return nil, err
		}
		m.task = &is
	}
	var err error
	if m.publish, err = parsePorts("publish", f.Get("publish")); err != nil {
		return nil, err
	}
	if m.expose, err = parsePorts("expose", f.Get("expose")); err != nil {
		return nil, err
	}
	if m.older, err = c.bound(append(f.Get("before"), o.Before)); err != nil {
		return nil, err
	}
	if m.newerThan, err = c.bound(append(f.Get("since"), o.Since)); err != nil {
		return nil, err
	}
	if f.Contains("ancestor") {
		m.ancestors = c.descendants(f.Get("ancestor"))
	}
	return m, nil
}

func (m *containerMatch) readExited(values []string) error {
	for _, s := range values {
		code, err := strconv.Atoi(s)
		if err != nil {
			return fail(errdefs.ErrInvalidArgument, "invalid filter 'exited=%s': give an exit code", s)
		}
		if m.exited == nil {
			m.exited = map[int]bool{}
		}
		m.exited[code] = true
	}
	return nil
}

// bound resolves the container that a before or since names.
func (c *Cluster) bound(refs []string) (*Container, error) {
	for _, ref := range refs {
		if ref != "" {
			return c.Container(ref)
		}
	}
	return nil, nil
}

// before says that the scan, newest first, has not reached the range yet.
func (m *containerMatch) before(c *Container) bool {
	return m.older != nil && !newer(m.older, c)
}

// done says that the scan has left the range.
func (m *containerMatch) done(c *Container) bool {
	return m.newerThan != nil && !newer(c, m.newerThan)
}

func (m *containerMatch) matches(c *Container) bool {
	f := m.filters
	s := &c.State
	return (m.all || s.Running || s.Paused || s.Restarting) &&
		(m.exited == nil || m.exited[s.ExitCode] && !s.Running && !s.StartedAt.IsZero()) &&
		(m.ancestors == nil || m.ancestors[c.ImageID]) &&
		f.ExactMatch("status", s.Status) &&
		f.ExactMatch("health", healthOf(c)) &&
		f.ExactMatch("isolation", c.Host.Isolation) &&
		f.Match("id", c.ID) &&
		(!f.Contains("name") || m.matchesName(c)) &&
		f.MatchKVList("label", c.Labels) &&
		(!f.Contains("node") || matchesNode(f, c.Engine)) &&
		(m.task == nil || *m.task == isTask(c)) &&
		(m.publish == nil || slices.ContainsFunc(m.publish, func(r portRange) bool { return r.published(c) })) &&
		(m.expose == nil || slices.ContainsFunc(m.expose, func(r portRange) bool { return r.exposed(c) })) &&
		(len(m.networks) == 0 || m.onNetwork(c)) &&
		(len(m.volumes) == 0 || m.withVolume(c))
}

// matchesName lets a filter name the container as `docker ps` shows it, too.
func (m *containerMatch) matchesName(c *Container) bool {
	return slices.ContainsFunc(c.Names, func(n string) bool {
		return m.filters.Match("name", n) || m.filters.Match("name", "/"+n) || m.filters.Match("name", c.Engine.Name()+"/"+n)
	})
}

// matchesNode applies the node filter.
func matchesNode(f apifilter.Args, e *engine.Engine) bool {
	id := e.Identity()
	return id != nil && (f.Match("node", id.Name) || f.ExactMatch("node", id.ID))
}

func healthOf(c *Container) string {
	if c.State.Health.Status == "" {
		return "none"
	}
	return c.State.Health.Status
}

func isTask(c *Container) bool {
	_, ok := c.Labels[labelTask]
	return ok
}

func (m *containerMatch) onNetwork(c *Container) bool {
	for _, wanted := range m.networks {
		for _, n := range c.Networks {
			if wanted == n.Name || wanted == c.Engine.Name()+"/"+n.Name || n.NetworkID != "" && strings.HasPrefix(n.NetworkID, wanted) {
				return true
			}
		}
	}
	return false
}

func (m *containerMatch) withVolume(c *Container) bool {
	for _, wanted := range m.volumes {
		for _, mount := range c.Mounts {
			if wanted == mount.Destination || mount.Name != "" && wanted == mount.Name || mount.Name == "" && wanted == mount.Source {
				return true
			}
		}
	}
	return false
}

// portRange is a value of the publish and expose filters.
type portRange struct {
	first, last uint16
	protocol    string
}

func parsePorts(filter string, values []string) ([]portRange, error) {
	var out []portRange
	for _, v := range values {
		first, last, protocol, ok := parsePort(v)
		if !ok {
			return nil, fail(errdefs.ErrInvalidArgument, "invalid filter '%s=%s': write PORT[-PORT][/PROTOCOL]", filter, v)
		}
		out = append(out, portRange{first, last, protocol})
	}
	return out, nil
}

func (r portRange) holds(port uint16, protocol string) bool {
	return r.first <= port && port <= r.last && protocol == r.protocol
}

func (r portRange) published(c *Container) bool {
	return slices.ContainsFunc(c.Ports, func(p engine.PublishedPort) bool { return p.PublicPort != 0 && r.holds(p.PublicPort, p.Type) })
}

func (r portRange) exposed(c *Container) bool {
	return slices.ContainsFunc(c.Exposed, func(s string) bool {
		port, protocol, _ := strings.Cut(s, "/")
		n, err := strconv.ParseUint(port, 10, 16)
		return err == nil && r.holds(uint16(n), protocol)
	})
}
