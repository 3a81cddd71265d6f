package replica

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Election says who leads. Changed is taken first, then the others are asked;
// it is closed when their answers may have changed.
type Election interface {
	Acting() bool
	Primary() (address string, ok bool)
	Changed() <-chan struct{}
}

// Config is what a Handler is made of.
type Config struct {
	Election Election
	// Local answers what this manager answers itself: everything while it acts,
	// little else.
	Local http.Handler
	// Advertise is this manager's address; the primary sees it as the forwarder.
	Advertise string
	// Wait is how long a request may wait for a primary that can be reached; 0
	// is DefaultWait. It should be longer than a take-over takes.
	Wait time.Duration
	// Ping is how often Run asks managers that were relieved, and still have
	// requests to finish, whether they are there; 0 is DefaultPing.
	Ping time.Duration
	// Writing, if set, marks the context of requests that may change something
	// and are served here, for those who send to engines: a manager may lose its
	// lease between taking a request and carrying it out.
	Writing func(context.Context) context.Context
	// Dial opens connections to other managers, with TLS where they have it; nil
	// for plain ones.
	Dial   func(ctx context.Context, network, address string) (net.Conn, error)
	Logger *slog.Logger // nil discards
}

const (
	// DefaultWait covers a take-over with a TTL of 20 s.
	DefaultWait = 30 * time.Second
	// maxWaiting bounds the requests that wait for a primary; those beyond are
	// refused at once.
	maxWaiting = 1024
	// retryPause is the pause before the same primary is tried again.
	retryPause = 250 * time.Millisecond
)

// Handler serves what this manager may, and forwards the rest to the primary.
// Run owns what it holds open.
type Handler struct {
	cfg       Config
	transport *http.Transport
	waiting   chan struct{} // holds one for each request that waits

	stop   context.Context // done when Run has ended
	cancel context.CancelCauseFunc

	// met says that a primary has been known. A manager that has just been
	// started may not have met the engines yet, and has no answers of its own.
	met atomic.Bool

	mu      sync.Mutex
	peers   map[string]*peer // by address, those with requests under way; guarded by mu
	stopped bool             // guarded by mu: nothing is forwarded any more
	orders  int              // that are carried out here; guarded by mu
	idle    chan struct{}    // closed when orders becomes 0; nil if nobody waits; guarded by mu
	streams sync.WaitGroup   // requests under way to peers; added to under mu
}

var errStopping = errors.New("this manager is stopping; ask another one")

// New makes a handler. Its connections are watched and closed by Run.
func New(cfg Config) *Handler {
	if cfg.Wait <= 0 {
		cfg.Wait = DefaultWait
	}
	if cfg.Ping <= 0 {
		cfg.Ping = DefaultPing
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	h := &Handler{cfg: cfg, waiting: make(chan struct{}, maxWaiting), peers: map[string]*peer{}}
	h.stop, h.cancel = context.WithCancelCause(context.Background())
	h.transport = h.newTransport()
	return h
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case servedByAll(r):
		h.cfg.Local.ServeHTTP(w, r)
	case h.cfg.Election.Acting():
		h.serve(w, r)
	default:
		h.delegate(w, newJob(r))
	}
}

// serve answers as the primary.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	// Engines have no business with it.
	r.Header.Del(forwardedBy)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		// A wait changes nothing, however long it takes.
		if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/wait") {
			h.beginOrder()
			defer h.endOrder()
		}
		if h.cfg.Writing != nil {
			r = r.WithContext(h.cfg.Writing(r.Context()))
		}
	}
	h.cfg.Local.ServeHTTP(w, r)
}

// delegate finds the primary, however often that changes meanwhile, and has the
// request answered: by it, or here if this manager becomes the primary. While
// there is none, or it cannot be reached, questions are answered here too: every
// manager follows the engines, and looking needs nobody's leave.
func (h *Handler) delegate(w http.ResponseWriter, j *job) {
	if err := j.keep(); err != nil {
		writeError(w, http.StatusBadRequest, "the request's body cannot be read: "+err.Error())
		return
	}
	deadline := time.NewTimer(h.cfg.Wait)
	defer deadline.Stop()
	var last failure
	for waiting := false; ; waiting = true {
		changed := h.cfg.Election.Changed()
		if h.cfg.Election.Acting() {
			h.serve(w, j.r)
			return
		}
		var pause <-chan time.Time
		reachable := false
		if address, known := h.cfg.Election.Primary(); known {
			h.met.Store(true)
			if j.forwarded() {
				h.refuse(w, j, address)
				return
			}
			err := h.try(w, j, address)
			if err == nil {
				return
			}
			last, pause = failure{err, address}, time.After(retryPause)
			reachable = !isUnsent(err)
		} else if j.forwarded() && !j.isOrder() {
			h.refuse(w, j, "unknown") // whoever sent it can answer as well
			return
		}
		if !reachable && h.met.Load() && j.answeredByAny() {
			h.cfg.Local.ServeHTTP(w, j.r)
			return
		}
		if !waiting {
			select {
			case h.waiting <- struct{}{}:
				defer func() { <-h.waiting }()
			default:
				writeError(w, http.StatusServiceUnavailable, "too many requests wait for a primary cluster manager; try again later")
				return
			}
		}
		select {
		case <-changed:
		case <-pause:
		case <-j.ended().Done():
			h.end(w, j)
			return
		case <-h.stop.Done():
			writeError(w, http.StatusServiceUnavailable, errStopping.Error())
			return
		case <-deadline.C:
			h.giveUp(w, j, last)
			return
		}
	}
}

// failure is a try that has come to nothing.
type failure struct {
	err     error
	address string
}

// try has one manager answer. An error says that nothing was answered, and that
// the request was not sent or can without harm be sent once more.
func (h *Handler) try(w http.ResponseWriter, j *job, address string) error {
	p, err := h.enter(address)
	if err != nil {
		writeError(w, http.StatusServiceUnavailable, err.Error())
		return nil
	}
	defer h.leave(p)
	if j.upgrade {
		err = h.splicePrimary(w, j, p)
	} else {
		err = h.forward(w, j, p)
	}
	if err == nil || j.canRepeat(err) {
		return err
	}
	h.cfg.Logger.Warn("request not forwarded", "method", j.r.Method, "path", j.r.URL.Path, "primary", address, "err", err)
	h.fail(w, j, failure{err, address})
	return nil
}

// Run watches over requests under way to managers that are no longer primary,
// until ctx is done. Then it ends all that is forwarded, and waits for it. Run
// is called once; without it nothing of a Handler ends but with its requests.
func (h *Handler) Run(ctx context.Context) error {
	var meeting sync.WaitGroup
	meeting.Go(func() { h.meet(ctx) })
	h.watch(ctx)
	meeting.Wait()
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	h.cancel(errStopping)
	h.streams.Wait()
	h.transport.CloseIdleConnections()
	return nil
}

// meet notes that a primary is known, once.
func (h *Handler) meet(ctx context.Context) {
	for {
		changed := h.cfg.Election.Changed()
		if _, known := h.cfg.Election.Primary(); known || h.cfg.Election.Acting() {
			h.met.Store(true)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}
