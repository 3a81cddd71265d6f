package engine

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Observer is told what changes. Its methods are called in order, from the
// engine's goroutines and from those that call Refresh methods; they must not
// block and must not call methods of the engine that change it.
type Observer interface {
	// EngineState tells a change of state; err is why, when there is a reason.
	EngineState(e *Engine, from, to State, err error)
	// EngineContainers tells which containers are new or changed, and which
	// are gone.
	EngineContainers(e *Engine, put, gone []*Container)
	// EngineObjects tells that images, networks, volumes, the identity or, within
	// a state, the health changed.
	EngineObjects(e *Engine)
	// EngineEvent passes on an event of the engine.
	EngineEvent(e *Engine, ev Event)
}

// Config is what an Engine is made of. New fills in defaults.
type Config struct {
	Address  string      // host:port, tcp://host:port or unix:///path
	TLS      *tls.Config // nil for plaintext
	Observer Observer
	// Admit is asked before an engine becomes healthy for the first time, or
	// under another ID; an error keeps it pending and is shown.
	Admit  func(*Engine, *Identity) error
	Logger *slog.Logger
	Dial   DialFunc
	// Inspects bounds the inspects over all engines that share it; may be nil.
	Inspects Limiter
	// Inventories bounds how many engines that share it read their first
	// inventory at once; may be nil.
	Inventories Limiter
	// Shared is what it shares with the other engines; nil for nothing.
	Shared *Shared

	RefreshMin, RefreshMax time.Duration // a full refresh comes at a random time between; default 30 s, 60 s
	ProbeInterval          time.Duration // between probes of a healthy engine; default 3 s
	ProbeTimeout           time.Duration // default 2 s
	FailureRetry           int           // probes in a row that must fail before Unhealthy; default 3
	CallTimeout            time.Duration // of skep's own calls; default 30 s
}

func (c *Config) setDefaults() {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Dial == nil {
		c.Dial = NetworkDial()
	}
	if c.Admit == nil {
		c.Admit = func(*Engine, *Identity) error { return nil }
	}
	if c.Shared == nil {
		c.Shared = new(Shared)
	}
	setDefault(&c.RefreshMin, 30*time.Second)
	setDefault(&c.RefreshMax, max(60*time.Second, c.RefreshMin))
	setDefault(&c.ProbeInterval, 3*time.Second)
	setDefault(&c.ProbeTimeout, 2*time.Second)
	setDefault(&c.CallTimeout, 30*time.Second)
	setDefault(&c.FailureRetry, 3)
}

func setDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

const (
	identityInterval = 5 * time.Minute
	retryMin         = time.Second
	retryMax         = 30 * time.Second
	// After a failed probe the next comes soon: a dead engine should be known
	// as such within seconds.
	reprobe    = 250 * time.Millisecond
	reprobeMax = 5 * time.Second
	// inventoryTurn is how long an engine waits for its turn to read its first
	// inventory. Then it goes on without: engines that hang must not keep the
	// others out.
	inventoryTurn = 10 * time.Second
)

// errAnotherEngine says that the address now belongs to an engine with another ID.
var errAnotherEngine = errors.New("another engine answers at this address")

// Engine is one Docker Engine. Its methods may be called at any time, from any
// goroutine.
type Engine struct {
	cfg       Config
	addr      Address
	transport *http.Transport

	identity atomic.Pointer[Identity]
	seq      atomic.Uint64 // numbers the questions asked of the engine
	dirty    *dirtyQueue
	poke     chan struct{} // has room for one; never closed
	seed     maphash.Seed  // of the sums of answers
	// probeInterval is a time.Duration.
	probeInterval atomic.Int64

	containers *containerTable
	images     versioned[ImageSet]
	networks   versioned[[]*Network]
	volumes    versioned[[]*Volume]

	// moves is held while the state changes and the observer is told, so that
	// he is told in order. It comes before mu.
	moves sync.Mutex

	mu          sync.Mutex
	state       State     // guarded by mu, as are all below
	maintenance bool      // wished for by hand
	failures    int       // of probes, in a row
	lastErr     error     // shown until the next success
	updated     time.Time // when the engine was last heard of
	alive       context.Context
	die         context.CancelFunc
}

