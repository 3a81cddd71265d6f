package simengine

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// place is where one engine of a fleet listens, with its power switch.
type place struct {
	engine           *Engine
	network, address string
	first            *turn
	next             chan *turn // from Start to run

	mu   sync.Mutex
	turn *turn // nil while the engine has no power; guarded by mu
}

// turn is one time of serving, from power on to power off.
type turn struct {
	listener net.Listener
	on       context.Context
	off      context.CancelFunc
	ended    chan struct{} // closed by run when nothing of the turn is left
}

func newTurn(l net.Listener) *turn {
	on, off := context.WithCancel(context.Background())
	return &turn{listener: l, on: on, off: off, ended: make(chan struct{})}
}

func newPlace(e *Engine, l net.Listener) *place {
	first := newTurn(l)
	return &place{
		engine: e, network: l.Addr().Network(), address: l.Addr().String(),
		first: first, next: make(chan *turn), turn: first,
	}
}

// run serves turn after turn until ctx is done. It is who cuts the power and puts
// it on, so that neither is left out when the caller of Crash or Start has gone.
func (p *place) run(ctx context.Context) {
	for now := p.first; ; {
		stop := context.AfterFunc(ctx, now.off)
		serve(now.on, p.engine, now.listener)
		stop()
		p.engine.powerCut()
		close(now.ended)
		select {
		case <-ctx.Done():
			return
		case now = <-p.next:
			p.engine.powerOn()
		}
	}
}

// Crash takes an engine's power: its connections break, new ones are refused,
// and its containers are dead when it starts again. Run must be running.
func (f *Fleet) Crash(ctx context.Context, name string) error {
	p, err := f.place(name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	last := p.turn
	p.turn = nil
	p.mu.Unlock()
	if last == nil {
		return fmt.Errorf("engine %s has no power already; start it", name)
	}
	last.off()
	select {
	case <-last.ended:
	case <-ctx.Done():
		return fmt.Errorf("crash engine %s: %w", name, ctx.Err())
	}
	return nil
}

// Start gives a crashed engine its power back, at the address it had. Its
// containers are there as they died; those that are to restart run. Run must be
// running.
func (f *Fleet) Start(ctx context.Context, name string) error {
	p, err := f.place(name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	on := p.turn != nil
	p.mu.Unlock()
	if on {
		return fmt.Errorf("engine %s runs already", name)
	}
	l, err := net.Listen(p.network, p.address)
	if err != nil {
		return fmt.Errorf("start engine %s: %w", name, err)
	}
	now := newTurn(l)
	select {
	case p.next <- now:
	case <-ctx.Done():
		l.Close()
		return fmt.Errorf("start engine %s: %w", name, ctx.Err())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn = now
	return nil
}

func (f *Fleet) place(name string) (*place, error) {
	for _, p := range f.places {
		if p.engine.cfg.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no engine is called %q; there are %s to %s", name, f.places[0].engine.cfg.Name, f.places[len(f.places)-1].engine.cfg.Name)
}

// exitPowerCut is what Docker says of containers that died unseen.
const exitPowerCut = 255

// powerCut ends all containers without a word: nobody was there to tell of it.
func (e *Engine) powerCut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.events.past = nil
	for _, c := range e.ordered {
		if c != nil && c.alive() {
			c.state, c.exitCode = exited, exitPowerCut
		}
	}
}

// powerOn does what an engine does with its containers when it starts.
func (e *Engine) powerOn() {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now().UTC()
	for _, c := range slices.Clone(e.ordered) {
		switch {
		case c == nil || c.state != exited || c.exitCode != exitPowerCut:
		case c.autoRemove:
			e.drop(c)
		default:
			c.finished = now
			if c.restarts {
				_ = e.start(c) // as on a real engine, one whose port is taken stays dead
			}
		}
	}
}
