package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skep/skep/internal/engine"
	"github.com/skep/skep/internal/placement"
)

// Config is what a Cluster is made of.
type Config struct {
	Policy *placement.Policy
	TLS    *tls.Config // towards engines; nil for plaintext
	Logger *slog.Logger
	Dial   engine.DialFunc // nil for the network

	// CreateRetry is how often a create that failed is tried again, on another
	// engine if one will do. What is wrong with the request itself is not.
	CreateRetry int

	RefreshMin, RefreshMax time.Duration
	ProbeInterval          time.Duration
	FailureRetry           int

	// ListRefresh says which lists are made of a fresh inventory.
	ListRefresh ListRefresh

	// RescheduleAfter is how long an engine must be known not to answer before
	// its containers with the policy on-node-failure are made anew elsewhere;
	// default 5 s. For an engine that this manager has never met it is four
	// times that.
	RescheduleAfter time.Duration
	// Ledger keeps what must be known for that over restarts; nil for nothing.
	// No other cluster may use it.
	Ledger Ledger
	// Term says whether this manager is the one that moves and removes containers
	// by itself now, and marks the context of what it then does, so that nothing
	// more of it is sent to an engine once the term is over; nil for always.
	Term func(context.Context) (_ context.Context, acting bool)

	// Role says what this manager is among others, for [Cluster.Info]: "primary",
	// or "replica" and the primary's address, empty if unknown. Nil for the only
	// manager, which is the primary.
	Role func() (role, primary string)

	// Experimental is what [Cluster.Info] says of itself; it changes nothing else.
	Experimental bool
}

const (
	// inspectsAtOnce bounds the inspects under way over all engines.
	inspectsAtOnce = 256
	// inventoriesAtOnce bounds the engines whose first inventory is being read.
	inventoriesAtOnce = 64
	// answerTimeout is how long an engine may take for its part of a question
	// that is asked of many; who is late is left out, and named where the
	// answer has room for it.
	answerTimeout = 10 * time.Second
)

// Cluster is many engines as one. Its methods may be called from any goroutine.
type Cluster struct {
	cfg      Config
	inspects engine.Limiter
	// inventories bounds first inventories, as inspects does inspects.
	inventories engine.Limiter
	shared      engine.Shared
	events      *eventHub
	running     sync.WaitGroup // the engines' goroutines
	images      imageCache
	heldImages  heldImages
	version     atomic.Pointer[foundVersion] // what APIVersion found last
	answers     answerBuffers
	moves       *rescheduler
	buildKit    buildKit

	// changes counts what has changed of engines but for their containers: what is
	// made of all of them is kept until it moves on.
	changes atomic.Uint64

	// scheduling is held while a container is placed, never during a call.
	scheduling sync.Mutex
	reserved   map[*reservation]struct{} // guarded by scheduling
	roster     roster
	// networksComing are the names of networks that are being created; guarded
	// by scheduling.
	networksComing map[string]bool

	mu       sync.RWMutex
	members  map[string]*member // by address; guarded by mu, as are all below
	admitted map[string]*member // by engine ID
	ordered  []*member          // by name, for people; replaced, never changed
	joined   []*member          // since the last reorder
	index    index
	execs    execIndex
	// hidden are the containers that are not shown, as others have their place.
	hidden map[string]bool
}

// member is an engine of this cluster.
type member struct {
	*engine.Engine
	cancel context.CancelFunc
	view   nodeView
	info   infoCache
	left   atomic.Bool // it is no longer one of the cluster's
	// coming are the containers on their way here; guarded by the cluster's
	// scheduling.
	coming map[*reservation]struct{}
	// shown is what the engine's containers in the index say of it; guarded by
	// the cluster's mu.
	shown shownEngine
}

// shownEngine is what a container's entry in lists has of its engine.
type shownEngine struct{ name, ip string }

func shownOf(e *engine.Engine) shownEngine { return shownEngine{e.Name(), publicIP(e)} }