// New prepares an engine; Run connects it.
func New(cfg Config) (*Engine, error) {
	addr, err := ParseAddress(cfg.Address)
	if err != nil {
		return nil, err
	}
	if cfg.Observer == nil {
		return nil, errors.New("engine needs an observer")
	}
	cfg.setDefaults()
	if cfg.RefreshMax < cfg.RefreshMin {
		return nil, errors.New("max refresh interval cannot be less than min refresh interval")
	}
	e := &Engine{cfg: cfg, addr: addr, dirty: newDirtyQueue(), poke: make(chan struct{}, 1), seed: maphash.MakeSeed(), updated: time.Now()}
	e.transport = e.newTransport()
	e.probeInterval.Store(int64(cfg.ProbeInterval))
	e.containers = newContainerTable(func(put, gone []*Container) { cfg.Observer.EngineContainers(e, put, gone) })
	told := func() { cfg.Observer.EngineObjects(e) }
	e.images.changed, e.networks.changed, e.volumes.changed = told, told, told
	e.alive, e.die = context.WithCancel(context.Background())
	return e, nil
}

// Run connects the engine and follows it until ctx is done. It may be called
// once. When it returns the engine is Disconnected and its inventory empty.
func (e *Engine) Run(ctx context.Context) {
	defer e.disconnect()
	delay := retryMin
	for {
		began := time.Now()
		err := e.connectAndServe(ctx)
		if ctx.Err() != nil {
			return
		}
		e.becomePending(err)
		if time.Since(began) > retryMax {
			delay = retryMin
		}
		e.waitPoked(ctx, delay/2+rand.N(delay))
		delay = min(2*delay, retryMax)
	}
}

// connectAndServe validates the engine and follows it until it turns out to be
// another one or ctx is done. It always returns an error.
func (e *Engine) connectAndServe(ctx context.Context) error {
	id, err := e.askIdentity(ctx)
	if err != nil {
		return err
	}
	if err := e.cfg.Admit(e, id); err != nil {
		return err
	}
	e.setIdentity(id)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	// The stream is open before the inventory is read, so that nothing that
	// happens meanwhile is missed.
	log := newEventLog(id.engineTime)
	stream, err := e.openEvents(ctx, log)
	if err != nil {
		return fmt.Errorf("open event stream: %w", err)
	}
	// changedID has room for one; never closed.
	changedID := make(chan error, 1)
	wg.Go(func() {
		e.followEvents(ctx, log, stream, func(ctx context.Context) error {
			err := e.checkIdentity(ctx)
			if errors.Is(err, errAnotherEngine) {
				signal(changedID, err)
				e.Poke()
			}
			if err == nil {
				e.dirty.mark((*dirtySet).inventory)
			}
			return err
		})
	})
	if err := e.readFirst(ctx); err != nil {
		return fmt.Errorf("first inventory: %w", err)
	}
	e.becomeHealthy()
	for s := range shares {
		wg.Go(func() { e.refresher(ctx, s, changedID) })
	}
	return e.probeUntil(ctx, changedID)
}

// readFirst reads the first inventory, when it is this engine's turn. The many
// connections that this takes are closed at once: until they time out, those of
// a thousand engines would hold more memory than the inventories.
func (e *Engine) readFirst(ctx context.Context) error {
	turn, cancel := context.WithTimeout(ctx, inventoryTurn)
	defer cancel()
	if e.cfg.Inventories.acquire(turn) == nil {
		defer e.cfg.Inventories.release()
	}
	defer e.transport.CloseIdleConnections()
	return e.readAll(ctx, e.seq.Add(1))
}

// signal leaves a value for whoever waits, or for nobody when one is there.
func signal[T any](ch chan<- T, v T) {
	select {
	case ch <- v:
	default:
	}
}

// probeUntil probes the engine until ctx is done or its ID has changed.
func (e *Engine) probeUntil(ctx context.Context, changedID <-chan error) error {
	p := &pinger{engine: e}
	defer p.close()
	nextFull := time.Now().Add(e.refreshDelay())
	nextIdentity := time.Now().Add(identityInterval)
	for {
		select {
		case err := <-changedID:
			return err
		default:
		}
		if !e.waitForProbe(ctx) {
			return ctx.Err()
		}
		if err := e.probe(ctx, p); err != nil {
			if errors.Is(err, errAnotherEngine) {
				return err
			}
			continue
		}
		now := time.Now()
		if now.After(nextFull) {
			e.dirty.mark((*dirtySet).inventory)
			nextFull = now.Add(e.refreshDelay())
		}
		if now.After(nextIdentity) {
			e.dirty.mark(func(d *dirtySet) { d.identity = true })
			nextIdentity = now.Add(identityInterval)
		}
	}
}

