package election

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/skep/skep/internal/kvstore"
)

// DefaultTTL is how long a manager that has fallen silent stays primary.
const DefaultTTL = 20 * time.Second

// The bounds of the time to settle, unless it is given.
const (
	settlesPerTTL = 100
	settleMin     = 50 * time.Millisecond
	settleMax     = 500 * time.Millisecond
)

// keyBelowPrefix is where managers of standalone Docker Swarm look for the
// leader too.
const keyBelowPrefix = "docker/swarm/leader"

// Config is what an Election is made of.
type Config struct {
	Store kvstore.Store
	// Prefix is the path in the store below which all keys of this cluster lie;
	// it may be empty.
	Prefix string
	// Advertise is this manager's HOST:PORT, as the other managers reach it. No
	// two managers have the same.
	Advertise string
	// TTL is after what time the lock of a manager that has fallen silent is
	// another's; 0 is DefaultTTL.
	TTL time.Duration
	// Settle is how long a manager waits between getting the lock and acting. A
	// lock runs out for its holder and for the store at nearly the same moment:
	// this is the time that clocks may differ by, and that the holder's process
	// may need to notice. 0 is a hundredth of TTL, 50 ms to 500 ms; less than 0
	// is none.
	Settle time.Duration
	Logger *slog.Logger // nil discards
}

// Election campaigns for one manager and follows who leads. Its methods may be
// called from any goroutine, and before Run.
type Election struct {
	cfg Config
	key string
	// recheck asks follow for a look at the store: what it holds one is as good
	// as many.
	recheck chan struct{}

	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change; guarded by mu, as are all below
	leader  string        // whose address was last read in the store; "" for nobody's
	term    *term         // ours, nil if we do not act
}

// term is the time during which one lock is held.
type term struct {
	lock kvstore.Lock
	ctx  context.Context // done when the term is over
	end  context.CancelCauseFunc
}

func (t *term) acting() bool {
	if t == nil || t.ctx.Err() != nil {
		return false
	}
	select {
	case <-t.lock.Lost():
		// The goroutine that ends the term may not have run yet.
		return false
	default:
		return true
	}
}

// ErrNotActing is the cause of the end of an ActingContext.
var ErrNotActing = errors.New("this manager is not, or is no longer, the primary")

var (
	errLost    = errors.Join(ErrNotActing, errors.New("the lock of the primary ran out or was lost"))
	errDeposed = errors.Join(ErrNotActing, errors.New("the store says that the lock of the primary is not ours"))
)

// New makes an election in which nobody is known yet.
func New(cfg Config) (*Election, error) {
	if cfg.Store == nil {
		return nil, errors.New("an election needs a key-value store: leader election is only supported with consul, etcd and zookeeper discovery")
	}
	if err := CheckAddress(cfg.Advertise); err != nil {
		return nil, err
	}
	if cfg.TTL < 0 {
		return nil, fmt.Errorf("the time to live of the primary's lock must be positive, and is %s", cfg.TTL)
	}
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	if cfg.Settle == 0 {
		cfg.Settle = min(max(cfg.TTL/settlesPerTTL, settleMin), settleMax)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Election{
		cfg: cfg, key: strings.TrimPrefix(path.Join(cfg.Prefix, keyBelowPrefix), "/"),
		recheck: make(chan struct{}, 1), changed: make(chan struct{}),
	}, nil
}

// Acting tells whether this manager is the primary. It is false from the moment
// at which the lock may be another's. What is to end then, rather than to be
// asked again and again, is done under ActingContext.
func (e *Election) Acting() bool {
	e.mu.Lock()
	t := e.term
	e.mu.Unlock()
	return t.acting()
}

// ActingContext is done when the present term of this manager as primary is
// over, with a cause that is ErrNotActing or with that of Run; at once if this
// manager is not the primary. Two terms have two contexts: what was decided in
// one is not done in the next.
func (e *Election) ActingContext() context.Context {
	e.mu.Lock()
	t := e.term
	e.mu.Unlock()
	if t.acting() {
		return t.ctx
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrNotActing)
	return ctx
}

// Primary is the address of the manager that leads. It is not ok while nobody
// does or it is not known; also, while our own address is in the store but we do
// not act (yet, or any more): this manager never finds itself by address.
func (e *Election) Primary() (address string, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.term.acting() {
		return e.cfg.Advertise, true
	}
	if e.leader == "" || e.leader == e.cfg.Advertise {
		return "", false
	}
	return e.leader, true
}

// Role is how this manager describes itself to users: "primary", or "replica"
// with the address of the primary, which is empty when none is known.
func (e *Election) Role() (role, primary string) {
	if e.Acting() {
		return "primary", ""
	}
	primary, _ = e.Primary()
	return "replica", primary
}

// Changed is closed when what Acting or Primary say may have changed. Take it
// first, then ask them: no change is missed then.
func (e *Election) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// update changes what is guarded by mu, and tells those who wait for it. change
// reports whether there is anything to tell.
func (e *Election) update(change func() bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if change() {
		close(e.changed)
		e.changed = make(chan struct{})
	}
}

// Run campaigns and follows until ctx is done. Then it stops acting, gives the
// lock back so that another manager takes over at once, and nothing of it runs
// any more. Faults of the store are logged and survived. Run is called once.
func (e *Election) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { e.follow(ctx) })
	wg.Go(func() { e.campaign(ctx) })
	wg.Wait()
	e.update(func() bool { e.leader = ""; return true })
	return nil
}