// New makes an empty cluster.
func New(cfg Config) (*Cluster, error) {
	if cfg.Policy == nil {
		return nil, fmt.Errorf("cluster needs a placement policy")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{
		cfg:         cfg,
		inspects:    engine.NewLimiter(inspectsAtOnce),
		inventories: engine.NewLimiter(inventoriesAtOnce),
		events:      newEventHub(),
		reserved:    map[*reservation]struct{}{},
		roster:      newRoster(),
		members:     map[string]*member{},
		admitted:    map[string]*member{},
		index:       newIndex(),
		execs:       newExecIndex(),
	}
	var err error
	c.moves, err = newRescheduler(c, cfg.Ledger)
	return c, err
}

// Run follows the lists of engine addresses from discovery until ctx is done
// or the channel is closed, then disconnects all engines.
func (c *Cluster) Run(ctx context.Context, lists <-chan []string) {
	defer c.running.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.running.Go(func() { c.moves.run(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case list, ok := <-lists:
			if !ok {
				<-ctx.Done()
				return
			}
			c.setAddresses(ctx, list)
		}
	}
}

// setAddresses makes the engines at these addresses the cluster's. Those that
// left go first, so that an engine may change its address.
func (c *Cluster) setAddresses(ctx context.Context, addresses []string) {
	wanted := make(map[string]bool, len(addresses))
	for _, a := range addresses {
		addr, err := engine.ParseAddress(a)
		if err != nil {
			c.cfg.Logger.Error("engine not added", "err", err)
			continue
		}
		wanted[addr.String()] = true
	}
	c.mu.Lock()
	var left []*member
	for addr, m := range c.members {
		if !wanted[addr] {
			m.left.Store(true)
			left = append(left, m)
			delete(c.members, addr)
			c.dropContainers(m.Engine, m.Containers())
		}
	}
	// At once, with their containers: no answer may have the one without the other.
	c.ordered = slices.DeleteFunc(slices.Clone(c.ordered), func(m *member) bool { return m.left.Load() })
	c.changes.Add(1)
	c.mu.Unlock()
	for _, m := range left {
		c.cfg.Logger.Info("engine left", "addr", m.Address(), "engine", m.Name())
		c.moves.left(m.Engine)
		c.scheduling.Lock()
		c.roster.remove(m)
		c.scheduling.Unlock()
		m.cancel()
	}
	for addr := range wanted {
		if err := c.add(ctx, addr); err != nil {
			c.cfg.Logger.Error("engine not added", "addr", addr, "err", err)
		}
	}
	c.pace()
	c.moves.look()
	c.reorder()
}

func (c *Cluster) add(ctx context.Context, addr string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members[addr] != nil {
		return nil
	}
	e, err := engine.New(engine.Config{
		Address: addr, TLS: c.cfg.TLS, Observer: (*observer)(c), Admit: c.admit,
		Logger: c.cfg.Logger, Dial: c.cfg.Dial, Inspects: c.inspects, Inventories: c.inventories, Shared: &c.shared,
		RefreshMin: c.cfg.RefreshMin, RefreshMax: c.cfg.RefreshMax,
		ProbeInterval: c.cfg.ProbeInterval, FailureRetry: c.cfg.FailureRetry,
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	m := &member{Engine: e, cancel: cancel, view: newNodeView()}
	c.members[addr] = m
	c.joined = append(c.joined, m)
	c.running.Go(func() { e.Run(ctx) })
	return nil
}

// admit lets an engine in unless another one has its ID.
func (c *Cluster) admit(e *engine.Engine, id *engine.Identity) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[e.Address().String()]
	if m == nil || m.Engine != e {
		return fmt.Errorf("engine at %s is no longer part of the cluster", e.Address())
	}
	if other := c.admitted[id.ID]; other != nil && other != m {
		return fmt.Errorf("ID duplicated. %s shared by this node %s and another node %s", id.ID, e.Address(), other.Address())
	}
	c.withdraw(m)
	c.admitted[id.ID] = m
	return nil
}

// withdraw takes back an admission; c.mu is held.
func (c *Cluster) withdraw(m *member) {
	for id, other := range c.admitted {
		if other == m {
			delete(c.admitted, id)
		}
	}
}

// reorder sorts the members for people: by name, numbers by value, those
// without a name first.
func (c *Cluster) reorder() {
	c.mu.Lock()
	defer c.mu.Unlock()
	// What is in order already is sorted in no time.
	ordered := make([]*member, 0, len(c.members))
	for _, m := range append(c.ordered[:len(c.ordered):len(c.ordered)], c.joined...) {
		if !m.left.Load() {
			ordered = append(ordered, m)
		}
	}
	c.joined = nil
	slices.SortFunc(ordered, func(a, b *member) int {
		if named(a) != named(b) {
			if named(b) {
				return -1
			}
			return 1
		}
		if order := compareNatural(a.Name(), b.Name()); order != 0 {
			return order
		}
		return compareNatural(a.Address().String(), b.Address().String())
	})
	c.ordered = ordered
	c.changes.Add(1)
}

func named(m *member) bool { return m.Identity() != nil }

// all gives every member, pending ones too, in order. The slice must not be changed.
func (c *Cluster) all() []*member {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.ordered
}

// answering gives the members that can be asked something now, in order.
func (c *Cluster) answering() []*member {
	var out []*member
	for _, m := range c.all() {
		if m.Answers() {
			out = append(out, m)
		}
	}
	return out
}

// observer is the cluster as its engines see it.
type observer Cluster

var _ engine.Observer = (*observer)(nil)

func (o *observer) EngineState(e *engine.Engine, from, to engine.State, err error) {
	c := (*Cluster)(o)
	level := slog.LevelInfo
	if to == engine.Unhealthy || err != nil {
		level = slog.LevelWarn
	}
	c.cfg.Logger.Log(context.Background(), level, "engine state", "engine", e.Name(), "addr", e.Address().String(),
		"from", from.String(), "to", to.String(), "err", err)
	switch {
	case from == engine.Pending && (to == engine.Healthy || to == engine.Maintenance):
		c.events.own("engine_connect", e)
	case to == engine.Healthy && from == engine.Unhealthy:
		c.events.own("engine_reconnect", e)
	case from == engine.Healthy && (to == engine.Unhealthy || to == engine.Pending || to == engine.Disconnected),
		from == engine.Maintenance && to != engine.Healthy:
		c.events.own("engine_disconnect", e)
	}
	if to == engine.Pending || to == engine.Disconnected {
		c.release(e)
	}
	c.mu.RLock()
	if m := c.members[e.Address().String()]; m != nil && m.Engine == e {
		c.roster.mark(m)
	}
	c.mu.RUnlock()
	c.moves.look()
	c.reorder()
}

// release gives an engine's ID free, and lets those that wait for one try again.
func (c *Cluster) release(e *engine.Engine) {
	c.mu.Lock()
	var waiting []*member
	for id, m := range c.admitted {
		if m.Engine == e {
			delete(c.admitted, id)
		}
	}
	for _, m := range c.members {
		if m.State() == engine.Pending && m.Engine != e {
			waiting = append(waiting, m)
		}
	}
	c.mu.Unlock()
	for _, m := range waiting {
		m.Poke()
	}
}

func (o *observer) EngineContainers(e *engine.Engine, put, gone []*engine.Container) {
	c := (*Cluster)(o)
	c.moves.notice(e, put)
	c.moves.gone(gone)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dropContainers(e, gone)
	m := c.members[e.Address().String()]
	if m == nil || m.Engine != e {
		return
	}
	m.shown = shownOf(e)
	for _, ec := range put {
		c.show(e, ec)
	}
	m.view.containersChanged(put, gone)
	c.roster.mark(m)
}

// dropContainers takes containers of an engine out of the index; c.mu is held.
func (c *Cluster) dropContainers(e *engine.Engine, gone []*engine.Container) {
	for _, ec := range gone {
		if known, ok := c.index.byID.Get(ec.ID); ok && known.Engine == e {
			c.index.remove(ec.ID)
		}
	}
}

func (o *observer) EngineObjects(e *engine.Engine) {
	c := (*Cluster)(o)
	c.mu.Lock()
	m := c.members[e.Address().String()]
	if m == nil || m.Engine != e {
		c.mu.Unlock()
		return
	}
	m.view.objectsChanged()
	c.roster.mark(m)
	c.changes.Add(1)
	shown := shownOf(e)
	changed := m.shown != shownEngine{} && m.shown != shown
	if changed {
		m.shown = shown
		for _, ec := range e.Containers() {
			c.show(e, ec)
		}
	}
	c.mu.Unlock()
	if changed {
		c.reorder()
	}
}

func (o *observer) EngineEvent(e *engine.Engine, ev engine.Event) {
	(*Cluster)(o).events.publish(e, ev)
}