func (e *Engine) refreshDelay() time.Duration {
	d := e.cfg.RefreshMin
	if spread := e.cfg.RefreshMax - e.cfg.RefreshMin; spread > 0 {
		d += rand.N(spread)
	}
	return d
}

// SetProbeInterval changes the time between probes of a healthy engine, from the
// next one on. d must be positive.
func (e *Engine) SetProbeInterval(d time.Duration) { e.probeInterval.Store(int64(d)) }

// waitForProbe waits until the next probe is due; false when ctx ended. A failed
// request brings the first probe forward, but no further one: else many requests
// that fail at once would condemn an engine in an instant.
func (e *Engine) waitForProbe(ctx context.Context) bool {
	e.mu.Lock()
	failures := e.failures
	e.mu.Unlock()
	if failures == 0 {
		interval := time.Duration(e.probeInterval.Load())
		began := time.Now()
		if !e.waitPoked(ctx, onBeat(began, interval*3/4+rand.N(interval/2+1))) {
			return false
		}
		// Not at once after the last one, however many requests fail.
		early := min(reprobe, interval/2) - time.Since(began)
		return early <= 0 || sleep(ctx, early)
	}
	beyond := max(0, failures-e.cfg.FailureRetry)
	d := min(reprobe<<min(beyond, 10), reprobeMax)
	return sleep(ctx, d/2+rand.N(d))
}

// beat is when engines are probed: at its multiples, so that a process with many
// engines wakes for all that are due, and not for each.
const beat = 50 * time.Millisecond

// onBeat shortens d so that it ends on a beat. Where probes come much faster
// than people want them it leaves d alone.
func onBeat(began time.Time, d time.Duration) time.Duration {
	if d < 10*beat {
		return d
	}
	return d - time.Duration(began.Add(d).UnixNano())%beat
}

// probe asks the engine for a sign of life and draws the consequences.
func (e *Engine) probe(ctx context.Context, p *pinger) error {
	err := p.ping(ctx, e.cfg.ProbeTimeout)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		e.probeFailed(probeError(err, e.cfg.ProbeTimeout))
		return err
	}
	if e.State() != Unhealthy {
		e.probeSucceeded()
		return nil
	}
	// It is back. Before anyone is told, be sure that it is the same engine
	// and know what it holds now.
	if err := e.checkIdentity(ctx); err != nil {
		if !errors.Is(err, errAnotherEngine) {
			e.probeFailed(probeError(err, e.cfg.CallTimeout))
		}
		return err
	}
	if err := e.readAll(ctx, e.seq.Add(1)); err != nil {
		e.probeFailed(probeError(err, e.cfg.CallTimeout))
		return err
	}
	e.becomeHealthy()
	return nil
}

// probeError is a failed probe in the words of `docker info`, which names the
// engine already.
func probeError(err error, timeout time.Duration) error {
	var unreachable *UnreachableError
	if errors.As(err, &unreachable) {
		err = unreachable.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", timeout)
	}
	return err
}

// checkIdentity reads the identity again; errAnotherEngine when the ID changed.
func (e *Engine) checkIdentity(ctx context.Context) error {
	id, err := e.askIdentity(ctx)
	if err != nil {
		return err
	}
	if old := e.Identity(); old != nil {
		if old.ID != id.ID {
			return fmt.Errorf("%w: %s shows up with another ID: %s instead of %s", errAnotherEngine, e.addr, id.ID, old.ID)
		}
		if id.IP == "" {
			id.IP = old.IP // its name could not be resolved this time
		}
	}
	e.setIdentity(id)
	return nil
}

func (e *Engine) setIdentity(id *Identity) {
	e.identity.Store(id)
	e.cfg.Observer.EngineObjects(e)
}

// Poke asks for a probe, or a new attempt to connect, now.
func (e *Engine) Poke() { signal(e.poke, struct{}{}) }

// waitPoked waits for d, or until it is poked; false when ctx ended first.
func (e *Engine) waitPoked(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-e.poke:
	}
	return true
}

// sleep waits for d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
